// When shards move by themselves: at once from drained servers, else when the servers have been the same for
// a while, and what loads the plan goes by.
#include "scheduler/copies/balancer.h"

#include <gmock/gmock.h>

#include "tests/unit/scheduler/copies/copy_fixture.h"

namespace penstock {
namespace {

using testing::Contains;
using testing::Field;
using testing::HasSubstr;
using testing::IsEmpty;

using Move = StartMoves::Move;

// All shards begin on node 1.
class BalancerTest : public CopyDecisionTest {
 protected:
  void BeginShards(uint32_t shards) { Begin(shards, 1); }
  // What has been started is over, as if by magic.
  void Finish(const StartMoves& start) {
    for (const Move& move : start.moves) Do(EndMoves{{{.shard = move.shard, .why = "a test"}}});
  }
  void WaitForDelay() {
    for (int i = 0; i < 10; ++i) EXPECT_THAT(Balance().moves, IsEmpty()) << i << " s";
  }
};

TEST_F(BalancerTest, EvensOutWhenTheServersHaveBeenTheSameForAWhile) {
  BeginShards(16);
  WaitForDelay();
  const StartMoves start = Balance();
  EXPECT_EQ(start.moves.size(), 4u) << "as many as a node gives at a time";
  for (const Move& move : start.moves) {
    EXPECT_EQ(move.from, 1u);
    EXPECT_FALSE(move.drains);
    EXPECT_THAT(move.reason, HasSubstr("of the mean bytes"));
  }
  EXPECT_THAT(Balance().moves, IsEmpty()) << "until those have ended";
}

TEST_F(BalancerTest, ServersThatComeAndGoDelayIt) {
  BeginShards(16);
  WaitForDelay();
  Restart(3);
  for (int i = 0; i < 9; ++i) EXPECT_THAT(Balance().moves, IsEmpty());
}

// It has fewer bytes than it will have.
TEST_F(BalancerTest, AServerThatReadsItsBaseDelaysIt) {
  BeginShards(16);
  nodes_.SetWords(2, {.loading = true});
  for (int i = 0; i < 15; ++i) EXPECT_THAT(Balance().moves, IsEmpty());
  EXPECT_EQ(balancer_.WaitsFor(Health()), "server-2 (node 2) is still reading its base");
  nodes_.SetWords(2, {});
  EXPECT_EQ(Balance().moves.size(), 4u);
  EXPECT_EQ(balancer_.WaitsFor(Health()), "");
}

TEST_F(BalancerTest, SaysWhatItWaitsFor) {
  BeginShards(16);
  EXPECT_THAT(Balance().moves, IsEmpty());
  EXPECT_THAT(balancer_.WaitsFor(Health()), HasSubstr("scheduler.balance_delay_ms = 10000"));
  Do(SetBalance{false});
  EXPECT_THAT(balancer_.WaitsFor(Health()), HasSubstr("off"));
}

TEST_F(BalancerTest, AServerWithMoreMemoryTakesMore) {
  for (NodeId node : {1u, 2u}) labels_[node].memory = 1 << 30;
  BeginShards(16);
  const auto taken = [&] {
    std::map<NodeId, int> shards;
    for (const auto& move : balancer_.Plan(Health(), kWallMs + now_).moves) ++shards[move.to];
    return shards;
  };
  EXPECT_EQ(taken()[2], 5) << "one has not said how much it has";
  labels_[3].memory = uint64_t{2} << 30;
  Restart(3);
  Beat(3);
  EXPECT_EQ(taken()[2], 4);
  EXPECT_EQ(taken()[3], 8);
}

TEST_F(BalancerTest, ADrainDoesNotWait) {
  BeginShards(16);
  Do(DrainNode{.node = 1});
  const StartMoves start = Balance();
  ASSERT_EQ(start.moves.size(), 4u);
  for (const Move& move : start.moves) EXPECT_TRUE(move.drains) << move.reason;
}

TEST_F(BalancerTest, OffMeansForDrainsAloneAndAnOperatorsWordIsCarriedOut) {
  BeginShards(16);
  Do(SetBalance{false});
  WaitForDelay();
  EXPECT_THAT(Balance().moves, IsEmpty());
  EXPECT_EQ(balancer_.Plan(Health(), kWallMs + now_).moves.size(), 10u) << "until each has five or six";
  balancer_.Hurry(kWallMs + now_);
  StartMoves start = Balance();
  EXPECT_EQ(start.moves.size(), 4u);
  Finish(start);
  start = Balance();
  EXPECT_EQ(start.moves.size(), 4u) << "until all of it is done";
  EXPECT_TRUE(balancer_.hurries());
  Finish(start);
  Do(DrainNode{.node = 2});
  Do(DrainNode{.node = 3});
  for (int i = 0; i < 5; ++i) EXPECT_THAT(Balance().moves, IsEmpty()) << "nowhere to go";
  EXPECT_FALSE(balancer_.hurries());
  Do(DrainNode{.node = 2, .drained = false});
  EXPECT_THAT(Balance().moves, IsEmpty());
  Do(DrainNode{.node = 1});
  EXPECT_EQ(Balance().moves.size(), 4u) << "drains go on";
}

TEST_F(BalancerTest, WhatIsNotWholeStays) {
  BeginShards(4);
  Do(QuarantineShards{{{.shard = 0, .reason = "a test"}}});
  Line(1, 1).epoch = 0;  // it is not served yet
  Do(DrainNode{.node = 1});
  const StartMoves start = Balance();
  EXPECT_EQ(start.moves.size(), 2u);
  EXPECT_THAT(start.moves, Not(Contains(Field(&Move::shard, 0u))));
  EXPECT_THAT(start.moves, Not(Contains(Field(&Move::shard, 1u))));
}

TEST_F(BalancerTest, AServerThatDoesNotAnswerGetsNothing) {
  BeginShards(16);
  for (int i = 0; i < 12; ++i) {
    Pass(1000, {1, 2});
    balancer_.Next(Health(), kWallMs + now_);
  }
  Pass(1000, {1, 2});
  const StartMoves start = balancer_.Next(Health(), kWallMs + now_);
  ASSERT_EQ(start.moves.size(), 4u);
  for (const Move& move : start.moves) EXPECT_EQ(move.to, 2u);
}

TEST_F(BalancerTest, WhatMovedLatelyRests) {
  BeginShards(2);
  WaitForDelay();
  StartMoves start = Balance();
  ASSERT_EQ(start.moves.size(), 1u);
  const ShardId moved = start.moves[0].shard;
  const NodeId to = start.moves[0].to;
  // It is seeded, is in sync and leads.
  const Incarnation life = state_.data().last_incarnation + 1;
  Do(AddCopies{{{.shard = moved, .node = to, .incarnation = life}}});
  Enter(to, moved);
  Confirm(moved);
  const Epoch epoch = Shard(moved).epoch + 1;
  Do(ChangeCopies{
      {{.shard = moved, .epoch = epoch, .min_lsn = 1, .node = to, .incarnation = life, .at_ms = 4711}}});
  EXPECT_EQ(Shard(moved).moved_ms, 4711) << "when it ended";
  EXPECT_EQ(Shard(moved).move, MoveRecord{});
}

TEST_F(BalancerTest, LoadIsRowsASecondSmoothed) {
  BeginShards(2);
  const auto serve = [&](uint64_t rows_per_second, int seconds) {
    for (int i = 0; i < seconds * 2; ++i) {
      Line(1, 0).served_rows += rows_per_second / 2;
      Pass(500, {1});
    }
  };
  serve(10'000, 300);
  EXPECT_NEAR(nodes_.loads().Of(0), 10'000, 100);
  EXPECT_EQ(nodes_.loads().Of(1), 0);
  const RebalanceInput input = InputOf(Health(), kWallMs + now_);
  EXPECT_EQ(input.shards[0].load, nodes_.loads().Of(0)) << "the plan goes by it";
  serve(0, 30);
  EXPECT_NEAR(nodes_.loads().Of(0), 10'000 / 2.718, 100);
  // Another life of the server counts from 0 on, and nothing of that is a rate.
  Line(1, 0).served_rows = 0;
  Pass(500, {1});
  EXPECT_LT(nodes_.loads().Of(0), 4'000);
  // A scheduler that has just begun knows the rate, and not how it was before.
  ShardLoads fresh;
  ShardLine line{.shard = 7, .epoch = 1, .served_rows = 5'000'000};
  for (int i = 0; i < 6; ++i, line.served_rows += 10'000) fresh.OnHeartbeat(1, {line}, 1000 + i * 500);
  EXPECT_NEAR(fresh.Of(7), 20'000, 1);
}

}  // namespace
}  // namespace penstock
