// Shards go there and back, again and again: with rows that only the disk has, rows that were deleted, rounds
// of a synchronous job that are open, and lives of which the servers still hold something. What they hold
// afterwards is what was pushed.
#include <gtest/gtest.h>

#include <algorithm>
#include <cstdlib>
#include <nlohmann/json.hpp>
#include <numeric>
#include <random>

#include "tests/cluster/copy_digests.h"
#include "tests/cluster/test_cluster.h"

namespace penstock {
namespace {

constexpr int kMoveMs = 120000;
constexpr int kDigestMs = 20000;
constexpr uint32_t kDim = 64, kShards = 4;
constexpr uint64_t kBudget = 16 << 20;
constexpr uint64_t kRows = 8 * kBudget / (kDim * sizeof(float));  // eight times the memory
constexpr uint64_t kSmallRows = 2000;
constexpr uint64_t kBatch = 4096;

// PENSTOCK_MOVES=20 for the long form.
int TimesThereAndBack() {
  const char* text = std::getenv("PENSTOCK_MOVES");
  return text == nullptr ? 2 : std::atoi(text);
}

class MoveContentsTest : public testing::Test {
 protected:
  MoveContentsTest()
      : cluster_({.servers = 2,
                  .shards = kShards,
                  .set = {"server.memory_budget_bytes=" + std::to_string(kBudget),
                          "server.segment_bytes=1048576", "scheduler.balance_delay_ms=86400000"}}) {}
  void SetUp() override {
    ASSERT_TRUE(cluster_.Start().ok()) << Output();
    auto client = cluster_.Connect(180000);
    ASSERT_TRUE(client.ok()) << client.status().ToString();
    client_ = *std::move(client);
    const auto nodes = Admin(*client_).Inspect("nodes");
    ASSERT_TRUE(nodes.ok());
    for (const auto& node : *nodes) servers_.push_back(node.at("id"));
    big_ = MakeTable({.name = "big", .dim = kDim});
    TableSpec fading{.name = "fading"};
    fading.expiry.unused_passes = 1;
    fading_ = MakeTable(fading);
    TableSpec rounds{.name = "rounds", .accumulate = true};
    rounds.optimizer = {.kind = OptimizerKind::kSgd, .learning_rate = 1.0F};
    rounds_ = MakeTable(rounds, false);
    auto producer = client_->NewProducer();
    ASSERT_TRUE(producer.ok());
    producer_ = *producer;
  }

  TableId MakeTable(TableSpec spec, bool adds = true) {
    if (adds) spec.optimizer.kind = OptimizerKind::kAdd;
    const auto table = client_->CreateTable(spec);
    EXPECT_TRUE(table.ok()) << table.status().ToString();
    return table.ok() ? table->id : 0;
  }
  // Each row gets `value` in all its columns.
  void Push(TableId table, uint32_t dim, const std::vector<Key>& keys, float value,
            const PushOptions& options = {}) {
    for (size_t first = 0; first < keys.size(); first += kBatch) {
      const auto begin = keys.begin() + static_cast<ptrdiff_t>(first);
      const auto end = keys.begin() + static_cast<ptrdiff_t>(std::min(keys.size(), first + kBatch));
      TablePush push{table, {begin, end}, {}};
      push.values.assign(push.keys.size() * dim, value);
      const auto pushed = client_->Push(*producer_, {push}, options).get();
      ASSERT_TRUE(pushed.ok()) << pushed.status().ToString() << Output();
    }
  }
  static std::vector<Key> AllOf(uint64_t rows) {
    std::vector<Key> keys(rows);
    std::iota(keys.begin(), keys.end(), 0);
    return keys;
  }

  void MoveAllTo(NodeId server) {
    const auto before = Digests();
    for (ShardId shard = 0; shard < kShards; ++shard) {
      const auto at = Admin(*client_).Inspect("shard", std::to_string(shard));
      ASSERT_TRUE(at.ok());
      if (at->at("node") == server) continue;
      const Status begun = Admin(*client_).MoveShard(shard, 0, server);
      ASSERT_TRUE(begun.ok()) << begun.ToString();
    }
    ASSERT_TRUE(WaitFor(kMoveMs, [&] {
      const auto shards = Admin(*client_).Inspect("shards");
      return shards.ok() && std::ranges::all_of(*shards, [&](const auto& shard) {
               return shard.at("node") == server && shard.at("move").is_null() &&
                      shard.at("state") == "serving";
             });
    })) << Output();
    std::map<ShardId, std::pair<uint64_t, uint64_t>> after;
    // A row that leaves or enters memory while it is added up may count twice, or not at all.
    EXPECT_TRUE(WaitFor(kDigestMs, [&] { return (after = Digests()) == before; }));
    EXPECT_EQ(after, before);
  }
  std::map<ShardId, std::pair<uint64_t, uint64_t>> Digests() {
    const auto digests = PrimaryDigests(cluster_, *client_);
    EXPECT_TRUE(digests.ok()) << digests.status().ToString();
    return digests.ok() ? *digests : std::map<ShardId, std::pair<uint64_t, uint64_t>>();
  }

  void ExpectRows(TableId table, uint32_t dim, const std::vector<float>& expected) {
    for (Key first = 0; first < expected.size(); first += kBatch) {
      std::vector<Key> keys(std::min<uint64_t>(kBatch, expected.size() - first));
      std::iota(keys.begin(), keys.end(), first);
      const auto pulled = client_->Pull(table, keys);
      ASSERT_TRUE(pulled.ok()) << pulled.status().ToString();
      for (size_t i = 0; i < keys.size(); ++i) {
        ASSERT_EQ((*pulled)[i * dim], expected[keys[i]]) << "row " << keys[i];
        ASSERT_EQ((*pulled)[i * dim + dim - 1], expected[keys[i]]) << "row " << keys[i];
      }
    }
  }

  std::string Output() {
    return cluster_.Output("scheduler") + cluster_.Output("server-0") + cluster_.Output("server-1");
  }

  TestCluster cluster_;
  std::unique_ptr<Client> client_;
  std::shared_ptr<Producer> producer_;
  std::vector<NodeId> servers_;
  TableId big_ = 0, fading_ = 0, rounds_ = 0;
};

TEST_F(MoveContentsTest, WhatIsThereAfterwardsIsWhatWasPushed) {
  std::mt19937_64 random(1);
  std::vector<float> big(kRows, 1), fading(kSmallRows, 0), rounds(kSmallRows, 0);
  ASSERT_NO_FATAL_FAILURE(Push(big_, kDim, AllOf(kRows), 1));
  uint64_t round = 0;
  for (int i = 0; i < 2 * TimesThereAndBack(); ++i) {
    SCOPED_TRACE("move " + std::to_string(i));
    std::vector<Key> some(kBatch);
    for (Key& key : some) key = random() % kRows;
    std::sort(some.begin(), some.end());
    some.erase(std::unique(some.begin(), some.end()), some.end());
    ASSERT_NO_FATAL_FAILURE(Push(big_, kDim, some, 1));
    for (const Key key : some) big[key] += 1;
    // All rows come, and half of them are pushed to in a later pass: the others are deleted.
    const auto pass = static_cast<uint32_t>(3 * i + 1);
    ASSERT_NO_FATAL_FAILURE(Push(fading_, 1, AllOf(kSmallRows), 1, {.pass = pass}));
    std::vector<Key> even;
    for (Key key = 0; key < kSmallRows; key += 2) even.push_back(key);
    ASSERT_NO_FATAL_FAILURE(Push(fading_, 1, even, 1, {.pass = pass + 2}));
    for (const Key key : even) fading[key] += 2;
    const auto expired = Admin(*client_).Expire(fading_, false, 60000);
    ASSERT_TRUE(expired.ok()) << expired.status().ToString();
    EXPECT_EQ(expired->unused_passes, kSmallRows - even.size());
    // A round is open while the shards move, and committed afterwards.
    ++round;
    ASSERT_NO_FATAL_FAILURE(Push(rounds_, 1, AllOf(kSmallRows), 2, {.round = round}));
    ASSERT_NO_FATAL_FAILURE(MoveAllTo(servers_[i % 2]));
    ASSERT_TRUE(client_->CommitRound({rounds_}, round, 2, round, 0).ok());
    for (float& value : rounds) value -= 1;
    ASSERT_NO_FATAL_FAILURE(ExpectRows(rounds_, 1, rounds));
    ASSERT_NO_FATAL_FAILURE(ExpectRows(fading_, 1, fading));
    const auto stored = client_->Pull({{fading_, {0, 1}}}, {.stored = true}).get();
    ASSERT_TRUE(stored.ok()) << stored.status().ToString();
    EXPECT_EQ(stored->stored[0][0], 1);
    EXPECT_EQ(stored->stored[0][1], 0) << "a deleted row has come back";
  }
  ASSERT_NO_FATAL_FAILURE(ExpectRows(big_, kDim, big));
  // And all of it is on the disk.
  ASSERT_TRUE(client_->Flush().ok());
  for (const auto& name : cluster_.names()) cluster_.Kill(name);
  ASSERT_TRUE(cluster_.Start().ok()) << Output();
  ASSERT_NO_FATAL_FAILURE(ExpectRows(rounds_, 1, rounds));
  ASSERT_NO_FATAL_FAILURE(ExpectRows(fading_, 1, fading));
  ASSERT_NO_FATAL_FAILURE(ExpectRows(big_, kDim, big));
}

}  // namespace
}  // namespace penstock
