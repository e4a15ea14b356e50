// What a server keeps of the partitions of a job that are done: next to nothing, while the pass goes on.
#include <gtest/gtest.h>

#include <algorithm>
#include <future>

#include "tests/cluster/penstock_command.h"
#include "tests/cluster/test_cluster.h"
#include "tests/cluster/training_data.h"

namespace penstock {
namespace {

constexpr int kPartitions = 500, kMinibatches = 10;
constexpr int kShards = 128;

TEST(MarksTest, PartitionsThatAreDoneLeaveTheMarks) {
  TestCluster cluster({.servers = 1, .workers = 2, .shards = kShards});
  const Status started = cluster.Start();
  ASSERT_TRUE(started.ok()) << started.ToString();
  const TemporaryFolder folder;
  const std::string data =
      folder.Write("train.libsvm", GenerateLibsvm(uint64_t{kPartitions} * kMinibatches, 5));
  const double empty = cluster.Metric("server-0", "penstock_server_marks_bytes");
  auto training = std::async(std::launch::async, [&] {
    return RunPenstock(
        {"train", std::string(PENSTOCK_SOURCE_DIR) + "/conf/jobs/a9a_logistic.toml", "--scheduler",
         cluster.scheduler_address(), "--token-file", cluster.token_file(), "--set", "data.train=" + data,
         "--set", "data.test=", "--set", "data.partitions=" + std::to_string(kPartitions),
         // One of level memory waits for its log, for longer than this job takes.
         "--set", "train.durability=logged", "--set", "train.batch_size=1", "--set", "train.passes=1",
         "--set", "train.ledger=true", "--set", "train.evaluate=false"},
        300000);
  });
  double most = 0;
  while (training.wait_for(std::chrono::milliseconds(50)) != std::future_status::ready)
    most = std::max(most, cluster.Metric("server-0", "penstock_server_marks_bytes"));
  const CommandResult trained = training.get();
  ASSERT_EQ(trained.code, 0) << trained.out << trained.err;
  std::printf("marks: %.0f bytes at most, %.0f before the job\n", most, empty);
  EXPECT_GT(most, empty);
  // 24 bytes for each partition, in two tables of every shard, are what they would take otherwise at least.
  EXPECT_LT(most, 24.0 * kPartitions * kShards * 2 / 3);
}

}  // namespace
}  // namespace penstock
