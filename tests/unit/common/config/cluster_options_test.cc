// ClusterOptions: conf/cluster.toml is what the declarations say, and the checks across options.
#include "common/config/cluster_options.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <stdlib.h>

#include "common/base/atomic_file.h"

namespace penstock {
namespace {

using testing::HasSubstr;

constexpr const char* kSample = PENSTOCK_SOURCE_DIR "/conf/cluster.toml";

// After a change of an option: PENSTOCK_UPDATE_SAMPLES=1 build/release/tests/common_test
// --gtest_filter='ClusterOptionsTest.Sample*'
TEST(ClusterOptionsTest, SampleIsUpToDate) {
  ClusterOptions options;
  OptionSet set;
  options.Declare(set);
  const std::string sample = set.Sample(ClusterSampleIntro());
  if (getenv("PENSTOCK_UPDATE_SAMPLES") != nullptr) {
    ASSERT_TRUE(WriteFileAtomically(kSample, sample).ok());
  }
  const Result<std::string> stored = ReadWholeFile(kSample);
  ASSERT_TRUE(stored.ok()) << stored.status().ToString();
  EXPECT_EQ(*stored, sample) << "conf/cluster.toml differs from the declarations. Make it anew with\n"
                                "  PENSTOCK_UPDATE_SAMPLES=1 build/release/tests/common_test "
                                "--gtest_filter='ClusterOptionsTest.Sample*'";
}

TEST(ClusterOptionsTest, SampleIsValid) {
  ClusterOptions options;
  OptionSet set;
  options.Declare(set);
  ASSERT_TRUE(set.LoadFile(kSample).ok());
  EXPECT_TRUE(set.Validate().ok());
  EXPECT_TRUE(options.Check().ok()) << options.Check().ToString();
}

TEST(ClusterOptionsTest, ChecksAcrossOptions) {
  const struct {
    std::vector<std::string> assignments;
    const char* message;
  } kCases[] = {
      {{"scheduler.shards=100"}, "scheduler.shards = 100: must be a power of two"},
      {{"scheduler.heartbeat_ms=1000"},
       "scheduler.suspect_ms = 1500: must be at least twice scheduler.heartbeat_ms (2000)"},
      {{"scheduler.dead_ms=1000"}, "scheduler.dead_ms = 1000: must be at least scheduler.suspect_ms (1500)"},
      {{"scheduler.lease_ms=500"},
       "scheduler.lease_ms = 500: must be at least twice scheduler.heartbeat_ms (1000)"},
      {{"scheduler.copies=2", "scheduler.min_copies=3"},
       "scheduler.copies = 2: must be at least scheduler.min_copies (3)"},
      {{"server.fold_bytes=8388608"},
       "server.fold_bytes = 8388608: must be at least server.segment_bytes (16777216)"},
      {{"server.fold_bytes=1073741824", "server.log_limit_bytes=536870912"},
       "server.log_limit_bytes = 536870912: must be at least server.fold_bytes"},
      {{"server.log_limit_bytes=16777216"},
       "server.log_limit_bytes = 16777216: must be at least twice server.segment_bytes"},
      {{"server.port=65530", "server.cores=8"}, "the last port would be beyond 65535"},
  };
  for (const auto& test : kCases) {
    ClusterOptions options;
    OptionSet set;
    options.Declare(set);
    EXPECT_TRUE(options.Check().ok());
    for (const std::string& assignment : test.assignments)
      ASSERT_TRUE(set.Set(assignment, "--set").ok()) << assignment;
    EXPECT_EQ(options.Check().code(), Code::kInvalidArgument);
    EXPECT_THAT(options.Check().message(), HasSubstr(test.message));
  }
}

TEST(ClusterOptionsTest, SpinningIsOffAndHasABound) {
  ClusterOptions options;
  OptionSet set;
  options.Declare(set);
  EXPECT_EQ(options.server.spin_us, 0u);
  EXPECT_EQ(options.client.spin_us, 0u);
  for (const std::string name : {"server.spin_us", "client.spin_us"}) {
    ASSERT_TRUE(set.Set(name + "=100000", "--set").ok());
    EXPECT_TRUE(set.Validate().ok());
    const Status set_too_high = set.Set(name + "=100001", "--set");
    EXPECT_EQ(set_too_high.ok() ? set.Validate().code() : set_too_high.code(), Code::kInvalidArgument);
    ASSERT_TRUE(set.Set(name + "=0", "--set").ok());
  }
}

}  // namespace
}  // namespace penstock
