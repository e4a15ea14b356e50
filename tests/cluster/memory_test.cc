// Tables eight times as large as the server's memory budget: every acknowledged row reads back, pushes count
// exactly once, and kills at any step of a fold change nothing of that.
#include <gtest/gtest.h>
#include <signal.h>

#include <cmath>
#include <deque>
#include <nlohmann/json.hpp>
#include <numeric>
#include <random>

#include "client/admin.h"
#include "common/base/hash.h"
#include "tests/cluster/counting_load.h"
#include "tests/cluster/test_cluster.h"

namespace penstock {
namespace {

constexpr uint32_t kDim = 64;
constexpr uint64_t kBudget = 16 << 20;
constexpr uint64_t kRows = 8 * kBudget / (kDim * sizeof(float));  // 524288
constexpr uint64_t kBatch = 4096;
constexpr int kDieMs = 60000;

TestCluster::Options Small() {
  return {.servers = 1,
          .set = {"server.memory_budget_bytes=" + std::to_string(kBudget), "server.segment_bytes=1048576",
                  "scheduler.heartbeat_ms=50"},
          .dir = {}};
}

float Value(Key key, uint32_t d) { return static_cast<float>(static_cast<int32_t>(Mix64(key * 64 + d))); }

class MemoryTest : public ::testing::Test {
 protected:
  MemoryTest() : cluster_(Small()) {}
  void SetUp() override {
    ASSERT_TRUE(cluster_.Start().ok()) << cluster_.Output("scheduler") << cluster_.Output("server-0");
    auto client = cluster_.Connect(180000);
    ASSERT_TRUE(client.ok()) << client.status().ToString();
    client_ = std::move(*client);
  }
  void KillAndStart(const std::map<std::string, std::string>& environment = {}) {
    cluster_.Kill("server-0");
    ASSERT_TRUE(cluster_.StartOne("server-0", environment).ok());
  }

  TestCluster cluster_;
  std::unique_ptr<Client> client_;
};

TEST_F(MemoryTest, EveryRowOfALargeTableReadsBack) {
  TableSpec spec;
  spec.name = "large";
  spec.dim = kDim;
  spec.optimizer.kind = OptimizerKind::kAssign;
  const auto table = client_->CreateTable(spec);
  ASSERT_TRUE(table.ok()) << table.status().ToString();
  const auto producer = client_->NewProducer();
  ASSERT_TRUE(producer.ok());
  const auto keys_from = [](uint64_t first) {
    std::vector<Key> keys(kBatch);
    std::iota(keys.begin(), keys.end(), first);
    return keys;
  };
  std::deque<std::future<Result<PushResult>>> pushes;
  for (uint64_t first = 0; first < kRows; first += kBatch) {
    if (first == kRows / 2) {
      ASSERT_NO_FATAL_FAILURE(KillAndStart());
    }
    const std::vector<Key> keys = keys_from(first);
    std::vector<float> values;
    for (const Key key : keys) {
      for (uint32_t d = 0; d < kDim; ++d) values.push_back(Value(key, d));
    }
    pushes.push_back(client_->Push(**producer, {{table->id, keys, std::move(values)}}));
    if (pushes.size() < 4) continue;
    const auto pushed = pushes.front().get();
    ASSERT_TRUE(pushed.ok()) << pushed.status().ToString() << cluster_.Output("server-0");
    pushes.pop_front();
  }
  for (auto& push : pushes) ASSERT_TRUE(push.get().ok());
  EXPECT_GT(cluster_.Metric("server-0", "penstock_server_evicted_rows_total"), kRows / 4);
  const auto read_all = [&] {
    for (uint64_t first = 0; first < kRows; first += kBatch) {
      const std::vector<Key> keys = keys_from(first);
      const auto pulled = client_->Pull({{table->id, keys}}, {.stored = true}).get();
      ASSERT_TRUE(pulled.ok()) << pulled.status().ToString() << cluster_.Output("server-0");
      ASSERT_EQ(pulled->stored[0], std::vector<uint8_t>(kBatch, 1)) << "cold rows are stored rows";
      for (size_t i = 0; i < keys.size(); ++i) {
        for (uint32_t d = 0; d < kDim; ++d)
          ASSERT_EQ(pulled->values[0][i * kDim + d], Value(keys[i], d)) << "row " << keys[i];
      }
    }
  };
  ASSERT_NO_FATAL_FAILURE(read_all());
  EXPECT_LE(cluster_.Metric("server-0", "penstock_server_resident_bytes"), 1.125 * kBudget);
  ASSERT_NO_FATAL_FAILURE(KillAndStart());
  ASSERT_NO_FATAL_FAILURE(read_all());
  EXPECT_GT(cluster_.Metric("server-0", "penstock_server_fetched_rows_total"), kRows / 2)
      << "most rows were not loaded";
  const auto stats = Admin(*client_).Stats({table->id});
  ASSERT_TRUE(stats.ok()) << stats.status().ToString();
  EXPECT_EQ((*stats)[0].rows, kRows);
  double sum = 0;
  for (Key key = 0; key < kRows; ++key) {
    for (uint32_t d = 0; d < kDim; ++d) sum += std::fabs(static_cast<double>(Value(key, d)));
  }
  EXPECT_NEAR((*stats)[0].sum_abs / sum, 1, 1e-6) << "cold rows are in the sums";
  // Rows that were never stored are no rows, and cost no reading but where the filter errs.
  const double absent = cluster_.Metric("server-0", "penstock_server_absent_rows_total");
  const auto pulled = client_->Pull({{table->id, keys_from(kRows)}}).get();
  ASSERT_TRUE(pulled.ok());
  EXPECT_EQ(pulled->values[0], std::vector<float>(kBatch * kDim, 0.0f));
  EXPECT_LT(cluster_.Metric("server-0", "penstock_server_absent_rows_total") - absent, kBatch / 10);
  // Cold rows and absent ones in one call.
  std::vector<Key> mixed;
  for (Key key = 0; key < kBatch; ++key) mixed.push_back(key % 3 == 0 ? key : kRows + key);
  const auto told = client_->Pull({{table->id, mixed}}, {.stored = true}).get();
  ASSERT_TRUE(told.ok()) << told.status().ToString();
  for (size_t i = 0; i < mixed.size(); ++i) {
    ASSERT_EQ(told->stored[0][i], mixed[i] < kRows) << "row " << mixed[i];
    ASSERT_EQ(told->values[0][i * kDim], mixed[i] < kRows ? Value(mixed[i], 0) : 0) << "row " << mixed[i];
  }
  // And a dropped table leaves nothing.
  ASSERT_TRUE(client_->DropTable("large").ok());
}

// A second table takes the memory that the first one does not use, though all of it was the first one's.
TEST_F(MemoryTest, APushBringsColdRowsBack) {
  TableSpec spec;
  spec.name = "sums";
  spec.dim = kDim;
  spec.optimizer.kind = OptimizerKind::kAdd;
  const auto table = client_->CreateTable(spec);
  ASSERT_TRUE(table.ok()) << table.status().ToString();
  const auto producer = client_->NewProducer();
  ASSERT_TRUE(producer.ok());
  std::vector<Key> keys(kBatch);
  std::vector<float> values(kBatch * kDim), pulled(values.size());
  const auto value_of = [](Key key, uint32_t d) { return static_cast<float>(key % 1024 + d); };
  const auto push_pull = [&](Key first) {
    std::iota(keys.begin(), keys.end(), first);
    for (size_t i = 0; i < values.size(); ++i) values[i] = value_of(keys[i / kDim], i % kDim);
    const TablePushPullView view{table->id, keys, values, pulled};
    return client_->PushPull(**producer, std::span(&view, 1)).get();
  };
  for (float times : {1.0f, 2.0f}) {
    for (Key first = 0; first < kRows / 4; first += kBatch) {
      const auto done = push_pull(first);
      ASSERT_TRUE(done.ok()) << done.status().ToString() << cluster_.Output("server-0");
      for (size_t i = 0; i < pulled.size(); ++i)
        ASSERT_EQ(pulled[i], times * values[i]) << "row " << keys[i / kDim];
    }
  }
}

TEST_F(MemoryTest, ATableThatRestsMakesRoomForAnother) {
  const auto producer = client_->NewProducer();
  ASSERT_TRUE(producer.ok());
  for (const char* name : {"first", "second"}) {
    TableSpec spec;
    spec.name = name;
    spec.dim = kDim;
    spec.optimizer.kind = OptimizerKind::kAdd;
    spec.durability = Durability::kMemory;
    const auto table = client_->CreateTable(spec);
    ASSERT_TRUE(table.ok()) << table.status().ToString();
    for (uint64_t first = 0; first < kRows / 4; first += kBatch) {
      std::vector<Key> keys(kBatch);
      std::iota(keys.begin(), keys.end(), first);
      const auto pushed =
          client_->Push(**producer, {{table->id, keys, std::vector<float>(kBatch * kDim, 1)}}).get();
      ASSERT_TRUE(pushed.ok()) << pushed.status().ToString() << cluster_.Output("server-0");
    }
  }
  EXPECT_LE(cluster_.Metric("server-0", "penstock_server_resident_bytes"), 1.125 * kBudget);
}

TEST_F(MemoryTest, PushesCountOnceUnderKills) {
  CountingLoad logged(*client_, {.table = "logged", .rows = kRows, .keys = 400, .dim = kDim});
  CountingLoad synced(*client_, {.table = "synced",
                                 .rows = 20000,
                                 .keys = 400,
                                 .dim = kDim,
                                 .threads = 1,
                                 .seed = 2,
                                 .durability = Durability::kSynced});
  ASSERT_TRUE(logged.Start().ok());
  ASSERT_TRUE(synced.Start().ok());
  const auto evicts = [&] {
    return WaitFor(kDieMs, [&] {
      return cluster_.Metric("server-0", "penstock_server_evicted_rows_total") > 20000 &&
             cluster_.Metric("server-0", "penstock_server_fetched_rows_total") > 5000;
    });
  };
  std::mt19937_64 random(1);
  for (const char* point :
       {"fold.read=kill@2", "fold.sst.after=kill@2", "fold.ingest.before=kill@2", "fold.ingest.after=kill@2",
        "fold.remove.before=kill@3", "fold.remove.after=kill@2", "log.append.partial=kill@150"}) {
    SCOPED_TRACE(point);
    ASSERT_TRUE(evicts()) << logged.first_error() << synced.first_error() << cluster_.Output("server-0");
    ASSERT_NO_FATAL_FAILURE(KillAndStart({{"PENSTOCK_FAULT_POINTS", point}}));
    ASSERT_EQ(cluster_.WaitExit("server-0", kDieMs), 128 + SIGKILL) << cluster_.Output("server-0");
    ASSERT_TRUE(cluster_.StartOne("server-0").ok());
  }
  ASSERT_TRUE(evicts()) << logged.first_error() << synced.first_error();
  logged.Stop();
  synced.Stop();
  EXPECT_EQ(logged.Check(), "");
  EXPECT_EQ(synced.Check(), "");
  EXPECT_EQ(logged.failed() + synced.failed(), 0u) << logged.first_error() << synced.first_error();
  ASSERT_NO_FATAL_FAILURE(KillAndStart());
  EXPECT_EQ(logged.Check(), "");
  EXPECT_EQ(synced.Check(), "");
  const auto status = Admin(*client_).Inspect("status");
  ASSERT_TRUE(status.ok());
  EXPECT_EQ(status->at("shards").at("quarantined"), 0) << status->at("problems").dump();
}

}  // namespace
}  // namespace penstock
