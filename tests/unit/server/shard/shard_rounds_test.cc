// Rounds of sync jobs in a shard: sums, commits, what is refused, and what survives deltas, replay and
// relogging.
#include <gtest/gtest.h>

#include "tests/unit/server/shard/shard_test_util.h"

namespace penstock {
namespace {

using namespace shard_test;  // NOLINT: the helpers of this folder's tests

constexpr TableId kTable = 5;

TableSpec Accumulating(OptimizerKind kind = OptimizerKind::kSgd) {
  TableSpec spec = Spec(kTable, 2, kind);
  spec.optimizer.learning_rate = 0.5f;
  spec.accumulate = true;
  return spec;
}

Result<PushOutcome> PushRound(Shard& shard, uint64_t round, ProducerId producer, std::vector<Key> keys,
                              std::vector<float> values) {
  return shard.PushUnit({.producer = producer, .sequence = round, .low = round, .round = round}, kTable, keys,
                        values.data());
}

TEST(ShardRounds, ARoundIsOneStepOnTheMean) {
  Shard shard = ServingShard({Accumulating()});
  ASSERT_TRUE(PushRound(shard, 1, 10, {7, 8}, {2, 4, 6, 8}).ok());
  ASSERT_TRUE(PushRound(shard, 1, 11, {7}, {2, -4}).ok());
  EXPECT_EQ(shard.open_round(kTable), 1u);
  EXPECT_EQ(Pull(shard, kTable, {7, 8}), (std::vector<float>{0, 0, 0, 0}))
      << "pulls see committed values only";
  const auto committed = shard.CommitRound(kTable, 1, 4, 1);
  ASSERT_TRUE(committed.ok()) << committed.status().ToString();
  EXPECT_TRUE(*committed);
  EXPECT_EQ(Pull(shard, kTable, {7, 8}), (std::vector<float>{-0.5f, 0, -0.75f, -1}));
  EXPECT_EQ(shard.open_round(kTable), 0u);
  EXPECT_EQ(shard.committed_round(kTable), 1u);
  ASSERT_TRUE(shard
                  .ForEachRow(kTable,
                              [](const RowHeader& header, std::span<const float>, std::span<const float>) {
                                EXPECT_EQ(header.push_count, 1u) << "one step, however many units";
                              })
                  .ok());
  // Accumulators began anew.
  ASSERT_TRUE(PushRound(shard, 2, 10, {7}, {1, 1}).ok());
  ASSERT_TRUE(shard.CommitRound(kTable, 2, 1, 2).ok());
  EXPECT_EQ(Pull(shard, kTable, {7}), (std::vector<float>{-1, -0.5f}));
}

TEST(ShardRounds, RepeatsChangeNothing) {
  Shard shard = ServingShard({Accumulating()});
  ASSERT_TRUE(PushRound(shard, 1, 10, {7}, {2, 4}).ok());
  const auto again = PushRound(shard, 1, 10, {7}, {2, 4});
  ASSERT_TRUE(again.ok());
  EXPECT_TRUE(again->duplicate);
  ASSERT_TRUE(shard.CommitRound(kTable, 1, 1, 1).ok());
  const auto values = Pull(shard, kTable, {7});
  const auto repeated = shard.CommitRound(kTable, 1, 1, 1);
  ASSERT_TRUE(repeated.ok());
  EXPECT_FALSE(*repeated);
  // A worker that was given up pushes its minibatch of the committed round once more.
  const auto late = PushRound(shard, 1, 10, {7}, {2, 4});
  ASSERT_TRUE(late.ok()) << late.status().ToString();
  EXPECT_TRUE(late->duplicate);
  EXPECT_EQ(Pull(shard, kTable, {7}), values);
}

// A worker whose seat a rewind has ended, after the shard has lost rounds.
TEST(ShardRounds, WhatWasLeasedBeforeARewindOpensAndCommitsNothing) {
  Shard shard = ServingShard({Accumulating()});
  shard.RaiseRewind(2);
  const float values[] = {2, 4};
  const Key key = 7;
  const UnitContext late{.producer = 10, .sequence = 9, .low = 9, .rewind = 1, .round = 9};
  EXPECT_EQ(shard.PushUnit(late, kTable, {&key, 1}, values).status().code(), Code::kCancelled);
  EXPECT_EQ(shard.CheckRewind(1).code(), Code::kCancelled) << "its commits";
  EXPECT_EQ(shard.open_round(kTable), 0u);
  for (uint64_t round = 1; round <= 9; ++round) {
    const UnitContext again{.producer = 10, .sequence = round, .low = round, .rewind = 2, .round = round};
    ASSERT_TRUE(shard.PushUnit(again, kTable, {&key, 1}, values).ok()) << round;
    ASSERT_TRUE(shard.CheckRewind(2).ok());
    ASSERT_TRUE(*shard.CommitRound(kTable, round, 1, round)) << round;
  }
}

TEST(ShardRounds, RefusalsNameTheRounds) {
  Shard shard = ServingShard({Accumulating(), Spec(6)});
  const auto plain = Push(shard, 10, 1, kTable, {7}, {1, 1});
  EXPECT_EQ(plain.status().code(), Code::kFailedPrecondition);
  EXPECT_NE(plain.status().message().find("'t5'"), std::string::npos) << plain.status().message();
  const std::vector<Key> key{7};
  const std::vector<float> ones{1, 1};
  EXPECT_EQ(shard.PushUnit({.producer = 10, .sequence = 1, .low = 1, .round = 1}, 6, key, ones.data())
                .status()
                .code(),
            Code::kFailedPrecondition);
  ASSERT_TRUE(PushRound(shard, 3, 10, {7}, {1, 1}).ok());
  const auto older = PushRound(shard, 2, 11, {7}, {1, 1});
  EXPECT_EQ(older.status().code(), Code::kFailedPrecondition);
  EXPECT_NE(older.status().message().find("round 2, but round 3 is open"), std::string::npos)
      << older.status().message();
  EXPECT_EQ(shard.CommitRound(kTable, 2, 1, 2).status().code(), Code::kFailedPrecondition);
  EXPECT_EQ(shard.CommitRound(kTable, 3, 0, 3).status().code(), Code::kInvalidArgument);
  EXPECT_EQ(shard.CommitRound(6, 3, 1, 3).status().code(), Code::kFailedPrecondition);
  ASSERT_TRUE(shard.CommitRound(kTable, 3, 1, 3).ok());
  const auto committed = PushRound(shard, 3, 12, {7}, {1, 1});
  EXPECT_EQ(committed.status().code(), Code::kFailedPrecondition);
  EXPECT_NE(committed.status().message().find("round 3, but round 3 is committed"), std::string::npos)
      << committed.status().message();
  EXPECT_EQ(Pull(shard, kTable, {7}), (std::vector<float>{-0.5f, -0.5f}));
}

TEST(ShardRounds, ALaterRoundDropsOneWhoseCommitWasLost) {
  Shard shard = ServingShard({Accumulating()});
  ASSERT_TRUE(PushRound(shard, 1, 10, {7, 8}, {1, 1, 1, 1}).ok());
  const BuiltDelta open = Build(shard);
  ASSERT_TRUE(PushRound(shard, 4, 10, {7}, {2, 2}).ok());
  const BuiltDelta dropped = Build(shard);
  ASSERT_TRUE(shard.CommitRound(kTable, 4, 1, 4).ok());
  const BuiltDelta closed = Build(shard);
  EXPECT_EQ(Pull(shard, kTable, {7, 8}), (std::vector<float>{-1, -1, 0, 0}));
  Shard replayed = MakeShard();
  for (const BuiltDelta* delta : {&open, &dropped}) ASSERT_TRUE(Apply(replayed, *delta).ok());
  ASSERT_TRUE(replayed.CreateTable(Accumulating()).ok());
  ASSERT_TRUE(replayed.CommitRound(kTable, 4, 1, 4).ok());
  EXPECT_EQ(replayed.Hash(), shard.Hash());
}

// Every delta of some rounds, replayed up to each point, goes on as the shard itself did.
TEST(ShardRounds, ReplayGoesOnInTheMiddleOfARound) {
  for (const OptimizerKind kind : {OptimizerKind::kSgd, OptimizerKind::kAdam}) {
    Shard shard = ServingShard({Accumulating(kind)});
    std::vector<BuiltDelta> deltas;
    std::vector<ContentHash> hashes;
    const auto log = [&] {
      deltas.push_back(Build(shard));
      hashes.push_back(shard.Hash());
    };
    const auto round = [](Shard& to, uint64_t r, int part) {
      if (part < 2) {
        const auto key = static_cast<Key>(part);
        const auto value = static_cast<float>(r);
        ASSERT_TRUE(PushRound(to, r, 10 + part, {key, 5}, {value, 1, -value, 2}).ok());
      } else {
        ASSERT_TRUE(to.CommitRound(kTable, r, 3, r).ok());
      }
    };
    for (uint64_t r = 1; r <= 3; ++r) {
      for (int part = 0; part < 3; ++part) {
        round(shard, r, part);
        log();
      }
    }
    for (size_t n = 1; n <= deltas.size(); ++n) {
      Shard replayed = MakeShard();
      for (size_t i = 0; i < n; ++i) {
        const Status applied = Apply(replayed, deltas[i]);
        ASSERT_TRUE(applied.ok()) << applied.ToString();
      }
      EXPECT_EQ(replayed.Hash(), hashes[n - 1]);
      ASSERT_TRUE(replayed.CreateTable(Accumulating(kind)).ok());
      EXPECT_EQ(replayed.committed_round(kTable), n / 3);
      EXPECT_EQ(replayed.open_round(kTable), n % 3 == 0 ? 0 : n / 3 + 1);
      ASSERT_TRUE(replayed.BeginEpoch(2, 100).ok());
      for (size_t i = n; i < deltas.size(); ++i) round(replayed, i / 3 + 1, static_cast<int>(i % 3));
      EXPECT_EQ(replayed.Hash(), hashes.back()) << "after " << n << " deltas";
    }
  }
}

TEST(ShardRounds, RelogKeepsOpenAccumulators) {
  Shard shard = ServingShard({Accumulating()});
  ASSERT_TRUE(PushRound(shard, 1, 10, {7, 8}, {1, 2, 3, 4}).ok());
  ASSERT_TRUE(shard.CommitRound(kTable, 1, 1, 1).ok());
  Build(shard);
  ASSERT_TRUE(PushRound(shard, 2, 10, {8}, {5, 6}).ok());
  Build(shard);
  shard.RelogFrom(0, 0);
  const BuiltDelta all = Build(shard);
  Shard replayed = MakeShard();
  const Status applied = Apply(replayed, all);
  ASSERT_TRUE(applied.ok()) << applied.ToString();
  EXPECT_EQ(replayed.Hash(), shard.Hash());
  EXPECT_EQ(replayed.open_round(kTable), 2u);
  EXPECT_EQ(replayed.committed_round(kTable), 1u);
  // One piece has the accumulators, the other has not.
  capnp::FlatArrayMessageReader reader(all.words);
  const auto tables = reader.getRoot<proto::Delta>().getTables();
  ASSERT_EQ(tables.size(), 2u);
  EXPECT_EQ(tables[0].getSections(), kSectionValues | kSectionSlots | kSectionAccumulator);
  EXPECT_EQ(tables[1].getSections(), kSectionValues | kSectionSlots);
}

TEST(ShardRounds, ACommitWithoutRowsIsRemembered) {
  Shard shard = ServingShard({Accumulating()});
  ASSERT_TRUE(shard.CommitRound(kTable, 1, 4, 1).ok());
  EXPECT_TRUE(shard.HasUnlogged(kTable));
  const BuiltDelta delta = Build(shard);
  EXPECT_FALSE(shard.HasUnlogged(kTable));
  Shard replayed = MakeShard();
  ASSERT_TRUE(Apply(replayed, delta).ok());
  EXPECT_EQ(replayed.committed_round(kTable), 1u);
  ASSERT_TRUE(replayed.CreateTable(Accumulating()).ok());
}

TEST(ShardRounds, ADeletedRowIsNotStepped) {
  Shard shard = ServingShard({Accumulating()});
  ASSERT_TRUE(PushRound(shard, 1, 10, {7, 8}, {2, 2, 2, 2}).ok());
  const std::vector<Key> key{7};
  ASSERT_TRUE(shard.DeleteRows(kTable, key).ok());
  ASSERT_TRUE(PushRound(shard, 1, 11, {7}, {4, 4}).ok());
  ASSERT_TRUE(shard.CommitRound(kTable, 1, 1, 1).ok());
  EXPECT_EQ(Pull(shard, kTable, {7, 8}), (std::vector<float>{-2, -2, -1, -1}));
}

// What the base hands back: rows of either width.
TEST(ShardRounds, TheBaseBringsOpenRows) {
  Shard shard = ServingShard({Accumulating()});
  ASSERT_TRUE(PushRound(shard, 1, 10, {7}, {1, 2}).ok());
  ASSERT_TRUE(shard.CommitRound(kTable, 1, 1, 1).ok());
  ASSERT_TRUE(PushRound(shard, 2, 10, {8}, {3, 4}).ok());
  capnp::MallocMessageBuilder message;
  auto meta = message.initRoot<proto::ShardMeta>();
  NameShard(meta);
  meta.setLsn(9);
  auto table = meta.initTables(1)[0];
  table.setTable(kTable);
  table.setLayout(kRowLayout);
  table.setDim(2);
  table.setOpenRound(2);
  table.setCommittedRound(1);
  Shard loaded = MakeShard();
  ASSERT_TRUE(loaded.LoadMeta(meta.asReader()).ok());
  ASSERT_TRUE(
      loaded.LoadRow(kTable, 7, 8, {.push_count = 1, .flags = 0}, std::vector<float>{-0.5f, -1}).ok());
  ASSERT_TRUE(
      loaded.LoadRow(kTable, 8, 9, {.push_count = 0, .flags = 0}, std::vector<float>{0, 0, 3, 4}).ok());
  EXPECT_FALSE(loaded.LoadRow(kTable, 9, 9, {.push_count = 0, .flags = 0}, std::vector<float>{0, 0, 3}).ok());
  ASSERT_TRUE(loaded.CreateTable(Accumulating()).ok());
  EXPECT_EQ(loaded.Hash(), shard.Hash());
  ASSERT_TRUE(loaded.CommitRound(kTable, 2, 2, 2).ok());
  EXPECT_EQ(Pull(loaded, kTable, {7, 8}), (std::vector<float>{-0.5f, -1, -0.75f, -1}));
}

}  // namespace
}  // namespace penstock
