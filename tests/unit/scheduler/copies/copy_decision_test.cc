// What copies become: each step by itself, on states that are put together by hand.
#include "scheduler/copies/copy_decision.h"

#include <gmock/gmock.h>

namespace penstock {
namespace {

using ::testing::HasSubstr;

// Servers 1 to 3; all shards have their primary on 1.
class CopyDecisionTest : public ::testing::Test {
 protected:
  void Begin(uint32_t shards = 2, uint32_t copies = 2) {
    Do(BeginTerm{.term = 1, .cluster = 7, .shards = shards, .copies = copies, .min_copies = 1});
    for (NodeId node : {1u, 2u, 3u}) Restart(node);
    PlaceShards place;
    for (ShardId id = 0; id < shards; ++id) {
      place.placements.push_back({.shard = id, .node = 1, .incarnation = id + 1});
      Line(1, id) = {.shard = id, .incarnation = id + 1, .epoch = 1, .complete = true};
    }
    Do(place);
    for (NodeId node : {1u, 2u, 3u}) Beat(node);
  }

  void Do(const Command& command) {
    const Status status = state_.Apply(command);
    ASSERT_TRUE(status.ok()) << status.ToString();
  }
  // A new session, with the lines that it has.
  void Restart(NodeId node) {
    Do(RegisterNode{.node = {.id = node,
                             .name = "server-" + std::to_string(node),
                             .endpoints = {"h:1"},
                             .session = state_.data().last_session + 1}});
    for (auto& [id, line] : lines_[node]) line.epoch = 0, line.backups.clear();
    nodes_.OnRegister(node, Lines(node), now_);
  }
  // What was lost at once, and is heard again: nobody's word is from before.
  void RestartAll(const std::vector<NodeId>& nodes) {
    for (NodeId node : nodes) Restart(node);
    BeatTwice(nodes);
  }
  void BeatTwice(const std::vector<NodeId>& nodes) {
    for (int i = 0; i < 2; ++i) {
      for (NodeId node : nodes) Beat(node);
    }
  }
  void Beat(NodeId node) { nodes_.OnHeartbeat(node, false, Lines(node), now_); }
  void Pass(int64_t ms, const std::vector<NodeId>& alive) {
    now_ += ms;
    for (NodeId node : alive) Beat(node);
  }
  ShardLine& Line(NodeId node, ShardId shard) { return lines_[node][shard]; }
  std::vector<ShardLine> Lines(NodeId node) {
    std::vector<ShardLine> lines;
    for (const auto& [id, line] : lines_[node]) lines.push_back(line);
    return lines;
  }

  // A seeding copy of shard 0 that reports.
  void Seed(NodeId node, ShardId shard = 0) {
    const Incarnation incarnation = state_.data().last_incarnation + 1;
    Do(AddCopies{{{.shard = shard, .node = node, .incarnation = incarnation}}});
    Line(node, shard) = {.shard = shard, .incarnation = incarnation, .complete = true};
    Line(1, shard).backups.push_back({.node = node, .incarnation = incarnation});
    Beat(node);
  }
  void Enter(NodeId node, ShardId shard = 0) {
    auto backups = Shard(shard).backups;
    const Epoch epoch = Shard(shard).epoch + 1;
    for (auto& copy : backups) {
      if (copy.node == node) copy.in_sync = true, copy.since = epoch;
    }
    Do(ChangeCopies{{{.shard = shard,
                      .epoch = epoch,
                      .min_lsn = Shard(shard).highest + 1,
                      .node = 1,
                      .incarnation = Shard(shard).incarnation,
                      .backups = backups}}});
  }
  void Confirm(ShardId shard = 0) {
    Do(ConfirmEpochs{{{.shard = shard, .epoch = Shard(shard).epoch}}});
    Line(1, shard).epoch = Line(1, shard).seen = Shard(shard).epoch;
    Beat(1);
  }
  // An in-sync backup that could be promoted.
  void Follow(NodeId node, ShardId shard = 0) {
    Seed(node, shard);
    Enter(node, shard);
    Confirm(shard);
  }
  void Lsns(NodeId node, Lsn applied, Lsn logged, ShardId shard = 0) {
    Line(node, shard).applied = applied;
    Line(node, shard).logged = logged;
  }

  CopyDecision Decide() { return DecideCopies(state_, nodes_, now_, CopyOptions{}); }
  void Step() {
    const auto decision = Decide();
    Do(decision.confirm);
    Do(decision.change);
    Do(decision.drop);
    Do(decision.add);
    Do(decision.quarantine);
  }
  // Shard 0's change; an empty one when there is none.
  ChangeCopies::Change Change() {
    const auto decision = Decide();
    for (const auto& change : decision.change.changes) {
      if (change.shard != 0) continue;
      EXPECT_TRUE(state_.Check(decision.change).ok()) << state_.Check(decision.change).ToString();
      return change;
    }
    return {};
  }
  // Shard 0's epoch.
  static bool Confirms(const CopyDecision& decision) {
    const auto& all = decision.confirm.confirmations;
    return std::any_of(all.begin(), all.end(), [](const auto& c) { return c.shard == 0; });
  }
  const ShardRecord& Shard(ShardId id = 0) const { return state_.data().shards[id]; }
  CopyHealth Health() const { return CopyHealth(state_, nodes_, now_); }

  ClusterState state_;
  NodeTable nodes_{{}, 0};
  int64_t now_ = 1000;
  std::map<NodeId, std::map<ShardId, ShardLine>> lines_;
};

TEST_F(CopyDecisionTest, AddsWhereTheFewestCopiesAre) {
  Begin(4, 2);
  const auto decision = Decide();
  ASSERT_EQ(decision.add.copies.size(), 4u);
  std::map<NodeId, int> counts;
  for (const auto& copy : decision.add.copies) ++counts[copy.node];
  EXPECT_EQ(counts[2], 2);
  EXPECT_EQ(counts[3], 2);
  EXPECT_TRUE(decision.change.changes.empty()) << "nobody waits for a copy that is being seeded";
  Do(decision.add);
  EXPECT_TRUE(Decide().add.copies.empty());
}

TEST_F(CopyDecisionTest, OnePrimaryAloneDecidesNothing) {
  Begin(4, 1);
  const auto decision = Decide();
  EXPECT_TRUE(decision.add.copies.empty());
  EXPECT_TRUE(decision.confirm.confirmations.empty()) << "no journal entries for clusters with one copy";
}

TEST_F(CopyDecisionTest, ANodeReceivesEightCopiesAtATime) {
  Begin(16, 2);
  Pass(3500, {1, 2});
  EXPECT_EQ(Decide().add.copies.size(), 8u);
}

TEST_F(CopyDecisionTest, AddsOnlyOnLivingServersAndOnlyWhatIsServed) {
  Begin();
  Line(1, 1).epoch = 0;
  Pass(2000, {1});
  EXPECT_TRUE(Decide().add.copies.empty()) << "the others are suspect";
  Beat(3);
  const auto decision = Decide();
  ASSERT_EQ(decision.add.copies.size(), 1u);
  EXPECT_EQ(decision.add.copies[0].shard, 0u);
  EXPECT_EQ(decision.add.copies[0].node, 3u);
}

TEST_F(CopyDecisionTest, WhoHasCaughtUpEntersWithANewEpoch) {
  Begin();
  Seed(2);
  Confirm();
  EXPECT_EQ(Change().shard + Change().epoch, 0u) << "not yet";
  Line(1, 0).backups[0].caught_up = true;
  Lsns(1, 50, 40);
  Beat(1);
  const auto change = Change();
  EXPECT_EQ(change.epoch, 2u);
  EXPECT_EQ(change.min_lsn, 51u);
  EXPECT_EQ(change.node, 1u);
  ASSERT_EQ(change.backups.size(), 1u);
  EXPECT_TRUE(change.backups[0].in_sync);
  EXPECT_EQ(change.backups[0].since, 2u);
}

TEST_F(CopyDecisionTest, NothingEntersBeforeTheLastChangeIsConfirmed) {
  Begin(2, 3);
  Seed(2);
  Seed(3);
  Enter(2);
  Line(1, 0).backups[1].caught_up = true;
  Beat(1);
  EXPECT_EQ(Change().epoch, 0u) << "epoch 2 is not served";
  Line(1, 0).epoch = 2;
  Beat(1);
  auto decision = Decide();
  ASSERT_TRUE(Confirms(decision));
  EXPECT_TRUE(decision.change.changes.empty());
  Do(decision.confirm);
  EXPECT_EQ(Change().epoch, 3u);
}

TEST_F(CopyDecisionTest, AnEpochIsNotConfirmedWhileItsCopiesHaveLessThanWasAnswered) {
  Begin();
  Seed(2);
  Do(RecordLsns{{{.shard = 0, .applied = 100, .logged = 100, .synced = 0}}});
  Enter(2);
  Line(1, 0).epoch = 2;
  Lsns(1, 100, 99);
  Beat(1);
  EXPECT_FALSE(Confirms(Decide()));
  Lsns(1, 100, 100);
  Beat(1);
  EXPECT_TRUE(Confirms(Decide()));
}

enum class Harm { kDead, kRestarted, kDamaged, kFailed };

class BrokenBackupTest : public CopyDecisionTest, public ::testing::WithParamInterface<Harm> {
 protected:
  void Break() {
    switch (GetParam()) {
      case Harm::kDead:
        return Pass(3500, {1, 3});
      case Harm::kRestarted:
        Restart(2);
        EXPECT_EQ(Change().epoch, 0u) << "the primary may have lost power, too";
        EXPECT_EQ(Decide().signs_wanted, 1u);
        return Beat(1);
      case Harm::kDamaged:
        Line(2, 0).damage = "a scratch";
        return Beat(2);
      case Harm::kFailed:
        Line(1, 0).backups[0].failed = "its deltas do not follow";
        return Beat(1);
    }
  }
};

TEST_P(BrokenBackupTest, LeavesAtOnce) {
  Begin();
  Follow(2);
  EXPECT_EQ(Change().epoch, 0u);
  Break();
  const auto change = Change();
  EXPECT_EQ(change.epoch, 3u);
  EXPECT_EQ(change.node, 1u);
  EXPECT_TRUE(change.backups.empty());
}

TEST_P(BrokenBackupTest, LeavesAlsoWhileThePresentEpochIsNotServed) {
  Begin();
  Follow(2);
  Line(1, 0).epoch = Line(1, 0).seen = 1;
  Beat(1);
  Break();
  // What the primary says of a backup in another epoch is old.
  EXPECT_EQ(Change().epoch, GetParam() == Harm::kFailed ? 0u : 3u);
}

INSTANTIATE_TEST_SUITE_P(Harms, BrokenBackupTest,
                         ::testing::Values(Harm::kDead, Harm::kRestarted, Harm::kDamaged, Harm::kFailed));

// A primary reports an epoch as served when the copies of that have what was answered, which one that has
// failed never will.
TEST_F(CopyDecisionTest, ACopyThatFailsLeavesThoughItsEpochIsNotServedYet) {
  Begin();
  Seed(2);
  Enter(2);
  Line(1, 0).epoch = 1;
  Line(1, 0).seen = 2;
  Beat(1);
  EXPECT_EQ(Change().epoch, 0u);
  Line(1, 0).backups[0].failed = "it holds delta 5, which is not among the latest";
  Beat(1);
  const auto change = Change();
  EXPECT_EQ(change.epoch, 3u);
  EXPECT_EQ(change.node, 1u);
  EXPECT_TRUE(change.backups.empty());
}

TEST_F(CopyDecisionTest, AllChangesOfAShardAreOne) {
  Begin(2, 3);
  Follow(2);
  Seed(3);
  Line(1, 0).backups[1].caught_up = true;
  Beat(1);
  Restart(2);
  Beat(1);
  const auto change = Change();
  EXPECT_EQ(change.epoch, 3u);
  ASSERT_EQ(change.backups.size(), 1u);
  EXPECT_EQ(change.backups[0].node, 3u);
  EXPECT_TRUE(change.backups[0].in_sync);
}

TEST_F(CopyDecisionTest, ABrokenSeedIsDroppedWithoutAnEpochAndAddedAnew) {
  Begin();
  Seed(2);
  const Incarnation before = Shard().backups[0].incarnation;
  Confirm();
  Line(1, 0).backups[0].failed = "no room";
  Beat(1);
  auto decision = Decide();
  EXPECT_TRUE(decision.change.changes.empty());
  ASSERT_EQ(decision.drop.copies.size(), 1u);
  for (const auto& copy : decision.add.copies) EXPECT_NE(copy.shard, 0u) << "it leaves first";
  Do(decision.drop);
  decision = Decide();
  ASSERT_GE(decision.add.copies.size(), 1u);
  EXPECT_GT(decision.add.copies[0].incarnation, before);
}

TEST_F(CopyDecisionTest, TheSurplusLeavesSeedsFirst) {
  Begin(2, 3);
  Follow(2);
  Seed(3);
  Do(SetCopies{.copies = 2, .min_copies = 1});
  auto decision = Decide();
  EXPECT_TRUE(decision.change.changes.empty());
  ASSERT_EQ(decision.drop.copies.size(), 1u);
  EXPECT_EQ(decision.drop.copies[0].node, 3u);
  Do(decision.drop);
  Do(SetCopies{.copies = 1, .min_copies = 1});
  EXPECT_TRUE(Change().backups.empty());
  EXPECT_EQ(Change().epoch, 3u);
}

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

TEST_F(CopyDecisionTest, WhyFewCopiesSaysWhatIsMissing) {
  Begin();
  EXPECT_THAT(WhyFewCopies(Health(), 0), HasSubstr("waiting for a server"));
  Seed(2);
  EXPECT_THAT(WhyFewCopies(Health(), 0), HasSubstr("server-2 (node 2) is being seeded"));
  Line(1, 0).backups[0].failed = "no room";
  Beat(1);
  EXPECT_THAT(WhyFewCopies(Health(), 0), HasSubstr("no room"));
  Pass(3500, {1});
  EXPECT_THAT(WhyFewCopies(Health(), 1), HasSubstr("no other server"));
}

TEST_F(CopyDecisionTest, CommandsThatBreakTheRulesAreRefused) {
  Begin(2, 3);
  Follow(2);
  const CopyRecord good = Shard().backups[0];
  CopyRecord stranger = good, other = good, rewritten = good;
  stranger.node = 3;
  other.incarnation += 1;
  rewritten.since = 1;
  const auto change = [&](Epoch epoch, NodeId node, std::vector<CopyRecord> backups) {
    return ChangeCopies{{{.shard = 0,
                          .epoch = epoch,
                          .min_lsn = 1000,
                          .node = node,
                          .incarnation = node == 1 ? Shard().incarnation : good.incarnation,
                          .backups = std::move(backups)}}};
  };
  EXPECT_TRUE(state_.Check(change(3, 1, {good})).ok());
  const std::vector<Command> refused = {
      change(2, 1, {good}),
      change(3, 3, {}),
      change(3, 1, {stranger}),
      change(3, 1, {other}),
      change(3, 1, {rewritten}),
      change(3, 1, {good, good}),
      change(3, 2, {good}),
      AddCopies{{{.shard = 0, .node = 2, .incarnation = 100}}},
      AddCopies{{{.shard = 0, .node = 9, .incarnation = 100}}},
      AddCopies{{{.shard = 0, .node = 3, .incarnation = 1}}},
      DropCopies{{{.shard = 0, .node = 2}}},
      DropCopies{{{.shard = 0, .node = 3}}},
      ConfirmEpochs{{{.shard = 0, .epoch = 2}}},
      ConfirmEpochs{{{.shard = 0, .epoch = 3}}},
      SetCopies{.copies = 4, .min_copies = 1},
      SetCopies{.copies = 1, .min_copies = 2},
      SetCopies{.copies = 1, .min_copies = 0},
  };
  const std::string before = state_.ToJson().dump();
  for (const auto& command : refused) {
    EXPECT_FALSE(state_.Apply(command).ok()) << CommandToJson(command).dump();
    EXPECT_EQ(state_.ToJson().dump(), before);
  }
}

}  // namespace
}  // namespace penstock
