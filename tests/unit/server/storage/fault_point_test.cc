// Fault points: the table of specifications, counting, and that nothing happens while nothing is armed.
#include <gtest/gtest.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/base/fault.h"

namespace penstock {
namespace {

class FaultPointTest : public ::testing::Test {
 protected:
  ~FaultPointTest() override { DisarmAll(); }
};

TEST_F(FaultPointTest, NothingIsArmedAtFirst) {
  EXPECT_TRUE(PENSTOCK_FAULT("test.a").ok());
  EXPECT_EQ(FaultHits("test.a"), 0u);
}

TEST_F(FaultPointTest, Specifications) {
  const struct {
    const char* text;
    bool ok;
    const char* says;  // in the error
  } kTable[] = {
      {"", true, ""},
      {"a=kill", true, ""},
      {"a=kill@3", true, ""},
      {"a=delay:5", true, ""},
      {"a=kill%0.01", true, ""},
      {"a=kill%1", true, ""},
      {"a=error:ENOSPC", true, ""},
      {"a=error:EIO@1", true, ""},
      {"a=error:28%0.5", true, ""},
      {"a=kill@3,b=error:ENOSPC@1,c=kill%0.01", true, ""},
      {"a", false, "'a'"},
      {"=kill", false, "NAME=ACTION"},
      {"a=", false, "kill, error:ERRNO or delay:MS"},
      {"a=die", false, "'die'"},
      {"a=kill@0", false, "'@0'"},
      {"a=kill@", false, "'@'"},
      {"a=kill@x", false, "'@x'"},
      {"a=kill@1x", false, "'@1x'"},
      {"a=kill@-1", false, "'@-1'"},
      {"a=kill%0", false, "'%0'"},
      {"a=kill%1.5", false, "'%1.5'"},
      {"a=kill%nan", false, "'%nan'"},
      {"a=error:EWHAT", false, "'EWHAT'"},
      {"a=error:0", false, "'0'"},
      {"a=error:", false, "no error"},
      {"a=kill@1,b", false, "'b'"},
      {"a=kill@1,,b=kill", false, "''"},
  };
  for (const auto& entry : kTable) {
    DisarmAll();
    const Status status = ArmFaults(entry.text, 1);
    EXPECT_EQ(status.ok(), entry.ok) << entry.text << ": " << status.ToString();
    if (entry.ok) continue;
    EXPECT_EQ(status.code(), Code::kInvalidArgument) << entry.text;
    EXPECT_NE(status.message().find(entry.says), std::string::npos) << entry.text << ": " << status.message();
    EXPECT_FALSE(PENSTOCK_FAULT_ARMED("a")) << entry.text << " armed a part";
  }
}

TEST_F(FaultPointTest, ErrorAtTheNthHitAlone) {
  ASSERT_TRUE(ArmFaults("test.a=error:ENOSPC@2", 1).ok());
  EXPECT_TRUE(PENSTOCK_FAULT("test.a").ok());
  const Status status = PENSTOCK_FAULT("test.a");
  EXPECT_EQ(status.code(), Code::kOverloaded);
  EXPECT_NE(status.message().find("test.a"), std::string::npos);
  EXPECT_TRUE(PENSTOCK_FAULT("test.a").ok());
  EXPECT_TRUE(PENSTOCK_FAULT("test.b").ok());
  EXPECT_EQ(FaultHits("test.a"), 3u);
  EXPECT_EQ(FaultHits("test.b"), 1u);
}

TEST_F(FaultPointTest, ProbabilityFollowsTheSeed) {
  const auto hits = [](uint64_t seed) {
    DisarmAll();
    EXPECT_TRUE(ArmFaults("test.a=error:EIO%0.25", seed).ok());
    std::vector<bool> failed;
    for (int i = 0; i < 400; ++i) failed.push_back(!PENSTOCK_FAULT("test.a").ok());
    return failed;
  };
  const auto first = hits(1);
  EXPECT_EQ(first, hits(1));
  EXPECT_NE(first, hits(2));
  const auto count = std::count(first.begin(), first.end(), true);
  EXPECT_GT(count, 50);
  EXPECT_LT(count, 150);
}

TEST_F(FaultPointTest, CallbackAndDisarm) {
  uint64_t seen = 0;
  ArmFault("test.a", [&](uint64_t hit) {
    seen = hit;
    return Cancelled("stop");
  });
  EXPECT_TRUE(PENSTOCK_FAULT_ARMED("test.a"));
  EXPECT_EQ(PENSTOCK_FAULT("test.a").code(), Code::kCancelled);
  EXPECT_EQ(PENSTOCK_FAULT("test.a").code(), Code::kCancelled);
  EXPECT_EQ(seen, 2u);
  DisarmAll();
  EXPECT_FALSE(PENSTOCK_FAULT_ARMED("test.a"));
  EXPECT_TRUE(PENSTOCK_FAULT("test.a").ok());
}

TEST_F(FaultPointTest, EnvironmentAndKill) {
  setenv("PENSTOCK_FAULT_POINTS", "test.a=kill@2", 1);
  const pid_t child = fork();
  ASSERT_GE(child, 0);
  if (child == 0) {
    if (!ArmFaultsFromEnvironment().ok()) _exit(3);
    (void)PENSTOCK_FAULT("test.a").ok();
    (void)PENSTOCK_FAULT("test.a").ok();
    _exit(4);
  }
  unsetenv("PENSTOCK_FAULT_POINTS");
  int state = 0;
  ASSERT_EQ(waitpid(child, &state, 0), child);
  ASSERT_TRUE(WIFSIGNALED(state)) << "exit " << WEXITSTATUS(state);
  EXPECT_EQ(WTERMSIG(state), SIGKILL);

  setenv("PENSTOCK_FAULT_POINTS", "test.a=explode", 1);
  const Status status = ArmFaultsFromEnvironment();
  unsetenv("PENSTOCK_FAULT_POINTS");
  EXPECT_EQ(status.code(), Code::kInvalidArgument);
  EXPECT_NE(status.message().find("PENSTOCK_FAULT_POINTS"), std::string::npos);
}

}  // namespace
}  // namespace penstock
