// Jobs in tables of durability memory, as they are by default: what is trained on again after kills is what
// was pushed within a lag and what the scheduler had not heard of yet, and not the partition; and no
// partition waits for the log of the one before.
#include <gtest/gtest.h>

#include <algorithm>
#include <cstdio>
#include <map>
#include <memory>
#include <nlohmann/json.hpp>

#include "client/admin.h"
#include "common/base/strings.h"
#include "tests/cluster/penstock_command.h"
#include "tests/cluster/test_cluster.h"
#include "tests/cluster/training_data.h"

namespace penstock {
namespace {

constexpr uint64_t kBatch = 8, kMinibatches = 300, kPasses = 4;  // of one partition
constexpr uint64_t kExamples = kBatch * kMinibatches * kPasses;
constexpr uint64_t kStepMs = 2, kLagMs = 100, kHeartbeatMs = 100;
constexpr int kPatience = 60000;

class WorkAgainTest : public ::testing::Test {
 protected:
  void Begin(const std::vector<std::string>& set, uint64_t step_ms) {
    cluster_ = std::make_unique<TestCluster>(
        TestCluster::Options{.servers = 1, .shards = kShards, .set = set, .dir = {}});
    ASSERT_TRUE(cluster_->Start().ok()) << cluster_->Output("server-0");
    worker_environment_["PENSTOCK_FAULT_POINTS"] = StrCat("worker.step=delay:", step_ms);
    ASSERT_TRUE(StartWorker().ok());
    auto client = cluster_->Connect();
    ASSERT_TRUE(client.ok()) << client.status().ToString();
    client_ = std::move(*client);
  }
  Status StartWorker() { return cluster_->StartOne("worker-0", worker_environment_); }

  void Train(uint64_t partitions) {
    const std::string data = folder_.Write("train.libsvm", GenerateLibsvm(kBatch * kMinibatches, 5));
    std::vector<std::string> argv = {ProgramFolder() + "/penstock",
                                     "train",
                                     std::string(PENSTOCK_SOURCE_DIR) + "/conf/jobs/a9a_logistic.toml",
                                     "--scheduler",
                                     cluster_->scheduler_address(),
                                     "--token-file",
                                     cluster_->token_file()};
    for (const std::string& assignment :
         {"data.train=" + data, std::string("data.test="), StrCat("data.partitions=", partitions),
          StrCat("train.batch_size=", kBatch), StrCat("train.passes=", kPasses),
          std::string("train.evaluate=false")})
      argv.insert(argv.end(), {"--set", assignment});
    auto train = ChildProgram::Start(
        {.argv = argv, .output = folder_.path() + "/train.out", .errors = "", .environment = {}});
    ASSERT_TRUE(train.ok()) << train.status().ToString();
    train_ = std::make_unique<ChildProgram>(std::move(*train));
  }
  void ExpectDone() {
    ASSERT_EQ(train_->WaitExit(kPatience), 0) << cluster_->Output("worker-0") << cluster_->Output("server-0");
    EXPECT_EQ(Recorded(), kExamples);
  }

  // By this process.
  uint64_t Computed() const {
    const double examples = cluster_->Metric("worker-0", "penstock_worker_examples_total");
    EXPECT_GE(examples, 0) << "its page cannot be had";
    return static_cast<uint64_t>(std::max(examples, 0.0));
  }
  uint64_t Recorded() {
    const auto job = Admin(*client_).Inspect("job", "1");
    return job.ok() ? job->value("examples", uint64_t{0}) : 0;
  }
  // Four fifths of a pass are done.
  void WaitInPass(uint64_t pass) {
    const uint64_t wanted = kExamples / kPasses * pass + kExamples / kPasses * 4 / 5;
    ASSERT_TRUE(WaitFor(kPatience, [&] { return Recorded() >= wanted; })) << cluster_->Output("worker-0");
  }
  void KillServer() {
    cluster_->Kill("server-0");
    ASSERT_TRUE(cluster_->StartOne("server-0").ok());
  }
  void KillWorker() {
    computed_before_ += Computed();  // what it computes until it is dead is not seen
    cluster_->Kill("worker-0");
    ASSERT_TRUE(StartWorker().ok());
  }

  static constexpr uint32_t kShards = 8;
  TemporaryFolder folder_;
  std::unique_ptr<TestCluster> cluster_;
  std::map<std::string, std::string> worker_environment_;
  std::unique_ptr<Client> client_;
  std::unique_ptr<ChildProgram> train_;
  uint64_t computed_before_ = 0;  // by workers that are dead
};

TEST_F(WorkAgainTest, IsWhatNoLogHadYet) {
  ASSERT_NO_FATAL_FAILURE(Begin(
      {StrCat("server.memory_lag_ms=", kLagMs), StrCat("scheduler.heartbeat_ms=", kHeartbeatMs)}, kStepMs));
  ASSERT_NO_FATAL_FAILURE(Train(1));
  ASSERT_NO_FATAL_FAILURE(WaitInPass(0));
  ASSERT_NO_FATAL_FAILURE(KillServer());
  ASSERT_NO_FATAL_FAILURE(WaitInPass(1));
  ASSERT_NO_FATAL_FAILURE(KillWorker());
  ASSERT_NO_FATAL_FAILURE(WaitInPass(2));
  ASSERT_NO_FATAL_FAILURE(KillServer());
  ASSERT_NO_FATAL_FAILURE(KillWorker());
  ASSERT_NO_FATAL_FAILURE(ExpectDone());
  const uint64_t computed = computed_before_ + Computed();
  EXPECT_GE(computed, kExamples * 9 / 10) << "all but what workers did while they were killed";
  const uint64_t again = (std::max(computed, kExamples) - kExamples) / kBatch;
  std::printf("%lu of %lu minibatches computed again after three kills\n", static_cast<unsigned long>(again),
              static_cast<unsigned long>(kMinibatches * kPasses));
  // By the lag and, of a worker, the heartbeat, 50 and 100 a kill. Half of what partitions from their begin
  // would be leaves room for a disk that stalls.
  EXPECT_LT(again, 3 * kMinibatches * 4 / 5 / 2);
}

TEST_F(WorkAgainTest, AFlushEndsAPassAndNotAPartition) {
  constexpr uint64_t kPartitions = 50;
  ASSERT_NO_FATAL_FAILURE(Begin({"server.memory_lag_ms=86400000"}, 0));
  ASSERT_NO_FATAL_FAILURE(Train(kPartitions));
  ASSERT_NO_FATAL_FAILURE(ExpectDone());
  const double deltas = cluster_->Metric("server-0", "penstock_server_deltas_total");
  std::printf("%.0f deltas in %lu passes\n", deltas, static_cast<unsigned long>(kPasses));
  // One a shard where a pass ends, and some for the tables; one a shard and partition otherwise.
  EXPECT_GE(deltas, static_cast<double>(kShards * kPasses));
  EXPECT_LE(deltas, static_cast<double>(4 * kShards * kPasses));
}

}  // namespace
}  // namespace penstock
