// Client against a cluster that does its part: connecting, tables, batches, epochs and maps.
#include "client/client.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>
#include <nlohmann/json.hpp>
#include <random>
#include <thread>

#include "client/admin.h"
#include "tests/unit/client/client_fixture.h"

namespace penstock {
namespace {

using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

// --- Connecting, tables, scheduler ---

TEST_F(ClientTest, ConnectsAndKnowsTheCluster) {
  Connect();
  EXPECT_EQ(client_->cluster(), 77u);
  EXPECT_EQ(client_->shard_count(), 8u);
  EXPECT_GE(producer_->id(), 100u);
  EXPECT_NE((*client_->NewProducer())->id(), producer_->id());
}

TEST_F(ClientTest, NamesTheSchedulerThatIsNotThere) {
  ClientOptions options = Options(cluster_);
  options.connect_timeout_ms = 200;
  cluster_.Run([&] { cluster_.StopScheduler(); });
  const auto client = Client::Connect(options);
  EXPECT_EQ(client.status().code(), Code::kUnavailable) << client.status().ToString();
  EXPECT_THAT(client.status().message(), HasSubstr(cluster_.address()));
  options.scheduler = "/nowhere/address";
  EXPECT_THAT(Client::Connect(options).status().message(), HasSubstr("/nowhere/address"));
}

TEST_F(ClientTest, IsRefusedWithAWrongToken) {
  FakeCluster guarded({8, 1, "0123456789abcdef"});
  ClientOptions options = Options(guarded);
  options.token = "fedcba9876543210";
  EXPECT_EQ(Client::Connect(options).status().code(), Code::kPermissionDenied);
  options.token = "0123456789abcdef";
  EXPECT_TRUE(Client::Connect(options).ok());
}

TEST_F(ClientTest, RefusesOptionsByName) {
  ClientOptions options = Options(cluster_);
  options.piece_bytes = 1;
  EXPECT_THAT(Client::Connect(options).status().message(),
              AllOf(HasSubstr("piece_bytes is 1"), HasSubstr("4096")));
  options = Options(cluster_);
  options.spin_us = 100'001;
  EXPECT_THAT(Client::Connect(options).status().message(),
              AllOf(HasSubstr("spin_us is 100001"), HasSubstr("0 to 100000")));
  options = Options(cluster_);
  options.scheduler = "";
  EXPECT_EQ(Client::Connect(options).status().code(), Code::kInvalidArgument);
}

TEST_F(ClientTest, OpensAndDropsTables) {
  Connect();
  const TableSpec created = Table("user", 3);
  EXPECT_EQ(client_->OpenTable("user")->id, created.id);
  EXPECT_EQ(client_->OpenTable("item").status().code(), Code::kNotFound);
  EXPECT_TRUE(client_->DropTable("user").ok());
  EXPECT_EQ(client_->Pull({{created.id, {1}}}).get().status().code(), Code::kInvalidArgument);
}

TEST_F(ClientTest, AsksTheSchedulerForTools) {
  Connect();
  EXPECT_EQ((*Admin(*client_).Inspect("status"))["what"], "status");
  EXPECT_EQ(Admin(*client_).Inspect("nonsense").status().code(), Code::kInternal);
  EXPECT_EQ(*Admin(*client_).SubmitJob({{"name", "a9a"}}), 4u);
}

TEST_F(ClientTest, ASubmissionWithoutAnswerIsNotRepeatedAndMayHaveHappened) {
  ClientOptions options = Options(cluster_);
  options.deadline_ms = 100;
  Connect(options);
  EXPECT_EQ(Admin(*client_).SubmitJob("swallow").status().code(), Code::kOutcomeUnknown);
}

TEST_F(ClientTest, WaitsForASchedulerThatComesBack) {
  Connect();
  cluster_.Run([&] { cluster_.StopScheduler(); });
  std::thread back([&] { cluster_.Run([&] { cluster_.StartScheduler(); }); });
  EXPECT_TRUE(client_->NewProducer().ok());
  back.join();
}

// --- Pull and push ---

TEST_F(ClientTest, PullsRowsInTheOrderOfTheKeys) {
  const uint64_t seed = std::random_device{}();
  SCOPED_TRACE("seed " + std::to_string(seed));
  std::mt19937_64 random(seed);
  ClientOptions options = Options(cluster_);
  options.piece_bytes = 4096;
  Connect(options);
  std::vector<TableKeys> tables;
  std::vector<uint32_t> dims = {1, 3, 16};
  for (uint32_t dim : dims) {
    tables.push_back({Table("t" + std::to_string(dim), dim).id, {}});
    for (int i = 0; i < 3000; ++i) tables.back().keys.push_back(random() % 1000);
  }
  const auto pulled = client_->Pull(tables).get();
  ASSERT_TRUE(pulled.ok()) << pulled.status().ToString();
  ASSERT_EQ(pulled->values.size(), 3u);
  for (size_t t = 0; t < 3; ++t) {
    ASSERT_EQ(pulled->values[t].size(), tables[t].keys.size() * dims[t]);
    for (size_t i = 0; i < tables[t].keys.size(); ++i) {
      for (uint32_t c = 0; c < dims[t]; ++c)
        ASSERT_EQ(pulled->values[t][i * dims[t] + c], FakeValue(tables[t].keys[i], c));
    }
  }
  EXPECT_GT(cluster_.Run([&] { return cluster_.pulls().size(); }), 20u) << "cut into pieces";
}

TEST_F(ClientTest, OneCallAnEndpointForAllTables) {
  Connect();
  std::vector<TableKeys> tables;
  for (int t = 0; t < 3; ++t) {
    tables.push_back({Table("t" + std::to_string(t), 2).id, {}});
    for (Key key = 0; key < 100; ++key) tables.back().keys.push_back(key);
  }
  ASSERT_TRUE(client_->Pull(tables).get().ok());
  EXPECT_EQ(cluster_.Run([&] { return cluster_.pulls().size(); }), 2u);
}

TEST_F(ClientTest, PushesEveryRowOnceThroughPiecesOfOddWidths) {
  const uint64_t seed = std::random_device{}();
  SCOPED_TRACE("seed " + std::to_string(seed));
  std::mt19937_64 random(seed);
  ClientOptions options = Options(cluster_);
  options.piece_bytes = 4096;
  Connect(options);
  std::map<std::pair<TableId, Key>, std::vector<float>> expected;
  std::vector<TableKeys> all;
  for (uint32_t dim : {1u, 3u, 7u}) {
    const TableId table = Table("t" + std::to_string(dim), dim).id;
    all.push_back({table, {}});
  }
  for (int round = 0; round < 5; ++round) {
    std::vector<TablePush> pushes;
    for (size_t t = 0; t < 3; ++t) {
      const uint32_t dim = std::vector<uint32_t>{1, 3, 7}[t];
      TablePush push{all[t].table, {}, {}};
      for (int i = 0; i < 1000; ++i) {
        const Key key = random() % 5000;
        push.keys.push_back(key);
        auto& row = expected[{push.table, key}];
        row.resize(dim);
        for (uint32_t c = 0; c < dim; ++c) {
          push.values.push_back(static_cast<float>(random() % 100));
          row[c] += push.values.back();
        }
      }
      pushes.push_back(std::move(push));
    }
    const auto pushed = client_->Push(*producer_, pushes).get();
    ASSERT_TRUE(pushed.ok()) << pushed.status().ToString();
    EXPECT_EQ(pushed->sequence, static_cast<Sequence>(round));
    EXPECT_EQ(pushed->units.size(), 3u * 8u);
    EXPECT_TRUE(pushed->logged());
  }
  EXPECT_EQ(cluster_.Run([&] { return cluster_.rows(); }), expected);
  EXPECT_EQ(producer_->low(), 5u);
}

TEST_F(ClientTest, RefusesWrongCallsWithoutTakingASequence) {
  ClientOptions options = Options(cluster_);
  options.max_unit_bytes = 1024;
  Connect(options);
  const TableId table = Table("user", 2).id;
  EXPECT_THAT(client_->Push(*producer_, {{table, {1, 2}, {1, 2, 3}}}).get().status().message(),
              HasSubstr("3 values for 2 keys"));
  EXPECT_THAT(client_->Push(*producer_, {{99, {1}, {1, 2}}}).get().status().message(), HasSubstr("table 99"));
  EXPECT_THAT(client_->Push(*producer_, {{table, {}, {}}, {table, {}, {}}}).get().status().message(),
              HasSubstr("twice"));
  const auto large =
      client_
          ->Push(*producer_, {{table, std::vector<Key>(100, 5), std::vector<float>(200)}}, {.combine = false})
          .get();
  EXPECT_EQ(large.status().code(), Code::kInvalidArgument);
  EXPECT_THAT(large.status().message(), AllOf(HasSubstr("'user'"), HasSubstr("shard ")));
  EXPECT_EQ(client_->PushAt(*producer_, 4, std::vector<TablePush>{}).get().status().code(),
            Code::kInvalidArgument);
  EXPECT_EQ(producer_->in_flight(), 0u);
  EXPECT_EQ(client_->Push(*producer_, {{table, {1}, {1, 1}}}).get()->sequence, 0u);
}

TEST_F(ClientTest, PullsIntoMemoryOfTheCallers) {
  Connect();
  const TableId table = Table("user", 2).id;
  const std::vector<Key> keys = {7, 3, 7};
  std::vector<float> rows(6);
  const TablePullView view{table, keys, rows};
  const Status pulled = client_->PullInto(std::span(&view, 1)).get();
  ASSERT_TRUE(pulled.ok()) << pulled.ToString();
  for (size_t i = 0; i < rows.size(); ++i)
    EXPECT_EQ(rows[i], FakeValue(keys[i / 2], static_cast<uint32_t>(i % 2)));
  const TablePullView narrow{table, keys, std::span(rows).first(5)};
  EXPECT_THAT(client_->PullInto(std::span(&narrow, 1)).get().message(), HasSubstr("5 values for 3 keys"));
}

TEST_F(ClientTest, RowsOfOneKeyAreOnePush) {
  Connect();
  const TableId sums = Table("sums", 1).id;
  TableSpec spec;
  spec.name = "last";
  spec.dim = 1;
  spec.optimizer.kind = OptimizerKind::kAssign;
  const TableId last = client_->CreateTable(spec)->id;
  ASSERT_TRUE(client_->Push(*producer_, {{sums, {4, 4}, {1, 2}}, {last, {4, 4}, {1, 2}}}).get().ok());
  const auto row = [&](TableId table) {
    return cluster_.Run([&] { return cluster_.rows().at({table, 4}); });
  };
  EXPECT_THAT(row(sums), ElementsAre(3));
  EXPECT_THAT(row(last), ElementsAre(2));  // the fake server adds: 3 if both had come
}

TEST_F(ClientTest, APushBringsItsRowsBack) {
  Connect();
  const TableId sums = Table("sums", 2).id;
  ASSERT_TRUE(client_->Push(*producer_, {{sums, {7, 3}, {1, 2, 3, 4}}}).get().ok());
  const std::vector<Key> keys = {7, 5, 3, 7};
  const std::vector<float> values = {10, 20, 30, 40, 50, 60, 70, 80};
  const std::vector<float> combined = {81, 102, 30, 40, 53, 64, 81, 102};
  std::vector<float> pulled(8);
  const TablePushPullView view{sums, keys, values, pulled};
  const auto done = client_->PushPull(*producer_, std::span(&view, 1)).get();
  ASSERT_TRUE(done.ok()) << done.status().ToString();
  EXPECT_EQ(done->sequence, 1u);
  EXPECT_EQ(pulled, combined);
  // Without combining the fake server adds the same, and each place has the sum.
  PushOptions apart;
  apart.combine = false;
  ASSERT_TRUE(client_->PushPull(*producer_, std::span(&view, 1), apart).get().ok());
  EXPECT_THAT(pulled, ElementsAre(161, 202, 60, 80, 103, 124, 161, 202));
  // In place.
  std::vector<float> both = {1, 1};
  const TablePushPullView place{sums, std::span(keys).first(1), both, both};
  ASSERT_TRUE(client_->PushPull(*producer_, std::span(&place, 1)).get().ok());
  EXPECT_THAT(both, ElementsAre(162, 203));
  const TablePushPullView narrow{sums, keys, values, std::span(pulled).first(5)};
  EXPECT_THAT(client_->PushPull(*producer_, std::span(&narrow, 1)).get().status().message(),
              HasSubstr("room for 5 floats, expected 8"));
  EXPECT_TRUE(client_->PushPull(*producer_, {}).get().ok());
}

TEST_F(ClientTest, EmptyCallsAreOk) {
  Connect();
  const TableId table = Table("user", 2).id;
  EXPECT_TRUE(client_->Push(*producer_, std::vector<TablePush>{}).get()->units.empty());
  EXPECT_EQ(client_->Pull({{table, {}}}).get()->values.size(), 1u);
  EXPECT_TRUE(Admin(*client_).Stats({})->empty());
}

TEST_F(ClientTest, ManyThreadsAtOnce) {
  ClientOptions options = Options(cluster_);
  options.piece_bytes = 4096;
  Connect(options);
  const TableId table = Table("count", 1).id;
  constexpr int kThreads = 8, kRounds = 30, kKeys = 200;
  std::atomic<int> failed{0};
  std::vector<std::thread> threads;
  for (int t = 0; t < kThreads; ++t) {
    threads.emplace_back([&] {
      auto own = client_->NewProducer();
      std::vector<Key> keys(kKeys);
      for (int i = 0; i < kKeys; ++i) keys[i] = static_cast<Key>(i);
      std::vector<std::future<Result<PushResult>>> pushes;
      for (int r = 0; r < kRounds; ++r) {
        pushes.push_back(client_->Push(**own, {{table, keys, std::vector<float>(kKeys, 1)}}));
        if (!client_->Pull({{table, keys}}).get().ok()) ++failed;
      }
      for (auto& push : pushes) {
        if (!push.get().ok()) ++failed;
      }
    });
  }
  for (auto& thread : threads) thread.join();
  EXPECT_EQ(failed, 0);
  const auto rows = cluster_.Run([&] { return cluster_.rows(); });
  ASSERT_EQ(rows.size(), static_cast<size_t>(kKeys));
  for (const auto& [key, row] : rows) EXPECT_EQ(row[0], kThreads * kRounds);
}

TEST_F(ClientTest, LimitsWhatIsInFlightOnAnEndpoint) {
  ClientOptions options = Options(cluster_);
  options.max_inflight_bytes = 1;
  Connect(options);
  const TableId table = Table("user", 1).id;
  cluster_.Run([&] { cluster_.answer_after_ms = 2; });
  std::vector<std::future<Result<PushResult>>> pushes;
  for (int i = 0; i < 10; ++i) pushes.push_back(client_->Push(*producer_, {One(table, KeyIn(0, table))}));
  for (auto& push : pushes) EXPECT_TRUE(push.get().ok());
  EXPECT_EQ(cluster_.Run([&] { return cluster_.most_at_once(); }), 1u);
}

// --- Epochs and maps ---

TEST_F(ClientTest, ResendsOnlyTheGroupWithTheWrongEpoch) {
  Connect();
  const TableId table = Table("user", 1).id;
  const Key a = KeyIn(0, table), b = KeyIn(2, table);  // both at server 0
  cluster_.Run([&] { cluster_.epochs()[2] = 5; });
  const auto pushed = client_->Push(*producer_, {{table, {a, b}, {1, 2}}}).get();
  ASSERT_TRUE(pushed.ok()) << pushed.status().ToString();
  const auto calls = cluster_.Run([&] { return cluster_.pushes(); });
  ASSERT_EQ(calls.size(), 2u);
  EXPECT_THAT(calls[0].groups, ElementsAre(SeenGroup{table, 0, 1, 1}, SeenGroup{table, 2, 1, 1}));
  EXPECT_THAT(calls[1].groups, ElementsAre(SeenGroup{table, 2, 5, 1}));
  EXPECT_EQ(calls[1].producer, calls[0].producer);
  EXPECT_EQ(calls[1].sequence, calls[0].sequence);
  EXPECT_EQ(pushed->units[1].epoch, 5u);
  // The epoch is remembered.
  ASSERT_TRUE(client_->Push(*producer_, {One(table, b)}).get().ok());
  EXPECT_EQ(cluster_.Run([&] { return cluster_.pushes().size(); }), 3u);
}

// The bits of each answer are those of the groups that were ok in it.
TEST_F(ClientTest, APullSaysWhichRowsAreStored) {
  Connect();
  const TableId one = Table("user", 1).id, two = Table("item", 2).id;
  std::vector<Key> keys, pushed;
  for (Key key = 0; key < 200; ++key) keys.push_back(key);
  for (Key key = 0; key < 200; key += 3) pushed.push_back(key);
  ASSERT_TRUE(client_->Push(one, pushed, std::vector<float>(pushed.size(), 1)).ok());
  ASSERT_TRUE(client_->Push(two, {199}, {1, 1}).ok());
  cluster_.Run([&] { cluster_.epochs()[2] = cluster_.epochs()[5] = 5; });  // their groups fail at first
  const auto pulled = client_->Pull({{one, keys}, {two, {7, 199}}}, {.stored = true}).get();
  ASSERT_TRUE(pulled.ok()) << pulled.status().ToString();
  ASSERT_EQ(pulled->stored.size(), 2u);
  ASSERT_EQ(pulled->stored[0].size(), keys.size());
  for (const Key key : keys) {
    EXPECT_EQ(pulled->stored[0][key], key % 3 == 0) << key;
    EXPECT_EQ(pulled->values[0][key], FakeValue(key, 0) + (key % 3 == 0 ? 1 : 0)) << key;
  }
  EXPECT_THAT(pulled->stored[1], ElementsAre(0, 1));
  EXPECT_TRUE(client_->Pull({{one, keys}}).get()->stored.empty()) << "nobody asked";
  std::vector<float> room(1);
  const TablePullView view{one, {keys.data(), 1}, room};
  const Status into = client_->PullInto(std::span(&view, 1), {.stored = true}).get();
  EXPECT_EQ(into.code(), Code::kInvalidArgument) << into.ToString();
}

TEST_F(ClientTest, FollowsAShardThatMoved) {
  Connect();
  const TableId table = Table("user", 1).id;
  const Key key = KeyIn(0, table);
  cluster_.Run([&] {
    cluster_.PlaceShard(0, 1);
    cluster_.map().shards[0].epoch = cluster_.epochs()[0] = 2;
    cluster_.map().version = 2;
  });
  const auto pushed = client_->Push(*producer_, {One(table, key)}).get();
  ASSERT_TRUE(pushed.ok()) << pushed.status().ToString();
  const auto calls = cluster_.Run([&] { return cluster_.pushes(); });
  EXPECT_EQ(calls.front().server, 0u);
  EXPECT_EQ(calls.back().server, 1u);
  EXPECT_EQ(cluster_.Run([&] { return cluster_.units(); }), 1u);
}

TEST_F(ClientTest, APushSaysItsPlaceInTheJob) {
  Connect();
  const TableId table = Table("user", 1).id;
  const PushOptions options{.clock = 2, .round = 3, .step = 4, .worker = 5, .pass = 6, .rewind = 7};
  ASSERT_TRUE(client_->Push(*producer_, {One(table, 1)}, options).get().ok());
  ASSERT_TRUE(client_->Push(*producer_, {One(table, 1)}).get().ok());
  const auto calls = cluster_.Run([&] { return cluster_.pushes(); });
  ASSERT_EQ(calls.size(), 2u);
  EXPECT_EQ(calls[0].options, options);
  EXPECT_EQ(calls[1].options, PushOptions{});
}

TEST_F(ClientTest, WaitsForAShardThatNobodyServes) {
  cluster_.Run([&] {
    cluster_.map().shards[0].state = ShardState::kUnplaced;
    cluster_.map().shards[0].endpoint = "";
  });
  Connect();
  const TableId table = Table("user", 1).id;
  auto push = client_->Push(*producer_, {One(table, KeyIn(0, table))});
  const size_t asked = cluster_.Run([&] { return cluster_.map_calls(); });
  ASSERT_TRUE(Until([&] { return cluster_.map_calls() > asked + 2; }));
  EXPECT_EQ(push.wait_for(std::chrono::seconds(0)), std::future_status::timeout);
  cluster_.Run([&] {
    cluster_.PlaceShard(0, 0);
    cluster_.map().shards[0].state = ShardState::kServing;
    cluster_.map().version = 2;
  });
  EXPECT_TRUE(push.get().ok());
}

TEST_F(ClientTest, AQuarantinedShardFailsAtOnceByName) {
  cluster_.Run([&] {
    cluster_.map().shards[3].state = ShardState::kQuarantined;
    cluster_.map().shards[3].detail = "segment 7 is damaged";
  });
  Connect();
  const TableId table = Table("user", 1).id;
  const auto begin = std::chrono::steady_clock::now();
  for (const Status& status : {client_->Pull({{table, {KeyIn(3, table)}}}).get().status(),
                               client_->Push(*producer_, {One(table, KeyIn(3, table))}).get().status(),
                               Admin(*client_).Stats({table}).status()}) {
    EXPECT_EQ(status.code(), Code::kDataLoss);
    EXPECT_THAT(status.message(), AllOf(HasSubstr("shard 3"), HasSubstr("segment 7 is damaged")));
  }
  EXPECT_LT(std::chrono::steady_clock::now() - begin, std::chrono::seconds(10)) << "not at the deadline";
  EXPECT_TRUE(client_->Pull({{table, {KeyIn(4, table)}}}).get().ok()) << "the others are served";
}

}  // namespace
}  // namespace penstock
