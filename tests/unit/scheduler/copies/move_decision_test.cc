// What a shard that moves needs next, step by step, and what becomes of it when something comes in between.
#include "scheduler/copies/move_decision.h"

#include <gmock/gmock.h>

#include "tests/unit/scheduler/copies/copy_fixture.h"

namespace penstock {
namespace {

using testing::HasSubstr;
using Kind = MoveStep::Kind;

// Of shard 0, whose primary is on node 1; applied is 7 everywhere.
class MoveDecisionTest : public CopyDecisionTest {
 protected:
  void Start(NodeId from, NodeId to) {
    Do(StartMoves{{{.shard = 0, .from = from, .to = to, .reason = "a test"}}});
  }
  MoveStep Next() {
    const bool settled = Health().Served(0) != nullptr && Shard().confirmed == Shard().epoch;
    return NextMoveStep(Health(), 0, settled, kWallMs + now_);
  }
  // The copy that was added reports, and becomes in sync, step by step.
  void Take(NodeId node) {
    ASSERT_NE(FindCopy(Shard().backups, node), nullptr);
    const Incarnation incarnation = FindCopy(Shard().backups, node)->incarnation;
    Line(node, 0) = {
        .shard = 0, .incarnation = incarnation, .applied = 7, .logged = 7, .synced = 7, .complete = true};
    Line(1, 0).backups.push_back({.node = node, .incarnation = incarnation, .caught_up = true});
    for (int i = 0; i < 3; ++i) {
      BeatTwice({1, node});
      if (FindCopy(Shard().backups, node)->in_sync) Confirm();
      if (FindCopy(Shard().backups, node)->since != 0 && Shard().confirmed == Shard().epoch) return;
      Step();
    }
  }
  void ToFence(uint32_t copies, NodeId to) {
    Begin(2, copies);
    Lsns(1, 7, 7);
    Beat(1);
    Start(1, to);
    Step();
    Take(to);
    ASSERT_EQ(Next().kind, Kind::kFence);
    Step();
    ASSERT_NE(Shard().move.fence, 0u);
  }
  // Both say that they hold all of it.
  void Fenced(NodeId to) {
    Line(1, 0).fenced = Shard().move.fence;
    Line(1, 0).applied = Line(1, 0).logged = Line(1, 0).synced = 8;
    Line(to, 0).applied = Line(to, 0).logged = Line(to, 0).synced = 8;
    BeatTwice({1, to});
  }
};

TEST_F(MoveDecisionTest, AMoveWithOneCopyHasTwoMeanwhile) {
  ToFence(1, 2);
  const Epoch fence = Shard().move.fence;
  EXPECT_GT(fence, Shard().epoch);
  EXPECT_EQ(Next().kind, Kind::kWait);
  EXPECT_THAT(Next().why, HasSubstr("server-1 (node 1) has not written its last delta"));
  Fenced(2);
  ASSERT_EQ(Next().kind, Kind::kHandOver);
  Step();
  EXPECT_EQ(Shard().node, 2u);
  EXPECT_GT(Shard().epoch, fence) << "nobody serves the epoch of the fence";
  EXPECT_TRUE(Shard().backups.empty());
  ASSERT_EQ(Shard().former.size(), 1u) << "it may still have to lead";
  EXPECT_EQ(Shard().move, MoveRecord{});
}

TEST_F(MoveDecisionTest, TheTargetMustHaveSyncedAllThatTheFencedOneHas) {
  ToFence(1, 2);
  Fenced(2);
  Line(2, 0).synced = 7;
  Beat(2);
  EXPECT_EQ(Next().kind, Kind::kWait);
  EXPECT_THAT(Next().why, HasSubstr("holds lsn 8, synced 7, and has to sync 8"));
  Line(2, 0).synced = 8;
  Line(2, 0).applied = 9;
  Beat(2);
  EXPECT_EQ(Next().kind, Kind::kWait) << "more than the primary";
  Line(2, 0).applied = 8;
  Beat(2);
  EXPECT_EQ(Next().kind, Kind::kHandOver);
}

TEST_F(MoveDecisionTest, APrimaryAndItsBackupChangePlacesWithoutASeed) {
  Begin(2, 2);
  Lsns(1, 7, 7);
  Follow(2);
  Line(1, 0).backups.back().caught_up = true;
  Beat(1);
  Start(1, 2);
  EXPECT_FALSE(Shard().move.adds);
  EXPECT_EQ(Next().kind, Kind::kFence);
  Step();
  const auto old = Shard();
  Fenced(2);
  Step();
  EXPECT_EQ(Shard().node, 2u);
  ASSERT_EQ(Shard().backups.size(), 1u);
  EXPECT_EQ(Shard().backups[0], PrimaryOf(old)) << "under its incarnation, and it could lead at once";
  EXPECT_TRUE(IsPromotable(Shard(), Shard().backups[0]));
  EXPECT_TRUE(Shard().former.empty());
}

TEST_F(MoveDecisionTest, ABackupLeavesWhenTheOneOnTheTargetIsInSync) {
  Begin(2, 2);
  Lsns(1, 7, 7);
  Follow(2);
  Start(2, 3);
  Step();
  ASSERT_NE(FindCopy(Shard().backups, 3), nullptr);
  Take(3);
  EXPECT_EQ(Next().kind, Kind::kLeave);
  Step();
  EXPECT_EQ(Shard().node, 1u);
  ASSERT_EQ(Shard().backups.size(), 1u);
  EXPECT_EQ(Shard().backups[0].node, 3u);
  EXPECT_EQ(Shard().move, MoveRecord{});
}

TEST_F(MoveDecisionTest, AFenceThatStandsTooLongIsGivenUpInAnEpochOfItsOwn) {
  ToFence(1, 2);
  const Epoch fence = Shard().move.fence;
  Pass(kMostFencedMs - 1, {1, 2, 3});
  EXPECT_EQ(Next().kind, Kind::kWait);
  Pass(1, {1, 2, 3});
  EXPECT_EQ(Next().kind, Kind::kGiveUp);
  Step();
  EXPECT_EQ(Shard().node, 1u);
  EXPECT_GT(Shard().epoch, fence);
  EXPECT_EQ(Shard().move.fence, 0u);
  EXPECT_EQ(Shard().move.given_up, 1u);
  Line(1, 0).fenced = 0;
  Confirm();
  EXPECT_THAT(Next().why, HasSubstr("took too long")) << "what was copied is not copied again";
  EXPECT_EQ(Next().kind, Kind::kNone);
  Pass(1000, {1, 2, 3});
  EXPECT_EQ(Next().kind, Kind::kFence);
  Step();
  Pass(2 * kMostFencedMs - 1, {1, 2, 3});
  EXPECT_EQ(Next().kind, Kind::kWait) << "it has more time now";
  Pass(1, {1, 2, 3});
  EXPECT_EQ(Next().kind, Kind::kGiveUp);
}

TEST_F(MoveDecisionTest, ADeadTargetEndsTheMove) {
  ToFence(1, 2);
  nodes_.OnEnded(2);
  EXPECT_EQ(Next().kind, Kind::kGiveUp);
  EXPECT_THAT(Next().why, HasSubstr("server-2 (node 2) does not answer"));
  Step();
  EXPECT_EQ(Next().kind, Kind::kEnd);
}

TEST_F(MoveDecisionTest, ATargetThatIsDrainedBeforeItHasACopyEndsTheMove) {
  Begin(2, 1);
  Start(1, 2);
  Do(DrainNode{.node = 2});
  EXPECT_EQ(Next().kind, Kind::kEnd);
}

// The primary must have said that it waits for the target no less than the scheduler believes.
TEST_F(MoveDecisionTest, ATargetOfWhichThePrimarySaysThatItFailedTakesNothingOver) {
  ToFence(1, 2);
  Fenced(2);
  Line(1, 0).backups.back().failed = "it holds another delta";
  Beat(1);
  EXPECT_EQ(Next().kind, Kind::kWait);
}

TEST_F(MoveDecisionTest, ABackupStaysWhereAnotherOneGotLost) {
  Begin(2, 2);
  Lsns(1, 7, 7);
  Follow(2);
  Start(2, 3);
  Step();
  Take(3);
  ASSERT_EQ(Next().kind, Kind::kLeave);
  Do(SetCopies{.copies = 3, .min_copies = 3});
  EXPECT_EQ(Next().kind, Kind::kEnd);
}

// It may not have heard yet of who took over from it, and take a later epoch for a change of copies.
TEST_F(MoveDecisionTest, AnOldPrimaryIsNotPromotedBeforeItSaysThatItLeadsNoMore) {
  Begin(2, 2);
  Lsns(1, 7, 7);
  Follow(2);
  Line(1, 0).backups.back().caught_up = true;
  Beat(1);
  Start(1, 2);
  Step();
  Fenced(2);
  Step();
  ASSERT_EQ(Shard().node, 2u);
  Serve(2);
  nodes_.OnEnded(2);
  BeatTwice({1, 3});
  EXPECT_EQ(Change().node, 0u) << "it still says that it serves its old epoch";
  Line(1, 0).epoch = 0;
  BeatTwice({1, 3});
  EXPECT_EQ(Change().node, 1u);
}

TEST_F(MoveDecisionTest, ADeadTargetBeforeTheFenceEndsTheMoveWithoutAnEpoch) {
  Begin(2, 1);
  Start(1, 2);
  nodes_.OnEnded(2);
  EXPECT_EQ(Next().kind, Kind::kEnd);
  const Epoch epoch = Shard().epoch;
  Step();
  EXPECT_EQ(Shard().move, MoveRecord{});
  EXPECT_EQ(Shard().epoch, epoch);
}

TEST_F(MoveDecisionTest, APrimaryThatRestartsWhileFencedIsLostAsAnyOther) {
  ToFence(1, 2);
  Fenced(2);
  Restart(1);
  EXPECT_EQ(Shard().granted_session == state_.FindNode(1)->session, false);
  BeatTwice({2});
  Step();
  EXPECT_EQ(Shard().node, 2u);
  EXPECT_EQ(Shard().move, MoveRecord{});
}

TEST_F(MoveDecisionTest, TwoCopiesStayTwoWhileThePrimaryMoves) {
  Begin(2, 2);
  Lsns(1, 7, 7);
  Follow(2);
  Start(1, 3);
  EXPECT_TRUE(Shard().move.adds);
  Step();
  Take(3);
  ASSERT_EQ(CountInSync(Shard()), 3u);
  Step();
  Fenced(3);
  Step();
  EXPECT_EQ(Shard().node, 3u);
  ASSERT_EQ(Shard().backups.size(), 1u);
  EXPECT_EQ(Shard().backups[0].node, 2u);
}

// Of an earlier move, which did not end.
TEST_F(MoveDecisionTest, ABackupTooManyDoesNotTakeThePlaceOfTheTarget) {
  Begin(2, 1);
  Lsns(1, 7, 7);
  Follow(3);
  Start(1, 2);
  for (int i = 0; i < 3 && FindCopy(Shard().backups, 2) == nullptr; ++i) {
    Step();
    if (Shard().confirmed < Shard().epoch) Confirm();
  }
  EXPECT_EQ(FindCopy(Shard().backups, 3), nullptr);
  const CopyRecord* target = FindCopy(Shard().backups, 2);
  ASSERT_NE(target, nullptr);
  Take(2);
  EXPECT_EQ(Next().kind, Kind::kFence);
}

TEST_F(MoveDecisionTest, ADrainedServersCopiesGoToOthersAndNoneCome) {
  Begin(2, 1);
  Lsns(1, 7, 7);
  Confirm();
  Do(DrainNode{.node = 1});
  Do(DrainNode{.node = 2});
  Balance();
  EXPECT_EQ(Shard().move.from, 1u);
  EXPECT_EQ(Shard().move.to, 3u);
  EXPECT_THAT(Shard().move.reason, "server-1 is being drained");
  Do(DrainNode{.node = 1, .drained = false});
  EXPECT_EQ(Next().kind, Kind::kEnd) << "as long as it is";
  Do(DrainNode{.node = 1});
  Step();
  Take(3);
  Step();
  Fenced(3);
  Step();
  EXPECT_EQ(Shard().node, 3u);
  Serve(3);
  Step();
  Balance();
  EXPECT_EQ(Shard().move, MoveRecord{}) << "it stays there";
}

TEST_F(MoveDecisionTest, WithoutAnotherServerABackupLeadsAndTheDrainSaysWhyItStays) {
  Begin(2, 3);
  Lsns(1, 7, 7);
  Follow(2);
  Follow(3);
  for (BackupLine& backup : Line(1, 0).backups) backup.caught_up = true;
  Beat(1);
  Do(DrainNode{.node = 1});
  EXPECT_EQ(WhyNotDrained(Health(), 0), "no other server is there to take its copy");
  Balance();
  EXPECT_EQ(Shard().move.from, 1u);
  EXPECT_FALSE(Shard().move.adds);
  const NodeId to = Shard().move.to;
  Step();
  Fenced(to);
  Step();
  EXPECT_EQ(Shard().node, to);
  Serve(to);
  Step();
  Step();
  Balance();
  EXPECT_EQ(Shard().move, MoveRecord{}) << "nothing better is there";
}

TEST_F(MoveDecisionTest, AMoveOfWhichNothingArrivesEndsAfterAMinute) {
  Begin(2, 1);
  Lsns(1, 7, 7);
  Beat(1);
  Do(StartMoves{{{.shard = 0, .from = 1, .to = 2, .at_ms = kWallMs + now_, .reason = "a test"}}});
  Step();
  ASSERT_NE(FindCopy(Shard().backups, 2), nullptr);
  Pass(kArrivesMs, {1, 2, 3});
  EXPECT_EQ(Next().kind, Kind::kNone);
  Pass(1, {1, 2, 3});
  EXPECT_EQ(Next().kind, Kind::kEnd);
  EXPECT_THAT(
      Next().why,
      HasSubstr("nothing has come to server-2 (node 2) within 60 s: can server-1 (node 1) reach it at h:1?"));
  Line(2, 0) = {.shard = 0, .incarnation = FindCopy(Shard().backups, 2)->incarnation, .rows = 1};
  Beat(2);
  EXPECT_EQ(Next().kind, Kind::kNone) << "it takes its time";
}

TEST_F(MoveDecisionTest, WhatCannotMoveIsRefused) {
  Begin(2, 2);
  Follow(2);
  const auto check = [&](NodeId from, NodeId to) {
    return state_.Check(StartMoves{{{.shard = 0, .from = from, .to = to}}}).ok();
  };
  EXPECT_TRUE(check(1, 2));
  EXPECT_TRUE(check(1, 3));
  EXPECT_TRUE(check(2, 3));
  EXPECT_FALSE(check(2, 1)) << "it is the primary's";
  EXPECT_FALSE(check(3, 2)) << "it has no copy";
  EXPECT_FALSE(check(1, 9)) << "no server";
  Start(1, 3);
  EXPECT_FALSE(check(1, 2)) << "it moves already";
  EXPECT_FALSE(state_.Check(FenceShards{{{.shard = 0, .epoch = 99}}}).ok()) << "nothing is there yet";
}

// Two copies on two servers: there is nobody to take the one of a server that is to end, but somebody to
// lead.
TEST_F(MoveDecisionTest, AServerMayLeaveWhenNobodyCouldTakeWhatItHolds) {
  Begin(2, 2);
  for (NodeId node : {3u}) Do(RemoveNode{.node = node});
  for (ShardId shard : {0u, 1u}) Follow(2, shard);
  nodes_.SetWords(1, {.leaving = true});
  EXPECT_TRUE(Health().Drained(1));
  EXPECT_FALSE(MayLeave(Health(), 1)) << "server-2 can lead";
  nodes_.SetWords(2, {.leaving = true});
  EXPECT_TRUE(MayLeave(Health(), 1)) << "both are to end";
  nodes_.SetWords(2, {});
  nodes_.SetWords(1, {});
  nodes_.SetWords(2, {.leaving = true});
  EXPECT_TRUE(MayLeave(Health(), 2)) << "it leads nothing, and server-1 has a copy already";
}

// After a restart of the scheduler nothing is known of who leaves before its first heartbeat.
TEST_F(MoveDecisionTest, AMoveOfAServerThatLeavesOutlivesARegister) {
  Begin(2, 1);
  nodes_.SetWords(1, {.leaving = true});
  Do(StartMoves{
      {{.shard = 0, .from = 1, .to = 2, .drains = true, .at_ms = kWallMs + now_, .reason = "a test"}}});
  nodes_.OnRegister(1, Lines(1), now_);
  EXPECT_TRUE(Decide().end.moves.empty());
  Beat(1);
  EXPECT_EQ(Decide().end.moves.size(), 1u) << "it leaves no more";
}

}  // namespace
}  // namespace penstock
