// A job on `memory` tables while the copies of its shards change, or its shards move, again and again without
// loss: the shards' epochs rise, what was answered goes on waiting for the log, and no minibatch is repeated.
#include <gtest/gtest.h>

#include <algorithm>
#include <nlohmann/json.hpp>
#include <optional>

#include "client/admin.h"
#include "tests/cluster/penstock_command.h"
#include "tests/cluster/test_cluster.h"
#include "tests/cluster/training_data.h"

namespace penstock {
namespace {

using nlohmann::json;

constexpr int kChanges = 50;  // of the copies of every shard; a copy that comes or goes is one
constexpr ShardId kShards = 4;
constexpr int kRounds = 32;  // in which every shard moves

class CopiesJobTest : public ::testing::Test {
 protected:
  // The lowest epoch of any shard.
  Epoch LowestEpoch() {
    const auto shards = Admin(*client_).Inspect("shards");
    if (!shards.ok()) return 0;
    Epoch lowest = ~Epoch{0};
    for (const json& shard : *shards) lowest = std::min(lowest, shard.at("epoch").get<Epoch>());
    return lowest;
  }
  json Job() {
    auto job = Admin(*client_).Inspect("job", "1");
    return job.ok() ? *job : json::object();
  }
  uint64_t Examples() { return Job().value("examples", uint64_t{0}); }
  double Metric(const std::string& metric) {
    double sum = 0;
    for (const char* server : {"/server-1", "/server-2"})
      sum += MetricOf(cluster_.data_dir() + server, metric);
    return sum;
  }

  // A job that trains until it is cancelled.
  void Begin() {
    const TrainingData data = A9aOrGenerated(cluster_.folder());
    ASSERT_TRUE(cluster_.Up().ok()) << cluster_.Output();
    auto train = cluster_.Train(PENSTOCK_SOURCE_DIR "/conf/jobs/a9a_logistic.toml",
                                {"data.train=" + data.train, "data.test=" + data.test,
                                 "train.durability=memory", "train.evaluate=false", "train.passes=100000"});
    ASSERT_TRUE(train.ok()) << train.status().ToString();
    train_ = std::move(*train);
    auto client = cluster_.Connect();
    ASSERT_TRUE(client.ok()) << client.status().ToString() << cluster_.Output();
    client_ = std::move(*client);
    ASSERT_TRUE(WaitFor(60000, [&] { return Examples() > 0; })) << cluster_.TrainOutput();
  }
  void CheckNothingWasRepeated(const std::string& what) {
    EXPECT_EQ(Job().value("state", ""), "running") << cluster_.TrainOutput();
    EXPECT_GT(Metric("penstock_server_push_units_total"), 4.0 * kChanges);
    EXPECT_EQ(Metric("penstock_server_duplicate_units_total"), 0);
    std::printf("%s, %.0f units pushed, %.0f of them again\n", what.c_str(),
                Metric("penstock_server_push_units_total"), Metric("penstock_server_duplicate_units_total"));
    ASSERT_TRUE(Admin(*client_).CancelJob(1).ok());
    train_->WaitExit(60000);
    client_.reset();
    EXPECT_EQ(cluster_.Down(), 0);
  }

  // One worker: nobody takes a partition over.
  CommandCluster cluster_{{.servers = 2, .workers = 1, .set = {"scheduler.shards=4"}}};
  std::unique_ptr<Client> client_;
  std::optional<ChildProgram> train_;
};

TEST_F(CopiesJobTest, ChangesOfCopiesRepeatNoMinibatch) {
  ASSERT_NO_FATAL_FAILURE(Begin());
  const Epoch first = LowestEpoch();
  for (int change = 0; change < kChanges; ++change) {
    const uint64_t before = Examples();
    const Epoch epoch = LowestEpoch();
    ASSERT_TRUE(Admin(*client_).SetCopies(change % 2 == 0 ? 2 : 1, 1).ok());
    ASSERT_TRUE(WaitFor(60000, [&] { return LowestEpoch() > epoch; })) << "change " << change << "\n"
                                                                       << cluster_.Output();
    // Work is in flight and in no log at every change.
    ASSERT_TRUE(WaitFor(60000, [&] { return Examples() > before || change % 8 != 0; })) << cluster_.Output();
  }
  EXPECT_GE(LowestEpoch(), first + kChanges);
  CheckNothingWasRepeated(std::to_string(kChanges) + " changes of copies");
}

TEST_F(CopiesJobTest, MovesRepeatNoMinibatch) {
  ASSERT_NO_FATAL_FAILURE(Begin());
  const auto nodes = Admin(*client_).Inspect("nodes");
  ASSERT_TRUE(nodes.ok());
  std::vector<NodeId> servers;
  for (const json& node : *nodes) {
    if (node.at("role") == "server") servers.push_back(node.at("id"));
  }
  ASSERT_EQ(servers.size(), 2u);
  for (int round = 0; round < kRounds; ++round) {
    std::vector<NodeId> there(kShards);
    const auto look = [&] { return Admin(*client_).Inspect("shards"); };
    const auto begin = look();
    ASSERT_TRUE(begin.ok());
    for (ShardId shard = 0; shard < kShards; ++shard) {
      there[shard] = begin->at(shard).at("node") == servers[0] ? servers[1] : servers[0];
      ASSERT_TRUE(Admin(*client_).MoveShard(shard, 0, there[shard]).ok());
    }
    ASSERT_TRUE(WaitFor(60000,
                        [&] {
                          const auto shards = look();
                          for (ShardId shard = 0; shards.ok() && shard < kShards; ++shard) {
                            const json& entry = shards->at(shard);
                            if (entry.at("node") != there[shard] || !entry.at("move").is_null() ||
                                entry.at("state") != "serving")
                              return false;
                          }
                          return shards.ok();
                        }))
        << "round " << round << "\n"
        << cluster_.Output();
  }
  CheckNothingWasRepeated(std::to_string(kRounds * kShards) + " moves");
}

}  // namespace
}  // namespace penstock
