// A job on `memory` tables while the copies of its shards change again and again without loss: the shards'
// epochs rise, what was answered goes on waiting for the log, and no minibatch is repeated.
#include <gtest/gtest.h>

#include <algorithm>
#include <nlohmann/json.hpp>

#include "client/admin.h"
#include "tests/cluster/penstock_command.h"
#include "tests/cluster/test_cluster.h"
#include "tests/cluster/training_data.h"

namespace penstock {
namespace {

using nlohmann::json;

constexpr int kChanges = 50;  // of the copies of every shard; a copy that comes or goes is one

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

  // One worker: nobody takes a partition over.
  CommandCluster cluster_{{.servers = 2, .workers = 1, .set = {"scheduler.shards=4"}}};
  std::unique_ptr<Client> client_;
};

TEST_F(CopiesJobTest, ChangesOfCopiesRepeatNoMinibatch) {
  const TrainingData data = A9aOrGenerated(cluster_.folder());
  ASSERT_TRUE(cluster_.Up().ok()) << cluster_.Output();
  auto train = cluster_.Train(PENSTOCK_SOURCE_DIR "/conf/jobs/a9a_logistic.toml",
                              {"data.train=" + data.train, "data.test=" + data.test,
                               "train.durability=memory", "train.evaluate=false", "train.passes=100000"});
  ASSERT_TRUE(train.ok()) << train.status().ToString();
  auto client = cluster_.Connect();
  ASSERT_TRUE(client.ok()) << client.status().ToString() << cluster_.Output();
  client_ = std::move(*client);
  ASSERT_TRUE(WaitFor(60000, [&] { return Examples() > 0; })) << cluster_.TrainOutput();
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
  EXPECT_EQ(Job().value("state", ""), "running") << cluster_.TrainOutput();
  EXPECT_GT(Metric("penstock_server_push_units_total"), 4.0 * kChanges);
  EXPECT_EQ(Metric("penstock_server_duplicate_units_total"), 0);
  std::printf("%d changes of copies, %.0f units pushed, %.0f of them again\n", kChanges,
              Metric("penstock_server_push_units_total"), Metric("penstock_server_duplicate_units_total"));
  ASSERT_TRUE(Admin(*client_).CancelJob(1).ok());
  train->WaitExit(60000);
  client_.reset();
  EXPECT_EQ(cluster_.Down(), 0);
}

}  // namespace
}  // namespace penstock
