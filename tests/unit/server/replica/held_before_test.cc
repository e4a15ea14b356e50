// What a shard says that it holds of earlier epochs (rule 35): as a primary that goes on, as a promoted
// backup, after a restart, and after a loss.
#include "common/cluster/held_before.h"

#include <gtest/gtest.h>

#include "server/replica/shard_replica.h"
#include "tests/unit/server/shard/shard_test_util.h"

namespace penstock {
namespace {

using namespace shard_test;  // NOLINT: the helpers of this folder's tests

constexpr TableId kMemory = 1, kLogged = 2;

std::unique_ptr<Shard> TwoTables() {
  auto shard = std::make_unique<Shard>(MakeShard());
  TableSpec memory = Spec(kMemory, 1);
  memory.durability = Durability::kMemory;
  EXPECT_TRUE(shard->CreateTable(memory).ok());
  EXPECT_TRUE(shard->CreateTable(Spec(kLogged, 1)).ok());
  return shard;
}

class HeldBeforeTest : public ::testing::Test {
 protected:
  Lsn PushTo(Shard& shard, TableId table) {
    const auto pushed = Push(shard, 7, next_++, table, {1}, {1});
    EXPECT_TRUE(pushed.ok()) << pushed.status().ToString();
    return pushed.ok() ? pushed->lsn : 0;
  }
  // The next delta, as a window closes that leaves `memory` tables for later.
  BuiltDelta BuildLogged(Shard& shard) {
    auto built = shard.BuildDelta([](TableId table) { return table == kLogged; });
    EXPECT_TRUE(built.ok());
    return std::move(*built);
  }
  Sequence next_ = 0;
};

TEST_F(HeldBeforeTest, APrimaryThatGoesOnHoldsEverything) {
  ShardReplica replica(TwoTables(), "server-1");
  ASSERT_TRUE(replica.TakeGrant({.epoch = 5, .min_lsn = 1}, 0).epoch);
  EXPECT_EQ(replica.shard().held_before(), (HeldBefore{.since = 5}));
  for (const Epoch epoch : {6, 7, 9}) {
    const Lsn told = PushTo(replica.shard(), kMemory);
    ASSERT_TRUE(replica.TakeGrant({.epoch = epoch, .min_lsn = 1}, 0).epoch);
    EXPECT_TRUE(replica.shard().held_before().Holds(epoch - 1, told)) << "in memory, and in no delta yet";
    EXPECT_EQ(replica.shard().held_before().since, 5u);
  }
  EXPECT_FALSE(replica.shard().held_before().Holds(4, 1));
}

TEST_F(HeldBeforeTest, OneThatWasReleasedDoesNotSpeakForOthers) {
  ShardReplica replica(TwoTables(), "server-1");
  ASSERT_TRUE(replica.TakeGrant({.epoch = 5, .min_lsn = 1}, 0).epoch);
  const Lsn told = PushTo(replica.shard(), kMemory);
  replica.Release();
  ASSERT_TRUE(replica.TakeGrant({.epoch = 7, .min_lsn = 20}, 0).epoch);
  const HeldBefore held = replica.shard().held_before();
  EXPECT_TRUE(held.Holds(5, told));
  EXPECT_FALSE(held.Holds(6, told)) << "somebody else may have led in it";
  EXPECT_EQ(held.since, 7u);
}

TEST_F(HeldBeforeTest, OneThatWasReleasedAndGrantedTheNextEpochHasLedWithoutABreak) {
  ShardReplica replica(TwoTables(), "server-1");
  ASSERT_TRUE(replica.TakeGrant({.epoch = 5, .min_lsn = 1}, 0).epoch);
  const Lsn told = PushTo(replica.shard(), kMemory);
  for (const Epoch epoch : {6, 7}) {  // a scheduler that was restarted twice
    replica.Release();
    ASSERT_TRUE(replica.TakeGrant({.epoch = epoch, .min_lsn = 20}, 0).epoch);
  }
  EXPECT_EQ(replica.shard().held_before().since, 5u);
  EXPECT_TRUE(replica.shard().held_before().Holds(5, told)) << "who has not heard of epoch 6 rewinds nothing";
}

TEST_F(HeldBeforeTest, AcceptedDamageHoldsNothing) {
  ShardReplica replica(TwoTables(), "server-1");
  ASSERT_TRUE(replica.TakeGrant({.epoch = 5, .min_lsn = 1}, 0).epoch);
  const Lsn told = PushTo(replica.shard(), kLogged);
  Build(replica.shard());
  replica.SetDamage("a segment is gone");
  ASSERT_EQ(replica.TakeGrant({.epoch = 6, .min_lsn = 1}, 0).accepted, "a segment is gone");
  EXPECT_FALSE(replica.shard().held_before().Holds(5, told));
  EXPECT_EQ(replica.shard().held_before().since, 6u);
}

// The delta that a copy has last may have left units of `memory` tables out that were told its lsn.
TEST_F(HeldBeforeTest, ACopyHoldsWhatItsDeltasHaveTaken) {
  const auto primary = TwoTables();
  ASSERT_TRUE(primary->BeginEpoch(5, 1).ok());
  std::vector<BuiltDelta> deltas;
  PushTo(*primary, kLogged);
  deltas.push_back(BuildLogged(*primary));
  const Lsn in_memory = PushTo(*primary, kMemory);  // lsn 2
  for (int i = 0; i < 3; ++i) {
    PushTo(*primary, kLogged);
    deltas.push_back(BuildLogged(*primary));
  }
  ASSERT_TRUE(primary->BeginEpoch(6, 1, Shard::Past::kLed).ok());
  const Lsn in_six = PushTo(*primary, kLogged);
  deltas.push_back(BuildLogged(*primary));

  const auto Successor = [&](size_t deltas_taken) {
    auto copy = TwoTables();
    for (size_t i = 0; i < deltas_taken; ++i) EXPECT_TRUE(Apply(*copy, deltas[i]).ok());
    EXPECT_TRUE(copy->BeginEpoch(9, 100).ok());
    return copy;
  };
  HeldBefore held = Successor(5)->held_before();
  EXPECT_EQ(held, (HeldBefore{.since = 9, .from = 5, .to = 6, .up_to = in_memory - 1}));
  held = Successor(1)->held_before();
  EXPECT_EQ(held, (HeldBefore{.since = 9, .from = 5, .to = 5, .up_to = 1}));
  EXPECT_FALSE(held.Holds(6, 1)) << "it has heard nothing of epoch 6";

  // The delta of the lag takes them.
  deltas.push_back(Build(*primary));
  held = Successor(6)->held_before();
  EXPECT_TRUE(held.Holds(5, in_memory));
  EXPECT_TRUE(held.Holds(6, in_six));
  EXPECT_FALSE(held.Holds(6, primary->NextLsn()));
  EXPECT_FALSE(held.Holds(7, 1)) << "another one may have led in it";

  // What it leads with goes on in the deltas of its own.
  auto second = Successor(6);
  deltas.push_back(Build(*second));
  auto third = TwoTables();
  for (const BuiltDelta& delta : deltas) ASSERT_TRUE(Apply(*third, delta).ok());
  ASSERT_TRUE(third->BeginEpoch(12, 200).ok());
  EXPECT_EQ(third->held_before(), (HeldBefore{.since = 12, .from = 9, .to = 9, .up_to = 100}));
}

TEST_F(HeldBeforeTest, ASeededCopyHoldsWhatItsSeedBrought) {
  const auto primary = TwoTables();
  ASSERT_TRUE(primary->BeginEpoch(3, 1).ok());
  const Lsn told = PushTo(*primary, kMemory);
  primary->BeginSeed();
  auto copy = TwoTables();
  const auto begin = primary->BuildPiece({.number = 1});
  ASSERT_TRUE(begin.ok() && Apply(*copy, *begin).ok());
  ASSERT_TRUE(Apply(*copy, Build(*primary)).ok());
  const auto end = primary->BuildLastPiece(2);
  ASSERT_TRUE(end.ok());
  ASSERT_TRUE(Apply(*copy, *end).ok());
  ASSERT_TRUE(copy->BeginEpoch(4, 10).ok());
  EXPECT_EQ(copy->held_before(), (HeldBefore{.since = 4, .from = 3, .to = 3, .up_to = told}));
}

// The base knows it too: all deltas may be folded when a server starts again.
TEST_F(HeldBeforeTest, ARestartFromTheBaseKnowsIt) {
  capnp::MallocMessageBuilder message;
  auto meta = message.initRoot<proto::ShardMeta>();
  NameShard(meta);
  meta.setEpoch(8);
  meta.setLsn(40);
  meta.setLedSince(6);
  meta.setHeldUpTo(38);
  Shard shard = MakeShard();
  ASSERT_TRUE(shard.LoadMeta(meta.asReader()).ok());
  ASSERT_TRUE(shard.BeginEpoch(10, 50).ok());
  EXPECT_EQ(shard.held_before(), (HeldBefore{.since = 10, .from = 6, .to = 8, .up_to = 38}));

  // Of a version that did not say so.
  meta.setLedSince(0);
  meta.setHeldUpTo(0);
  Shard old = MakeShard();
  ASSERT_TRUE(old.LoadMeta(meta.asReader()).ok());
  ASSERT_TRUE(old.BeginEpoch(10, 50).ok());
  EXPECT_FALSE(old.held_before().Holds(8, 1));
}

// A delta that repeats what a failed log may have lost takes all tables.
TEST_F(HeldBeforeTest, WhatIsLoggedAgainIsHeld) {
  const auto primary = TwoTables();
  ASSERT_TRUE(primary->BeginEpoch(2, 1).ok());
  PushTo(*primary, kMemory);
  BuildLogged(*primary);
  const Lsn told = PushTo(*primary, kMemory);
  primary->RelogFrom(0, 0);
  const BuiltDelta repeated = BuildLogged(*primary);
  auto copy = TwoTables();
  ASSERT_TRUE(Apply(*copy, repeated).ok());
  ASSERT_TRUE(copy->BeginEpoch(3, 10).ok());
  EXPECT_TRUE(copy->held_before().Holds(2, told));
}

}  // namespace
}  // namespace penstock
