// Several copies of each shard, as servers and operators meet them.
#include <gmock/gmock.h>

#include "tests/unit/scheduler/fake_cluster.h"

namespace penstock {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;

class ControlPlaneCopiesTest : public ::testing::Test {
 protected:
  // Two servers, each with four shards and the copies of the other's.
  void Up() {
    c.Up();
    c.Pass(1000, {&c.s1, &c.s2});
    ASSERT_EQ(c.plane->CountShortOfCopies(), 0u);
  }
  void Restart(FakeNode& node) {
    const Status status = c.Register(node);
    ASSERT_TRUE(status.ok()) << status.ToString();
  }
  const ShardRecord& Shard(ShardId id = 0) const { return c.plane->data().shards[id]; }
  nlohmann::json Inspect(const std::string& what, const std::string& name = "") {
    auto json = c.plane->Inspect(what, name, c.now);
    EXPECT_TRUE(json.ok()) << json.status().ToString();
    return json.ok() ? *json : nlohmann::json();
  }

  FakeCluster c{2};
};

TEST_F(ControlPlaneCopiesTest, ANewClusterGetsItsCopies) {
  c.Up();
  EXPECT_EQ(c.plane->CountShortOfCopies(), 8u);
  EXPECT_THAT(Inspect("status")["problems"].dump(),
              HasSubstr("8 of 8 shards have fewer in-sync copies than 2"));
  c.Pass(1000, {&c.s1, &c.s2});
  const auto status = Inspect("status");
  EXPECT_TRUE(status["problems"].empty()) << status["problems"].dump();
  EXPECT_EQ(status["copies"], nlohmann::json({{"wanted", 2}, {"min", 1}, {"complete", 8}}));
  EXPECT_EQ(status["nodes"][0]["backups"], 4);
  EXPECT_EQ(c.Entry(0).backups, std::vector<NodeId>{c.s2.id});
  EXPECT_EQ(c.Entry(7).backups, std::vector<NodeId>{c.s1.id});
  EXPECT_EQ(c.Entry(0).epoch, 2u);
  const NodeGrant& grant = c.s1.grants.at(0);
  EXPECT_EQ(grant.min_copies, 1u);
  ASSERT_EQ(grant.backups.size(), 1u);
  EXPECT_EQ(grant.backups[0].name, "server-2");
  EXPECT_EQ(grant.backups[0].endpoint, "server-2:1");
  EXPECT_TRUE(grant.backups[0].in_sync);
  EXPECT_TRUE(c.s2.followed.contains(0));
  const auto shard = Inspect("shard", "0");
  EXPECT_EQ(shard["in_sync"], 2);
  EXPECT_EQ(shard["backups"][0]["name"], "server-2");
  EXPECT_EQ(shard["backups"][0]["state"], "in-sync");
}

TEST_F(ControlPlaneCopiesTest, WhoIsLeftOutIsNotRemovedBeforeTheEpochIsConfirmed) {
  Up();
  for (int i = 0; i < 35; ++i) {  // server 2 hears that it is promoted, and does not say that it serves
    c.now.ms += 100;
    c.now.wall_ms += 100;
    if (Shard().node == c.s1.id) (void)c.Beat(c.s2);
    c.plane->Tick(c.now);
  }
  ASSERT_EQ(Shard().node, c.s2.id);
  ASSERT_LT(Shard().confirmed, Shard().epoch);
  const auto refused = c.plane->RemoveNode(c.s1.id, c.now);
  EXPECT_EQ(refused.code(), Code::kFailedPrecondition);
  EXPECT_THAT(refused.message(),
              HasSubstr("server-1 may be needed for shard 0 until server-2 serves epoch 3"));
  c.Pass(200, {&c.s2});
  EXPECT_TRUE(c.plane->RemoveNode(c.s1.id, c.now).ok());
}

TEST_F(ControlPlaneCopiesTest, TheCopiesOfTheJournalHold) {
  Up();
  c.options.copies = 1;
  c.Start();
  EXPECT_EQ(c.plane->data().copies, 2u);
  c.Pass(1000, {&c.s1, &c.s2});
  EXPECT_EQ(Shard().backups.size(), 1u);
  EXPECT_EQ(Shard().epoch, 2u) << "a restart of the scheduler changes nothing";
}

TEST_F(ControlPlaneCopiesTest, ADeadPrimarysBackupIsPromotedAndFollowedWhenItReturns) {
  Up();
  c.SetLsns(c.s1, 0, 120, 100, 50);
  c.SetLsns(c.s2, 0, 110, 105, 60);
  c.Pass(c.options.nodes.dead_ms + 400, {&c.s2});
  EXPECT_EQ(Shard().node, c.s2.id);
  EXPECT_EQ(c.Entry(0).state, ShardState::kServing);
  EXPECT_GT(c.min_lsns[0], 110u);
  EXPECT_EQ(c.plane->promotions(), 4u);
  EXPECT_EQ(c.plane->CountShards(ShardState::kServing), 8u);
  EXPECT_THAT(Inspect("status")["problems"].dump(), HasSubstr("no other server is there"));

  // It was only silent: what it served is not its own any more, and its copy begins anew.
  const Incarnation before = c.s1.lines[0].incarnation;
  ASSERT_TRUE(c.Beat(c.s1).ok());
  EXPECT_FALSE(c.s1.granted.contains(0));
  c.Pass(1000, {&c.s1, &c.s2});
  EXPECT_TRUE(c.s1.followed.contains(0));
  EXPECT_GT(c.s1.lines[0].incarnation, before);
  EXPECT_EQ(c.plane->CountShortOfCopies(), 0u);
}

TEST_F(ControlPlaneCopiesTest, ARestartedPrimarysBackupIsPromotedWithItsNextSign) {
  Up();
  const uint64_t sign = c.plane->Wanted(c.s2.id, c.s2.session, c.now)->wanted.sign;
  Restart(c.s1);
  EXPECT_EQ(c.Entry(0).state, ShardState::kUnavailable);
  EXPECT_THAT(c.Entry(0).detail, AllOf(HasSubstr("waiting for"), HasSubstr("server-2 (node 2)")));
  EXPECT_GT(c.plane->Wanted(c.s2.id, c.s2.session, c.now)->wanted.sign, sign) << "whoever is held asks again";
  ASSERT_TRUE(c.Beat(c.s2).ok());
  EXPECT_TRUE(c.s2.granted.contains(0)) << "in the answer to that sign";
  EXPECT_EQ(Shard().node, c.s2.id);
  c.Pass(1000, {&c.s1, &c.s2});
  EXPECT_EQ(c.plane->CountShards(ShardState::kServing), 8u);
  EXPECT_EQ(c.plane->CountShortOfCopies(), 0u);
}

TEST_F(ControlPlaneCopiesTest, AnEndedPrimarysBackupIsPromotedWithItsNextSign) {
  Up();
  const uint64_t sign = c.plane->Wanted(c.s2.id, c.s2.session, c.now)->wanted.sign;
  c.plane->NoteEnded(c.s1.id, c.now);
  EXPECT_EQ(c.Entry(0).state, ShardState::kUnavailable);
  EXPECT_GT(c.plane->Wanted(c.s2.id, c.s2.session, c.now)->wanted.sign, sign) << "whoever is held asks again";
  ASSERT_TRUE(c.Beat(c.s2).ok());
  EXPECT_TRUE(c.s2.granted.contains(0)) << "in the answer to that sign";
  EXPECT_EQ(Shard().node, c.s2.id);
  EXPECT_THAT(Inspect("status")["problems"].dump(), HasSubstr("server-1 is dead"));
}

TEST_F(ControlPlaneCopiesTest, AChangeOfCopiesInterruptsNothing) {
  Up();
  const Epoch before = Shard().epoch;
  for (int i = 0; i < 35; ++i) {
    c.Pass(100, {&c.s1});
    ASSERT_EQ(c.Entry(0).state, ShardState::kServing);
    ASSERT_EQ(c.Entry(0).endpoint, "server-1:1");
  }
  EXPECT_EQ(Shard().epoch, before + 1);
  EXPECT_TRUE(Shard().backups.empty());
  EXPECT_EQ(c.Entry(0).epoch, before + 1);
}

TEST_F(ControlPlaneCopiesTest, TheMapNamesTheEpochInWhichThePrimaryAnswers) {
  Up();
  const Epoch before = Shard().epoch;
  Restart(c.s2);
  EXPECT_EQ(Shard().epoch, before) << "server 1 may have restarted, too";
  ASSERT_TRUE(c.Beat(c.s1).ok());
  EXPECT_EQ(Shard().epoch, before + 1);
  EXPECT_EQ(c.Entry(0).state, ShardState::kServing);
  EXPECT_EQ(c.Entry(0).epoch, before) << "server 1 has not served the next one";
  c.Pass(200, {&c.s1});
  EXPECT_EQ(c.Entry(0).epoch, before + 1);
}

TEST_F(ControlPlaneCopiesTest, DamageAtThePrimaryIsNoQuarantineWhileABackupIsWell) {
  Up();
  c.s1.lines[0].damage = "the base is damaged";
  ASSERT_TRUE(c.Beat(c.s1).ok());
  EXPECT_TRUE(Shard().quarantine.empty());
  EXPECT_EQ(Shard().node, c.s2.id);
  EXPECT_FALSE(c.s1.granted.contains(0));
  EXPECT_TRUE(c.s1.granted.contains(1));
  c.Pass(1000, {&c.s1, &c.s2});
  EXPECT_EQ(c.plane->CountShortOfCopies(), 0u) << "the damaged copy was replaced";
}

TEST_F(ControlPlaneCopiesTest, AFailedBackupIsSeededAgain) {
  Up();
  const Incarnation before = Shard().backups[0].incarnation;
  c.s1.failed[0] = "its deltas do not follow";
  ASSERT_TRUE(c.Beat(c.s1).ok());
  c.s1.failed.clear();
  c.Pass(1000, {&c.s1, &c.s2});
  ASSERT_EQ(Shard().backups.size(), 1u);
  EXPECT_TRUE(Shard().backups[0].in_sync);
  EXPECT_GT(Shard().backups[0].incarnation, before);
}

TEST_F(ControlPlaneCopiesTest, WhenAllRestartTheLongestLeads) {
  Up();
  c.SetLsns(c.s1, 0, 100, 90, 0);
  c.SetLsns(c.s2, 0, 100, 95, 0);
  c.Pass(1200, {&c.s1, &c.s2});
  c.SetLsns(c.s1, 0, 92, 92, 92);
  c.SetLsns(c.s2, 0, 97, 97, 97);
  Restart(c.s1);
  EXPECT_EQ(c.Entry(0).state, ShardState::kUnavailable);
  Restart(c.s2);
  c.Pass(200, {&c.s1, &c.s2});
  EXPECT_EQ(Shard().node, c.s2.id);
  EXPECT_EQ(Shard(1).node, c.s1.id) << "equals: the primary leads";
  EXPECT_GT(c.min_lsns[0], 100u);
  c.Pass(1200, {&c.s1, &c.s2});
  EXPECT_EQ(Shard().logged, 97u);
  EXPECT_EQ(c.plane->CountShortOfCopies(), 0u);
  EXPECT_EQ(c.plane->CountShards(ShardState::kServing), 8u);
}

TEST_F(ControlPlaneCopiesTest, ARestartOfEverythingWithTheSchedulerIsTheSame) {
  Up();
  c.Start();
  Restart(c.s2);
  c.Pass(c.options.nodes.dead_ms + 500, {&c.s2});
  EXPECT_EQ(c.Entry(0).state, ShardState::kUnavailable) << "server 1 may have more";
  EXPECT_THAT(c.Entry(0).detail, HasSubstr("penstock shard force 0 NODE"));
  Restart(c.s1);
  c.Pass(1000, {&c.s1, &c.s2});
  EXPECT_EQ(c.plane->CountShards(ShardState::kServing), 8u);
  EXPECT_EQ(Shard().node, c.s1.id);
}

TEST_F(ControlPlaneCopiesTest, ForceGoesOnWithoutTheOthers) {
  Up();
  EXPECT_EQ(c.plane->Force(8, 1, c.now).code(), Code::kNotFound);
  EXPECT_THAT(c.plane->Force(0, c.s2.id, c.now).message(), HasSubstr("nothing to force"));
  Restart(c.s2);  // and server 1 never answers again
  c.Pass(c.options.nodes.dead_ms + 200, {&c.s2});
  ASSERT_EQ(c.Entry(0).state, ShardState::kUnavailable);
  EXPECT_THAT(c.plane->Force(0, c.s1.id, c.now).message(), HasSubstr("does not answer"));
  ASSERT_TRUE(c.plane->Force(0, c.s2.id, c.now).ok());
  EXPECT_EQ(Shard().node, c.s2.id);
  EXPECT_TRUE(Shard().backups.empty());
  c.Pass(300, {&c.s2});
  EXPECT_EQ(c.Entry(0).state, ShardState::kServing);
  EXPECT_EQ(c.Entry(1).state, ShardState::kUnavailable) << "one by one";
}

TEST_F(ControlPlaneCopiesTest, ForceWithLessThanLoggedIsQuarantinedUntilTheLossIsAccepted) {
  Up();
  c.SetLsns(c.s1, 0, 100, 100, 0);
  c.SetLsns(c.s2, 0, 100, 100, 0);
  c.Pass(1200, {&c.s1, &c.s2});
  c.SetLsns(c.s2, 0, 60, 60, 60);
  c.now.ms += 900;
  c.plane->Tick(c.now);
  c.Pass(3200);  // all lose power
  Restart(c.s2);
  c.Pass(200, {&c.s2});
  ASSERT_EQ(c.Entry(0).state, ShardState::kUnavailable);
  const Status forced = c.plane->Force(0, c.s2.id, c.now);
  EXPECT_EQ(forced.code(), Code::kFailedPrecondition);
  EXPECT_THAT(forced.message(), HasSubstr("server-2 (node 2) holds lsn 60"));
  EXPECT_EQ(c.Entry(0).state, ShardState::kQuarantined);
  EXPECT_TRUE(c.plane->Force(1, c.s2.id, c.now).ok());
  EXPECT_EQ(Shard(1).node, c.s2.id);
  ASSERT_TRUE(c.plane->Accept(0, c.now).ok());
  c.Pass(200, {&c.s2});
  EXPECT_EQ(c.Entry(0).state, ShardState::kServing);
  EXPECT_EQ(Shard().node, c.s2.id);
  EXPECT_EQ(Shard().logged, 60u);
  EXPECT_GT(c.min_lsns[0], 100u) << "lsns of lost deltas are not given again";
}

TEST_F(ControlPlaneCopiesTest, AnAcceptedLossGoesOnWithANewRewindNumber) {
  Up();
  ASSERT_TRUE(c.Register(c.w1).ok());
  ASSERT_TRUE(c.plane->Submit(FakeCluster::JobText(1, 2), c.now).ok());
  ASSERT_EQ(c.Lease(c.w1).size(), 1u);
  for (FakeNode* node : {&c.s1, &c.s2}) c.SetLsns(*node, 0, 100, 100, 0);
  c.Pass(1200, {&c.s1, &c.s2});
  for (FakeNode* node : {&c.s1, &c.s2}) c.SetLsns(*node, 0, 50, 50, 50);
  Restart(c.s1);
  Restart(c.s2);
  c.Pass(1200, {&c.s1, &c.s2});
  ASSERT_EQ(c.Entry(0).state, ShardState::kQuarantined);
  EXPECT_THAT(c.Entry(0).detail, HasSubstr("server-1 (node 1) holds lsn 50, server-2 (node 2) holds lsn 50"));
  EXPECT_EQ(c.plane->data().rewind, 1u);
  ASSERT_TRUE(c.plane->Accept(0, c.now).ok());
  c.Pass(200, {&c.s1, &c.s2});
  EXPECT_EQ(c.Entry(0).state, ShardState::kServing);
  EXPECT_EQ(c.s1.grants.at(0).rewind, 2u);
  EXPECT_EQ(Shard().node, c.s1.id);
  EXPECT_EQ(c.Entry(0).backups.size(), 1u) << "its equal stays";
}

TEST_F(ControlPlaneCopiesTest, CopiesAreRaisedAndLoweredWhileItRuns) {
  Up();
  EXPECT_EQ(c.plane->SetCopies(4, 1, c.now).code(), Code::kInvalidArgument);
  EXPECT_EQ(c.plane->SetCopies(2, 3, c.now).code(), Code::kInvalidArgument);
  ASSERT_TRUE(c.Register(c.s3).ok());
  c.Pass(500, {&c.s1, &c.s2, &c.s3});
  EXPECT_TRUE(c.s3.lines.empty());
  ASSERT_TRUE(c.plane->SetCopies(3, 2, c.now).ok());
  c.Pass(1500, {&c.s1, &c.s2, &c.s3});
  EXPECT_EQ(c.plane->CountShortOfCopies(), 0u);
  EXPECT_EQ(c.s3.followed.size(), 8u);
  EXPECT_EQ(c.s1.grants.at(0).min_copies, 2u);
  EXPECT_EQ(c.s1.grants.at(0).backups.size(), 2u);
  ASSERT_TRUE(c.plane->SetCopies(1, 1, c.now).ok());
  c.Pass(1500, {&c.s1, &c.s2, &c.s3});
  for (const auto& shard : c.plane->data().shards) EXPECT_TRUE(shard.backups.empty());
  EXPECT_TRUE(c.s3.followed.empty());
  EXPECT_EQ(c.plane->CountShards(ShardState::kServing), 8u);
}

TEST_F(ControlPlaneCopiesTest, AFullJournalDelaysAPromotionOnly) {
  Up();
  c.log.full = true;
  c.Pass(c.options.nodes.dead_ms + 200, {&c.s2});
  EXPECT_EQ(Shard().node, c.s1.id);
  EXPECT_EQ(c.Entry(7).state, ShardState::kServing);
  c.log.full = false;
  c.Pass(300, {&c.s2});
  EXPECT_EQ(Shard().node, c.s2.id);
}

TEST_F(ControlPlaneCopiesTest, WhatIsWantedIsEqualWhileNothingChanges) {
  Up();
  const auto before = c.plane->Wanted(c.s2.id, c.s2.session, c.now);
  ASSERT_TRUE(before.ok());
  const uint64_t version = c.plane->wanted_version();
  c.Pass(500, {&c.s1, &c.s2});
  EXPECT_EQ(c.plane->wanted_version(), version);
  EXPECT_EQ(c.plane->Wanted(c.s2.id, c.s2.session, c.now)->wanted, before->wanted);
  c.Pass(c.options.nodes.dead_ms + 200, {&c.s2});
  EXPECT_GT(c.plane->wanted_version(), version);
  EXPECT_NE(c.plane->Wanted(c.s2.id, c.s2.session, c.now)->wanted, before->wanted);
  Restart(c.s2);
  EXPECT_EQ(c.plane->Wanted(c.s2.id, c.s2.session - 1, c.now).status().code(), Code::kFailedPrecondition);
}

TEST_F(ControlPlaneCopiesTest, BackupsGetNoMoreThanTheirCopies) {
  Up();
  c.SetLsns(c.s2, 0, 500, 500, 500);
  c.Pass(1200, {&c.s1, &c.s2});
  EXPECT_EQ(Shard().logged, 0u) << "only the primary says what is logged on all";
  Restart(c.s1);
  EXPECT_EQ(Shard(0).logged, 0u) << "nor is what it has alone owed by the others";
}

TEST_F(ControlPlaneCopiesTest, TheJournalReplaysToTheSameState) {
  Up();
  ASSERT_TRUE(c.Register(c.s3).ok());
  ASSERT_TRUE(c.plane->SetCopies(3, 1, c.now).ok());
  c.Pass(1500, {&c.s1, &c.s2, &c.s3});
  c.s1.failed[1] = "no room";
  c.Pass(400, {&c.s1, &c.s2, &c.s3});
  c.Pass(c.options.nodes.dead_ms + 500, {&c.s2, &c.s3});
  ASSERT_TRUE(c.plane->SetCopies(1, 1, c.now).ok());
  c.Pass(1000, {&c.s2, &c.s3});
  for (const char* type : {"set_copies", "add_copies", "change_copies", "confirm_epochs"})
    EXPECT_GT(c.log.Count(type), 0u) << type;
  const std::string expected = c.plane->state().ToJson().dump();
  for (size_t begin = 0; begin < c.log.commands.size(); ++begin)
    ASSERT_EQ(c.log.Replay(begin).ToJson().dump(), expected) << "from the snapshot before command " << begin;
}

}  // namespace
}  // namespace penstock
