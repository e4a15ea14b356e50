// What is said of a cluster that does not answer, of those who are not started, and of what a killed one has
// left.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <stdlib.h>

#include <filesystem>
#include <nlohmann/json.hpp>

#include "tests/unit/tools/temp_folder.h"
#include "tools/cli/exit_code.h"
#include "tools/cli/target.h"
#include "tools/launch/cluster_launcher.h"

namespace penstock {
namespace {

using nlohmann::json;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::Not;

class NoAnswerTest : public testing::Test {
 protected:
  const TempFolder folder_;
  const DataDirPaths paths_{folder_.path() + "/data"};
};

TEST_F(NoAnswerTest, NoClusterRunsThere) {
  const Status status = ExplainNoAnswer(paths_, Unavailable("no address"));
  EXPECT_EQ(ExitCodeOf(status), kExitUnreachable);
  EXPECT_THAT(status.message(), HasSubstr("no cluster runs in " + paths_.root +
                                          " (no address); start one with "
                                          "`penstock up --data-dir " +
                                          paths_.root));
  EXPECT_FALSE(std::filesystem::exists(paths_.root)) << "a question makes nothing";
}

TEST_F(NoAnswerTest, ItsLauncherRunsButTheSchedulerIsAway) {
  const auto lock = DataDirLock::Acquire(paths_);
  ASSERT_TRUE(lock.ok()) << lock.status().ToString();
  const Status status = ExplainNoAnswer(paths_, Unavailable("connection refused"));
  EXPECT_EQ(ExitCodeOf(status), kExitUnreachable);
  EXPECT_THAT(status.message(), HasSubstr("kept running by process "));
  EXPECT_THAT(status.message(), HasSubstr(paths_.logs()));
  EXPECT_THAT(status.message(), Not(HasSubstr("penstock up")));
}

TEST_F(NoAnswerTest, TheSchedulerIsThereAndDoesNotAnswer) {
  std::filesystem::create_directories(paths_.node("scheduler"));
  folder_.Write("data/scheduler/pid", "4711\n");
  const Status status = ExplainNoAnswer(paths_, DeadlineExceeded("not answered within 3000 ms"));
  EXPECT_EQ(ExitCodeOf(status), kExitDeadline);
  EXPECT_THAT(status.message(),
              HasSubstr("(process 4711) is there, but does not answer (not answered within"));
  EXPECT_THAT(status.message(), Not(HasSubstr("penstock up")));
}

TEST(LeftOut, ThoseWhoTookPartBeforeAreNamed) {
  const json nodes = {
      {{"id", 1}, {"name", "server-1"}, {"shards", 128}, {"backups", 0}},
      {{"id", 2}, {"name", "server-2"}, {"shards", 0}, {"backups", 0}},
      {{"id", 3}, {"name", "server-3"}, {"host", "here"}, {"shards", 0}, {"backups", 5}},
      {{"id", 4}, {"name", "beta-server-1"}, {"host", "there"}, {"shards", 9}, {"backups", 0}}};
  EXPECT_EQ(LeftOutText(nodes, {{.name = "scheduler"}, {.name = "server-1"}}, {"here"}),
            "  not started: server-2, which took part before; it holds no shards, and once it counts as dead "
            "`penstock node remove 2` forgets it\n"
            "  not started: server-3, which took part before; it holds 5 shards or copies of them\n");
  EXPECT_EQ(LeftOutText(nodes, {{.name = "server-1"}, {.name = "server-2"}, {.name = "server-3"}}, {"here"}),
            "");
}

TEST(WithoutEffect, OptionsOfANewClusterAreNamed) {
  const json status = {{"copies", {{"wanted", 2}, {"min", 1}}}, {"shards", {{"total", 128}}}};
  ClusterOptions options;
  options.scheduler.copies = 2;
  EXPECT_EQ(WithoutEffectText(options, {}, status), "");
  EXPECT_EQ(WithoutEffectText(ClusterOptions(), {}, status), "") << "nobody has asked for one copy";
  EXPECT_EQ(
      WithoutEffectText(ClusterOptions(), {"scheduler.copies=1"}, status),
      "  without effect: scheduler.copies = 1, as this cluster exists and has 2, which `penstock cluster "
      "copies 1 --min 1` changes\n");
  options.scheduler.copies = 3;
  options.scheduler.shards = 64;
  EXPECT_EQ(
      WithoutEffectText(options, {}, status),
      "  without effect: scheduler.copies = 3, as this cluster exists and has 2, which `penstock cluster "
      "copies 3 --min 1` changes\n"
      "  without effect: scheduler.shards = 64, as this cluster exists and has 128, which does not "
      "change\n");
}

TEST(AbandonedClusters, AreRemovedUnlessTheyRun) {
  const TempFolder folder;
  const char* before = ::getenv("TMPDIR");
  const std::string saved = before == nullptr ? "" : before;
  ::setenv("TMPDIR", folder.path().c_str(), 1);
  const auto abandoned = MakePrivateFolder(), running = MakePrivateFolder(), other = MakePrivateFolder(),
             kept = MakeTemporaryFolder();
  ASSERT_TRUE(abandoned.ok() && running.ok() && other.ok() && kept.ok());
  for (const auto& made : {abandoned, running, kept}) {
    const DataDirPaths paths(*made + "/cluster");
    ASSERT_TRUE(DataDirLock::Acquire(paths).ok());
    ASSERT_TRUE(WriteLaunchRecord(paths, {}).ok());
  }
  const auto lock = DataDirLock::Acquire(DataDirPaths(*running + "/cluster"));
  ASSERT_TRUE(lock.ok());
  EXPECT_THAT(RemoveAbandonedClusters(), ElementsAre(*abandoned));
  EXPECT_FALSE(std::filesystem::exists(*abandoned));
  EXPECT_TRUE(std::filesystem::exists(*running));
  EXPECT_TRUE(std::filesystem::exists(*other)) << "it may be about to become one";
  EXPECT_TRUE(std::filesystem::exists(*kept)) << "somebody has put a cluster of his own there";
  if (before == nullptr) {
    ::unsetenv("TMPDIR");
  } else {
    ::setenv("TMPDIR", saved.c_str(), 1);
  }
}

}  // namespace
}  // namespace penstock
