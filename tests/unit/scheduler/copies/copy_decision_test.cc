// What copies become: each step by itself, on states that are put together by hand.
#include "scheduler/copies/copy_decision.h"

#include <gmock/gmock.h>

#include "tests/unit/scheduler/copies/copy_fixture.h"

namespace penstock {
namespace {

using ::testing::HasSubstr;

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

TEST_F(CopyDecisionTest, AddsOnAnotherHostAndInAnotherZoneWhereThereIsOne) {
  Label(1, "rack-1-a", "east");
  Label(2, "rack-1-a", "west");
  Label(3, "rack-1-b", "east");
  Begin(2);
  const auto added_with = [&](const std::string& host_2, const std::string& zone_2, const std::string& host_3,
                              const std::string& zone_3) {
    Label(2, host_2, zone_2);
    Label(3, host_3, zone_3);
    RestartAll({2, 3});
    return AddedOn();
  };
  EXPECT_EQ(AddedOn(), 3u) << "another host comes before another zone";
  EXPECT_EQ(added_with("rack-1-a", "east", "rack-1-b", "west"), 3u);
  EXPECT_EQ(added_with("rack-1-c", "west", "rack-1-b", "east"), 2u) << "another host in another zone";
  EXPECT_EQ(added_with("rack-1-a", "east", "rack-1-a", "east"), 2u) << "near is better than none";
  EXPECT_EQ(added_with("rack-1-a", "east", "", ""), 3u) << "without a label it shares nothing";
}

TEST_F(CopyDecisionTest, OnePrimaryAloneDecidesNothing) {
  Begin(4, 1);
  const auto decision = Decide();
  EXPECT_TRUE(decision.add.copies.empty());
  EXPECT_TRUE(decision.confirm.confirmations.empty()) << "no journal entries for clusters with one copy";
}

TEST_F(CopyDecisionTest, ANodeReceivesSoManyCopiesAtATime) {
  Begin(32, 2);
  Pass(3500, {1, 2});
  EXPECT_EQ(Decide().add.copies.size(), CopyOptions{}.max_seeding);
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

// Units of the present epoch were told its first lsn, though no delta has it yet; and whoever had reported
// the lsns before it may be gone.
TEST_F(CopyDecisionTest, LsnsOfALaterEpochNeverBeginBelowThoseOfTheOneBefore) {
  Begin();
  Seed(2);
  Confirm();
  Lsns(2, 49, 49);
  Line(1, 0).backups[0].caught_up = true;
  BeatTwice({1, 2});
  Step();
  ASSERT_EQ(Shard().min_lsn, 50u);
  Confirm();
  lines_[2].erase(0);
  Beat(2);
  EXPECT_EQ(Health().NextLsn(0), 50u);
  EXPECT_EQ(NextGrant(0, Shard()).min_lsn, 50u);
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
