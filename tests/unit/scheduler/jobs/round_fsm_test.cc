#include "scheduler/jobs/round_fsm.h"

#include <gtest/gtest.h>

namespace penstock {
namespace {

using Kind = SyncAction::Kind;

constexpr LeaseToken kA = 101, kB = 102;

FinishedMinibatch Done(const SyncAction& action, uint64_t examples = 4) {
  return {.round = action.round, .stream = action.stream, .tally = {.examples = examples, .loss_sum = 0.5}};
}

TEST(RoundFsm, OneSeatDoesARoundAndCommitsIt) {
  RoundFsm rounds(2, 0, 0, 2);
  rounds.TakeSeat(kA, 1, 1, 0);
  for (uint64_t round = 1; round <= 2; ++round) {
    for (uint32_t stream = 0; stream < 2; ++stream) {
      const SyncAction work = rounds.Next(kA);
      EXPECT_EQ(work, (SyncAction{.kind = Kind::kWork, .round = round, .stream = stream}));
      EXPECT_FALSE(rounds.Complete());
      rounds.Finish(Done(work));
    }
    ASSERT_TRUE(rounds.Complete());
    EXPECT_EQ(rounds.round(), round);
    ASSERT_EQ(rounds.Tallies().size(), 2u);
    EXPECT_EQ(rounds.Tallies()[1].examples, 4u);
    rounds.Journaled();
    EXPECT_FALSE(rounds.Complete());
    EXPECT_EQ(rounds.Next(kA), (SyncAction{.kind = Kind::kCommit, .round = round, .examples = 8}));
    EXPECT_EQ(rounds.Next(kA).kind, Kind::kCommit) << "its answer was lost";
    rounds.Committed(round);
  }
  EXPECT_TRUE(rounds.over());
  EXPECT_EQ(rounds.Next(kA).kind, Kind::kEnd);
}

TEST(RoundFsm, EveryMinibatchIsGivenOnce) {
  RoundFsm rounds(3, 0, 0, 9);
  rounds.TakeSeat(kA, 1, 1, 0);
  rounds.TakeSeat(kB, 2, 2, 0);
  const SyncAction a = rounds.Next(kA), b = rounds.Next(kB);
  EXPECT_NE(a.stream, b.stream);
  EXPECT_EQ(rounds.Next(kA), a) << "the answer was lost: the same again";
  rounds.Finish(Done(a));
  rounds.Finish(Done(a, 99));  // said again
  const SyncAction c = rounds.Next(kA);
  EXPECT_EQ(c.stream, 2u);
  rounds.Finish(Done(c));
  EXPECT_EQ(rounds.Next(kA).kind, Kind::kWait);
  rounds.Finish({.round = 7, .stream = b.stream});
  EXPECT_FALSE(rounds.Complete()) << "another round's";
  rounds.Finish(Done(b));
  ASSERT_TRUE(rounds.Complete());
  EXPECT_EQ(rounds.Tallies()[a.stream].examples, 4u);
}

TEST(RoundFsm, WorkersKeepTheirStreams) {
  RoundFsm rounds(4, 0, 0, 9);
  rounds.TakeSeat(kA, 1, 1, 0);
  rounds.TakeSeat(kB, 2, 2, 0);
  std::vector<uint32_t> first;
  for (uint64_t round = 1; round <= 3; ++round) {
    std::vector<uint32_t> got;
    for (const LeaseToken seat : {kB, kA, kA, kB}) {
      const SyncAction work = rounds.Next(seat);
      ASSERT_EQ(work.kind, Kind::kWork);
      got.push_back(work.stream);
      rounds.Finish(Done(work));
    }
    if (round == 1) first = got;
    EXPECT_EQ(got, first) << "round " << round;
    rounds.Journaled();
    rounds.Committed(round);
  }
}

TEST(RoundFsm, WhatASeatLeavesIsGivenToAnother) {
  RoundFsm rounds(2, 0, 0, 9);
  rounds.TakeSeat(kA, 1, 1, 0);
  rounds.TakeSeat(kB, 2, 2, 0);
  EXPECT_FALSE(rounds.SeatFree());
  const SyncAction a = rounds.Next(kA), b = rounds.Next(kB);
  rounds.Finish(Done(b));
  EXPECT_EQ(rounds.Next(kB).kind, Kind::kWait);
  rounds.LeaveGone([](NodeId node, uint64_t, int64_t) { return node == 1; });
  EXPECT_TRUE(rounds.SeatFree());
  EXPECT_EQ(rounds.Next(kA).kind, Kind::kEnd);
  EXPECT_EQ(rounds.Next(kB), a);
  rounds.Finish(Done(a));
  ASSERT_TRUE(rounds.Complete());
  rounds.Journaled();
  rounds.TakeSeat(kA, 1, 3, 0);
  EXPECT_EQ(rounds.Next(kA).kind, Kind::kCommit);
  EXPECT_EQ(rounds.Next(kB).kind, Kind::kWait);
  rounds.LeaveSeat(kA);
  EXPECT_EQ(rounds.Next(kB).kind, Kind::kCommit) << "the committer is gone";
  rounds.Committed(1);
  EXPECT_EQ(rounds.Next(kB).round, 2u);
}

TEST(RoundFsm, GoesOnBehindWhatIsJournaled) {
  RoundFsm rounds(2, 5, 8, 9);  // whether the shards have committed round 5 is not known
  rounds.TakeSeat(kA, 1, 1, 0);
  EXPECT_FALSE(rounds.Complete());
  EXPECT_EQ(rounds.Next(kA), (SyncAction{.kind = Kind::kCommit, .round = 5, .examples = 8}));
  rounds.Committed(4);
  EXPECT_EQ(rounds.Next(kA).kind, Kind::kCommit);
  rounds.Committed(5);
  EXPECT_EQ(rounds.Next(kA).round, 6u);
}

}  // namespace
}  // namespace penstock
