// Who leads a shard whose primary is lost, on states that are put together by hand.
#include "scheduler/copies/copy_election.h"

#include <gmock/gmock.h>

#include "tests/unit/scheduler/copies/copy_fixture.h"

namespace penstock {
namespace {

using ::testing::HasSubstr;

TEST_F(CopyDecisionTest, TheOneWithTheMostLoggedIsPromoted) {
  Begin(2, 3);
  Follow(2);
  Follow(3);
  Lsns(1, 130, 100);
  Lsns(2, 125, 105);
  Lsns(3, 120, 110);
  Line(3, 0).seen = 9;
  for (NodeId node : {1u, 2u, 3u}) Beat(node);
  Pass(3500, {2, 3});
  const auto change = Change();
  EXPECT_EQ(change.node, 3u);
  EXPECT_EQ(change.incarnation, Line(3, 0).incarnation);
  EXPECT_EQ(change.epoch, 10u) << "above any that was seen";
  EXPECT_EQ(change.min_lsn, 131u) << "above what the lost primary has said";
  ASSERT_EQ(change.backups.size(), 1u);
  EXPECT_EQ(change.backups[0], Shard().backups[0]) << "the other one stays as it is";
  Step();
  EXPECT_EQ(Shard().node, 3u);
  EXPECT_EQ(Shard().granted_session, state_.FindNode(3)->session);
}

TEST_F(CopyDecisionTest, TiesGoByAppliedThenByFewestPrimaries) {
  Begin(2, 3);
  for (ShardId id : {0u, 1u}) {
    Follow(2, id);
    Follow(3, id);
    for (NodeId node : {2u, 3u}) Lsns(node, 10, 10, id);
  }
  Pass(3500, {2, 3});
  auto decision = Decide();
  ASSERT_EQ(decision.change.changes.size(), 2u);
  EXPECT_NE(decision.change.changes[0].node, decision.change.changes[1].node);
  Lsns(3, 11, 10, 0);
  Lsns(3, 11, 10, 1);
  Beat(3);
  decision = Decide();
  EXPECT_EQ(decision.change.changes[0].node, 3u);
  EXPECT_EQ(decision.change.changes[1].node, 3u);
}

TEST_F(CopyDecisionTest, AnUnconfirmedMemberIsNeverPromoted) {
  Begin();
  Seed(2);
  Enter(2);
  Pass(3500, {2, 3});
  const auto decision = Decide();
  EXPECT_TRUE(decision.change.changes.empty());
  EXPECT_EQ(decision.signs_wanted, 0u);
  EXPECT_FALSE(
      state_
          .Check(ChangeCopies{
              {{.shard = 0, .epoch = 9, .min_lsn = 9, .node = 2, .incarnation = Line(2, 0).incarnation}}})
          .ok());
}

TEST_F(CopyDecisionTest, WhoLeftIsNotPromotedEvenWhenNobodyHasConfirmedThat) {
  Begin();
  Follow(2);
  Restart(2);
  Beat(1);
  Step();
  EXPECT_TRUE(Shard().backups.empty());
  Pass(3500, {2, 3});
  EXPECT_TRUE(Decide().change.changes.empty());
}

TEST_F(CopyDecisionTest, AnUnconfirmedMemberStaysWithTheNewPrimary) {
  Begin(2, 3);
  Follow(2);
  Seed(3);
  Enter(3);
  Pass(3500, {2, 3});
  const auto change = Change();
  EXPECT_EQ(change.node, 2u);
  ASSERT_EQ(change.backups.size(), 1u);
  EXPECT_EQ(change.backups[0].since, 3u) << "promotable when the new primary serves an epoch with it";
}

TEST_F(CopyDecisionTest, DamageAtThePrimaryPromotes) {
  Begin();
  Follow(2);
  Line(1, 0).damage = "a hole";
  Beat(1);
  EXPECT_EQ(Change().node, 2u);
}

TEST_F(CopyDecisionTest, ARestartPromotesWhoIsHeardAfterIt) {
  Begin();
  Follow(2);
  Restart(1);
  EXPECT_EQ(Change().epoch, 0u) << "server 2 may have lost power, too, and is not heard since";
  EXPECT_EQ(Decide().signs_wanted, 1u);
  Beat(2);
  EXPECT_EQ(Change().node, 2u);
}

TEST_F(CopyDecisionTest, ASuspectIsNotPromoted) {
  Begin();
  Follow(2);
  now_ += 3500;
  nodes_.OnHeartbeat(2, false, Lines(2), now_ - 2000);
  EXPECT_EQ(Change().epoch, 0u);
  Beat(2);
  EXPECT_EQ(Change().node, 2u);
}

TEST_F(CopyDecisionTest, WhenAllRestartedTheLongestLeadsOnceAllAreHeard) {
  Begin(2, 3);
  Follow(2);
  Follow(3);
  Do(RecordLsns{{{.shard = 0, .applied = 90, .logged = 80, .synced = 0}}});
  Lsns(1, 100, 95);
  Lsns(2, 110, 110);
  Lsns(3, 110, 110);
  Restart(1);
  Restart(2);
  EXPECT_TRUE(Decide().change.changes.empty());
  EXPECT_TRUE(Decide().quarantine.quarantines.empty());
  BeatTwice({1, 2});
  EXPECT_TRUE(Decide().change.changes.empty());
  EXPECT_THAT(WhyContested(Health(), 0), HasSubstr("waiting for server-3 (node 3)"));
  EXPECT_THAT(WhyContested(Health(), 0), HasSubstr("penstock shard force 0 NODE"));
  Restart(3);
  EXPECT_EQ(Change().epoch, 0u) << "servers 1 and 2 may have said so before";
  BeatTwice({1, 2, 3});
  const auto change = Change();
  EXPECT_EQ(change.node, 2u);
  EXPECT_EQ(change.min_lsn, 111u);
  ASSERT_EQ(change.backups.size(), 1u) << "server 1 holds something else";
  EXPECT_EQ(change.backups[0].node, 3u);
  EXPECT_EQ(change.backups[0].session, state_.FindNode(3)->session);
  Step();
  EXPECT_EQ(Shard().node, 2u);
}

TEST_F(CopyDecisionTest, ABackupThatComesFirstIsKeptForTheElection) {
  Begin();
  Follow(2);
  Do(RecordLsns{{{.shard = 0, .applied = 100, .logged = 100, .synced = 0}}});
  Lsns(1, 90, 90);
  Lsns(2, 100, 100);
  Restart(2);
  Pass(3500, {2, 3});
  EXPECT_EQ(Change().epoch, 0u);
  Restart(1);
  BeatTwice({1, 2});
  EXPECT_EQ(Change().node, 2u);
}

// Server 2 has led alone from lsn 100 on, and server 1 is back. Nobody has confirmed its epoch.
class UnconfirmedLeaderTest : public CopyDecisionTest {
 protected:
  void SetUp() override {
    Begin();
    Follow(2);
    Lsns(1, 101, 100);
    Lsns(2, 100, 100);
    Pass(3500, {2, 3});
    Step();
    ASSERT_EQ(Shard().node, 2u);
    ASSERT_TRUE(Shard().backups.empty());
    Restart(1);
  }
};

TEST_F(UnconfirmedLeaderTest, WhoWasLeftOutLeadsIfTheLeaderComesBackWithLess) {
  Lsns(2, 98, 98);
  Restart(2);
  EXPECT_EQ(Change().epoch, 0u) << "server 1 was not heard since";
  EXPECT_THAT(WhyContested(Health(), 0), HasSubstr("waiting for server-2 (node 2), server-1 (node 1)"));
  BeatTwice({1, 2});
  const auto change = Change();
  EXPECT_EQ(change.node, 1u);
  EXPECT_EQ(change.min_lsn, 102u);
  Step();
  ASSERT_EQ(Shard().former.size(), 1u);
  EXPECT_EQ(Shard().former[0].node, 2u) << "it was a member, and may be needed until this one confirms";
  Serve(1);
  Step();
  EXPECT_EQ(Shard().confirmed, Shard().epoch);
  EXPECT_TRUE(Shard().former.empty());
}

TEST_F(UnconfirmedLeaderTest, NoSeedErasesWhoWasLeftOut) {
  Do(SetCopies{.copies = 3, .min_copies = 1});
  Do(RecordLsns{{{.shard = 0, .applied = 100, .logged = 100, .synced = 0}}});
  Lsns(2, 100, 99);  // so it is not confirmed
  Serve(2);
  const auto added = Decide().add.copies;
  EXPECT_TRUE(std::ranges::any_of(added, [](const auto& c) { return c.shard == 0 && c.node == 3; }));
  EXPECT_TRUE(std::ranges::none_of(added, [](const auto& c) { return c.shard == 0 && c.node == 1; }));
}

TEST_F(UnconfirmedLeaderTest, NothingIsMissedBeforeAllWereHeardWhoMayHaveIt) {
  Do(RecordLsns{{{.shard = 0, .applied = 100, .logged = 99, .synced = 0}}});
  Lsns(2, 98, 98);
  Restart(2);
  EXPECT_TRUE(Decide().quarantine.quarantines.empty());
  BeatTwice({1, 2});
  EXPECT_TRUE(Decide().quarantine.quarantines.empty());
  EXPECT_EQ(Change().node, 1u);
}

// It would take the next epoch for a change of its copies, and answer for what was answered in between.
TEST_F(UnconfirmedLeaderTest, WhoWasLeftOutLeadsWhenItHasHeardThatItServesNoMore) {
  Lsns(2, 98, 98);
  Restart(2);
  Line(1, 0).epoch = Shard().confirmed;
  BeatTwice({1, 2});
  EXPECT_EQ(Change().epoch, 0u);
  Line(1, 0).epoch = 0;
  Beat(1);
  EXPECT_EQ(Change().node, 1u);
}

TEST_F(UnconfirmedLeaderTest, WhoHasTakenItsEpochWaitsForNobody) {
  Lsns(2, 103, 103);
  Line(2, 0).seen = Shard().epoch;
  const auto decision = DecideGrants(state_, 2, "server-2", Lines(2));
  ASSERT_EQ(decision.grants.size(), 1u);
  ASSERT_EQ(decision.lsns.size(), 1u);
  EXPECT_EQ(decision.lsns[0].logged, 103u) << "it has led alone: it owes what it has logged";
  Do(RegisterNode{
      .node = {.id = 2, .name = "server-2", .endpoints = {"h:1"}, .session = state_.data().last_session + 1},
      .lsns = decision.lsns,
      .grants = decision.grants});
  EXPECT_TRUE(Shard().former.empty());
}

TEST_F(UnconfirmedLeaderTest, WhoHasNotTakenItsEpochIsNotGrantedIt) {
  const auto decision = DecideGrants(state_, 2, "server-2", Lines(2));
  EXPECT_TRUE(decision.grants.empty());
  EXPECT_TRUE(decision.quarantines.empty());
}

// What it answered alone may be gone.
TEST_F(UnconfirmedLeaderTest, WhoWasLeftOutDoesNotLeadIfTheLeaderComesBackDamaged) {
  Line(2, 0).damage = "a hole";
  Restart(2);
  BeatTwice({1, 2});
  EXPECT_EQ(Change().epoch, 0u);
  ASSERT_EQ(Decide().quarantine.quarantines.size(), 1u);
  EXPECT_THAT(Decide().quarantine.quarantines[0].reason, HasSubstr("server-2 (node 2): a hole"));
  EXPECT_THAT(Decide().quarantine.quarantines[0].reason,
              HasSubstr("nobody is left who would know what was answered in epoch 3"));
  Step();
  Do(AcceptLoss{.shard = 0, .remaining = 101});
  EXPECT_EQ(Change().node, 1u);
}

// With three copies: server 3 has answered together with 2 in epoch 3, and was then left out as well. Server
// 1 had applied more than it could answer.
TEST_F(CopyDecisionTest, WhoHasTakenALaterEpochOutranksHigherLsns) {
  Begin(2, 3);
  Follow(2);
  Follow(3);
  Lsns(1, 200, 200);
  Lsns(2, 100, 100);
  Lsns(3, 100, 100);
  Pass(3500, {2, 3});
  Step();
  ASSERT_EQ(Shard().node, 2u);
  Lsns(2, 103, 103);
  Lsns(3, 103, 103);
  Line(3, 0).seen = Shard().epoch;
  Beat(3);
  Restart(3);
  Beat(2);
  Step();
  ASSERT_EQ(Shard().former.size(), 2u);
  Lsns(2, 99, 99);
  RestartAll({1, 2, 3});
  EXPECT_EQ(Change().node, 3u);
}

TEST_F(UnconfirmedLeaderTest, WhoWasLeftOutIsNoneOnceItsLeaderHasServed) {
  Do(RecordLsns{{{.shard = 0, .applied = Shard().min_lsn, .logged = Shard().min_lsn, .synced = 0}}});
  EXPECT_TRUE(Shard().former.empty());
  EXPECT_FALSE(ForceLeader(Health(), 0, 1).ok());
}

TEST_F(UnconfirmedLeaderTest, AnOperatorCanForceWhoWasLeftOut) {
  Pass(3500, {1, 3});
  EXPECT_EQ(Change().epoch, 0u) << "server 2 may have taken its epoch";
  const auto forced = ForceLeader(Health(), 0, 1);
  ASSERT_TRUE(forced.ok()) << forced.status().ToString();
  ASSERT_TRUE(forced->change.has_value());
  EXPECT_TRUE(state_.Check(ChangeCopies{{*forced->change}}).ok());
}

// As an older scheduler, which knew no former members, has journaled them.
TEST_F(UnconfirmedLeaderTest, CommandsThatForgetItAreTaken) {
  Do(AddCopies{{{.shard = 0, .node = 1, .incarnation = state_.data().last_incarnation + 1}}});
  EXPECT_TRUE(Shard().former.empty());
}

// The scheduler stood still, so that all registered again; their words have waited for it.
TEST_F(CopyDecisionTest, WhoHasLostSomethingDoesNotLeadForWhatOthersHadSaidBefore) {
  Begin();
  Follow(2);
  Lsns(1, 10, 10);
  Restart(1);
  Lsns(2, 11, 11);  // of 12, which both had when 12 was answered
  Restart(2);
  EXPECT_EQ(Change().epoch, 0u);
  Lsns(1, 12, 12);
  BeatTwice({2, 1});
  EXPECT_EQ(Change().node, 1u);
}

TEST_F(CopyDecisionTest, ASuspectPrimaryLosesNoBackups) {
  Begin();
  Follow(2);
  now_ += 3500;
  nodes_.OnHeartbeat(1, false, Lines(1), now_ - 2000);
  EXPECT_EQ(Change().epoch, 0u) << "both are silent";
  Beat(1);
  EXPECT_EQ(Change().epoch, 3u);
}

// It may have lost power meanwhile, and the silent one have more.
TEST_F(CopyDecisionTest, ABackupThatWasHeardBeforeItsPrimaryDiedIsNotPromoted) {
  Begin();
  Follow(2);
  Pass(2900, {2, 3});
  now_ += 200;
  EXPECT_EQ(Change().epoch, 0u);
  Beat(2);
  EXPECT_EQ(Change().node, 2u);
}

TEST_F(CopyDecisionTest, APrimaryThatWasHeardBeforeItsBackupDiedKeepsIt) {
  Begin();
  Follow(2);
  Pass(2900, {1, 3});
  now_ += 200;
  EXPECT_EQ(Change().epoch, 0u);
  Beat(1);
  EXPECT_EQ(Change().node, 1u);
}

TEST_F(CopyDecisionTest, WithoutAPrimaryThatHasEndedTheBackupLeadsWithItsNextSign) {
  Begin();
  Follow(2);
  Pass(100, {1, 2, 3});
  nodes_.OnEnded(1);
  EXPECT_EQ(Change().epoch, 0u) << "that sign is from before";
  Beat(2);
  EXPECT_EQ(Change().node, 2u);
}

TEST_F(CopyDecisionTest, WhoSeemsToHaveEndedAndBeatsGoesOn) {
  Begin();
  Follow(2);
  nodes_.OnEnded(1);
  Beat(1);
  Beat(2);
  EXPECT_EQ(nodes_.StateOf(1, now_), Liveness::kAlive);
  EXPECT_EQ(Change().epoch, 0u);
  nodes_.OnEnded(1);
  nodes_.OnSign(1, now_);
  EXPECT_EQ(nodes_.StateOf(1, now_), Liveness::kAlive);
}

TEST_F(CopyDecisionTest, WhoHasRestartedIsNotPromotedForAnEnd) {
  Begin();
  Follow(2);
  nodes_.OnEnded(1);
  Restart(2);
  BeatTwice({2});
  EXPECT_EQ(Change().epoch, 0u);
  nodes_.OnEnded(2);
  EXPECT_EQ(nodes_.StateOf(2, now_), Liveness::kDead);
  EXPECT_EQ(Change().epoch, 0u);
}

TEST_F(CopyDecisionTest, ABackupThatHasEndedLeavesWithThePrimarysNextSign) {
  Begin();
  Follow(2);
  nodes_.OnEnded(2);
  EXPECT_EQ(Change().epoch, 0u);
  Beat(1);
  EXPECT_EQ(Change().node, 1u);
  EXPECT_TRUE(Change().backups.empty());
}

TEST_F(CopyDecisionTest, OfEqualsThePrimaryLeads) {
  Begin();
  Follow(2);
  Lsns(1, 10, 10);
  Lsns(2, 10, 10);
  RestartAll({2, 1});
  EXPECT_EQ(Change().node, 1u);
  EXPECT_EQ(Change().backups.size(), 1u);
}

TEST_F(CopyDecisionTest, AllShorterThanReportedIsQuarantinedAndNamesWhoHoldsWhat) {
  Begin();
  Follow(2);
  Do(RecordLsns{{{.shard = 0, .applied = 100, .logged = 100, .synced = 0}}});
  Lsns(1, 90, 90);
  Lsns(2, 95, 95);
  Line(2, 0).damage = "segment 3 is damaged";
  RestartAll({2, 1});
  const auto decision = Decide();
  EXPECT_TRUE(decision.change.changes.empty());
  ASSERT_EQ(decision.quarantine.quarantines.size(), 1u);
  EXPECT_THAT(decision.quarantine.quarantines[0].reason, HasSubstr("server-1 (node 1) holds lsn 90"));
  EXPECT_THAT(decision.quarantine.quarantines[0].reason, HasSubstr("segment 3 is damaged"));
  EXPECT_THAT(decision.quarantine.quarantines[0].reason, HasSubstr("lsn 100 was reported as logged"));
  Step();
  EXPECT_TRUE(Decide().quarantine.quarantines.empty()) << "said once";
  Line(2, 0).damage.clear();
  Lsns(2, 100, 100);
  Restart(2);
  BeatTwice({1, 2});
  EXPECT_EQ(Change().node, 2u) << "its data came back";
}

TEST_F(CopyDecisionTest, AnIncompleteCopyCountsAsNothing) {
  Begin();
  Follow(2);
  Lsns(1, 10, 10);
  Lsns(2, 50, 50);
  Line(2, 0).complete = false;
  RestartAll({2, 1});
  EXPECT_EQ(Change().node, 1u);
  EXPECT_TRUE(Change().backups.empty());
}

TEST_F(CopyDecisionTest, ForceNeedsAMemberThatIsHeard) {
  Begin(2, 3);
  EXPECT_THAT(ForceLeader(Health(), 0, 1).status().message(), HasSubstr("has a primary that serves it"));
  Follow(2);
  Lsns(2, 10, 10);
  Pass(3500, {3});
  EXPECT_THAT(ForceLeader(Health(), 0, 3).status().message(), HasSubstr("no copy that was in sync"));
  EXPECT_THAT(ForceLeader(Health(), 0, 2).status().message(), HasSubstr("does not answer"));
  Restart(2);
  Beat(2);
  EXPECT_TRUE(Decide().change.changes.empty()) << "server 1 is waited for";
  auto election = ForceLeader(Health(), 0, 2);
  ASSERT_TRUE(election.ok()) << election.status().ToString();
  ASSERT_TRUE(election->change.has_value());
  EXPECT_EQ(election->change->node, 2u);
  EXPECT_TRUE(state_.Check(ChangeCopies{{*election->change}}).ok());
  Do(RecordLsns{{{.shard = 0, .applied = 20, .logged = 20, .synced = 0}}});
  election = ForceLeader(Health(), 0, 2);
  ASSERT_TRUE(election.ok());
  EXPECT_FALSE(election->change.has_value());
  EXPECT_THAT(election->quarantine->reason, HasSubstr("server-1 (node 1) was not heard"));
}

TEST_F(CopyDecisionTest, AnAcceptedLossWaitsForOneCopyOnly) {
  Begin();
  Follow(2);
  Do(RecordLsns{{{.shard = 0, .applied = 20, .logged = 20, .synced = 0}}});
  Lsns(2, 10, 10);
  Pass(3500, {3});
  Restart(2);
  Beat(2);
  Do(QuarantineShards{{{.shard = 0, .reason = "short"}}});
  Do(AcceptLoss{.shard = 0, .remaining = 10});
  EXPECT_THAT(ForceLeader(Health(), 0, 2).status().message(), HasSubstr("is heard and holds lsn 10"));
  EXPECT_EQ(Change().node, 2u);
  Step();
  EXPECT_FALSE(Shard().held);
}

}  // namespace
}  // namespace penstock
