// Nodes, grants, quarantine, the shard map, tables and producers.
#include <gmock/gmock.h>

#include "scheduler/copies/placement.h"
#include "tests/unit/scheduler/fake_cluster.h"

namespace penstock {
namespace {

using ::testing::HasSubstr;

TEST(PlacementTest, SpreadsEvenly) {
  for (uint32_t servers : {1u, 2u, 3u, 5u, 8u}) {
    std::vector<NodeId> nodes;
    for (uint32_t i = 0; i < servers; ++i) nodes.push_back(10 + i);
    std::map<NodeId, uint32_t> counts;
    for (NodeId node : PlaceEvenly(128, nodes)) ++counts[node];
    ASSERT_EQ(counts.size(), servers);
    for (const auto& [node, count] : counts) {
      EXPECT_GE(count, 128 / servers) << node;
      EXPECT_LE(count, 128 / servers + 1) << node;
    }
  }
}

TEST(ControlPlaneTest, PlacesWhenAllServersAreThere) {
  FakeCluster c;
  ASSERT_TRUE(c.Register(c.s1).ok());
  c.Pass(500, {&c.s1});
  EXPECT_EQ(c.Entry(0).state, ShardState::kUnplaced);
  EXPECT_FALSE(c.plane->Ready(c.now).ok());
  ASSERT_TRUE(c.Register(c.s2).ok());
  EXPECT_EQ(c.Entry(0).state, ShardState::kGranting);
  c.Pass(200, {&c.s1, &c.s2});
  EXPECT_TRUE(c.plane->Ready(c.now).ok());
  EXPECT_EQ(c.s1.lines.size(), 4u);
  EXPECT_EQ(c.s2.lines.size(), 4u);
  std::set<Incarnation> incarnations;
  for (const auto& shard : c.plane->data().shards) incarnations.insert(shard.incarnation);
  EXPECT_EQ(incarnations.size(), 8u);
  EXPECT_EQ(c.Entry(1).endpoint, "server-1:2") << "of the core that serves it";
  EXPECT_EQ(c.min_lsns[0], 1u);

  FakeNode late{.name = "server-3"};
  ASSERT_TRUE(c.Register(late).ok());
  c.Pass(500, {&c.s1, &c.s2, &late});
  EXPECT_TRUE(late.lines.empty()) << "later servers get no shards in this version";
}

TEST(ControlPlaneTest, RestartedServerGetsANewEpochAboveAllReportedLsns) {
  FakeCluster c;
  c.Up();
  c.SetLsns(c.s1, 0, 120, 100, 50);
  c.Pass(1200, {&c.s1, &c.s2});
  const Epoch before = c.plane->data().shards[0].epoch;
  c.SetLsns(c.s1, 0, 110, 110, 110);  // what its disk holds: all that was logged
  ASSERT_TRUE(c.Register(c.s1).ok());
  EXPECT_EQ(c.Entry(0).state, ShardState::kGranting);
  c.Pass(200, {&c.s1, &c.s2});
  EXPECT_EQ(c.Entry(0).state, ShardState::kServing);
  EXPECT_EQ(c.plane->data().shards[0].epoch, before + 1);
  EXPECT_EQ(c.min_lsns[0], 121u);
}

TEST(ControlPlaneTest, FewerThanLoggedIsQuarantinedAndComesBackWithItsData) {
  FakeCluster c;
  c.Up();
  c.SetLsns(c.s1, 2, 100, 100, 40);
  c.Pass(1200, {&c.s1, &c.s2});
  c.SetLsns(c.s1, 2, 99, 99, 99);
  ASSERT_TRUE(c.Register(c.s1).ok());
  c.Pass(200, {&c.s1, &c.s2});
  EXPECT_EQ(c.Entry(2).state, ShardState::kQuarantined);
  EXPECT_THAT(c.Entry(2).detail, HasSubstr("lsn 99, but had reported lsn 100 as logged"));
  EXPECT_FALSE(c.s1.granted.contains(2));
  EXPECT_EQ(c.Entry(1).state, ShardState::kServing) << "the others serve";
  c.SetLsns(c.s1, 2, 100, 100, 100);
  ASSERT_TRUE(c.Register(c.s1).ok());
  c.Pass(200, {&c.s1, &c.s2});
  EXPECT_EQ(c.Entry(2).state, ShardState::kServing);
}

TEST(ControlPlaneTest, FewerThanSyncedAndDamageAndNothingAtAllAreQuarantined) {
  FakeCluster c;
  c.Up();
  for (ShardId shard : {0u, 1u, 2u}) c.SetLsns(c.s1, shard, 100, 100, 100);
  c.Pass(1200, {&c.s1, &c.s2});
  c.SetLsns(c.s1, 0, 5, 5, 5);
  c.s1.lines[1].damage = "segment 7 is damaged at offset 99";
  c.s1.lines.erase(2);
  ASSERT_TRUE(c.Register(c.s1).ok());
  EXPECT_THAT(c.Entry(0).detail, HasSubstr("as synced"));
  EXPECT_THAT(c.Entry(1).detail, HasSubstr("segment 7 is damaged"));
  EXPECT_THAT(c.Entry(2).detail, HasSubstr("came back without this shard"));
  EXPECT_EQ(c.plane->CountShards(ShardState::kQuarantined), 3u);
}

TEST(ControlPlaneTest, AnOrderlyEndJournalsWhatWasReportedLast) {
  FakeCluster c;
  c.Up();
  c.SetLsns(c.s1, 0, 100, 90, 0);
  ASSERT_TRUE(c.Beat(c.s1).ok());
  EXPECT_EQ(c.log.Replay().data().shards[0].logged, 0u);
  c.plane->End();
  EXPECT_EQ(c.log.Replay().data().shards[0].logged, 90u);
}

TEST(ControlPlaneTest, AnotherLifeOfAShardCountsAsNothing) {
  FakeCluster c;
  c.Up();
  c.SetLsns(c.s1, 0, 100, 100, 100);
  c.Pass(1200, {&c.s1, &c.s2});
  c.s1.lines[0].incarnation = 999;
  ASSERT_TRUE(c.Register(c.s1).ok());
  EXPECT_EQ(c.Entry(0).state, ShardState::kQuarantined);
}

TEST(ControlPlaneTest, LsnsOfTheLastHeartbeatCountBeforeTheyAreJournaled) {
  FakeCluster c;
  c.Up();
  c.SetLsns(c.s1, 0, 100, 100, 100);
  ASSERT_TRUE(c.Beat(c.s1).ok());
  c.SetLsns(c.s1, 0, 10, 10, 10);
  ASSERT_TRUE(c.Register(c.s1).ok());
  EXPECT_EQ(c.Entry(0).state, ShardState::kQuarantined);
}

TEST(ControlPlaneTest, AcceptLossGrantsAgainAndRecordsWhatIsLeft) {
  FakeCluster c;
  c.Up();
  c.SetLsns(c.s1, 0, 100, 100, 100);
  c.Pass(1200, {&c.s1, &c.s2});
  EXPECT_EQ(c.plane->Accept(0, c.now).code(), Code::kFailedPrecondition) << "nothing was lost";
  EXPECT_EQ(c.plane->Accept(8, c.now).code(), Code::kNotFound);
  c.SetLsns(c.s1, 0, 60, 60, 60);
  ASSERT_TRUE(c.Register(c.s1).ok());
  ASSERT_EQ(c.Entry(0).state, ShardState::kQuarantined);
  ASSERT_TRUE(c.plane->Accept(0, c.now).ok());
  c.Pass(200, {&c.s1, &c.s2});
  EXPECT_EQ(c.Entry(0).state, ShardState::kServing);
  EXPECT_EQ(c.min_lsns[0], 101u) << "lsns of lost deltas are not given again";
  EXPECT_EQ(c.plane->data().shards[0].logged, 60u);
  ASSERT_TRUE(c.Register(c.s1).ok());
  c.Pass(200, {&c.s1, &c.s2});
  EXPECT_EQ(c.Entry(0).state, ShardState::kServing) << "the accepted loss is not held against it again";
}

TEST(ControlPlaneTest, AcceptLossNeedsTheOwner) {
  FakeCluster c;
  c.Up();
  c.SetLsns(c.s1, 0, 100, 100, 100);
  c.Pass(1200, {&c.s1, &c.s2});
  c.SetLsns(c.s1, 0, 1, 1, 1);
  ASSERT_TRUE(c.Register(c.s1).ok());
  c.Pass(c.options.nodes.dead_ms + 200, {&c.s2});
  const Status status = c.plane->Accept(0, c.now);
  EXPECT_EQ(status.code(), Code::kFailedPrecondition);
  EXPECT_THAT(status.message(), HasSubstr("server-1 does not answer"));
}

TEST(ControlPlaneTest, DamageInAHeartbeatIsQuarantined) {
  FakeCluster c;
  c.Up();
  c.s1.lines[3].damage = "the base is damaged";
  ASSERT_TRUE(c.Beat(c.s1).ok());
  EXPECT_EQ(c.Entry(3).state, ShardState::kQuarantined);
  EXPECT_FALSE(c.s1.granted.contains(3));
}

TEST(ControlPlaneTest, ADeadServersShardsAreUnavailableAndNobodyElseGetsThem) {
  FakeCluster c;
  c.Up();
  const uint64_t version = (*c.plane->Map(c.now))->version;
  c.Pass(c.options.nodes.dead_ms + 1000, {&c.s2});
  EXPECT_EQ(c.Entry(0).state, ShardState::kUnavailable);
  EXPECT_THAT(c.Entry(0).detail, HasSubstr("server-1"));
  EXPECT_EQ(c.Entry(7).state, ShardState::kServing);
  const uint64_t dead_version = (*c.plane->Map(c.now))->version;
  EXPECT_GT(dead_version, version);
  c.Pass(1000, {&c.s2});
  EXPECT_EQ((*c.plane->Map(c.now))->version, dead_version) << "nothing changed";
  c.Pass(200, {&c.s1, &c.s2});
  EXPECT_EQ(c.Entry(0).state, ShardState::kServing) << "it was only silent";
}

TEST(ControlPlaneTest, ARestartOfTheSchedulerChangesNothingForItsNodes) {
  FakeCluster c;
  c.Up();
  const auto before = **c.plane->Map(c.now);
  c.Start();
  EXPECT_EQ(c.plane->data().term, before.term + 1);
  EXPECT_EQ(c.plane->Map(c.now).status().code(), Code::kUnavailable)
      << "clients keep the map they have meanwhile";
  ASSERT_TRUE(c.Beat(c.s1).ok());
  ASSERT_TRUE(c.Beat(c.s2).ok());
  auto after = c.plane->Map(c.now);
  ASSERT_TRUE(after.ok());
  EXPECT_GT((*after)->version, before.version);
  for (ShardId i = 0; i < 8; ++i) {
    EXPECT_EQ((*after)->shards[i].state, ShardState::kServing);
    EXPECT_EQ((*after)->shards[i].epoch, before.shards[i].epoch);
    EXPECT_EQ((*after)->shards[i].endpoint, before.shards[i].endpoint);
  }
}

TEST(ControlPlaneTest, AfterARestartASilentServerIsNotWaitedForLongerThanADeadOne) {
  FakeCluster c;
  c.Up();
  c.Start();
  c.Pass(c.options.nodes.dead_ms + 100, {&c.s2});
  EXPECT_EQ(c.Entry(0).state, ShardState::kUnavailable);
}

TEST(ControlPlaneTest, ANodeThatRegistersAgainAndAgainIsAProblem) {
  FakeCluster c;
  c.Up();
  const auto problems = [&] { return c.plane->Inspect("status", "", c.now)->at("problems").dump(); };
  for (int restart = 1; restart <= 3; ++restart) {
    ASSERT_TRUE(c.Register(c.s1).ok());
    c.Pass(2000, {&c.s1, &c.s2});
    EXPECT_EQ(problems(), "[]") << restart << " restarts may be an operator's";
  }
  ASSERT_TRUE(c.Register(c.s1).ok());
  c.Pass(2000, {&c.s1, &c.s2});
  EXPECT_THAT(problems(), HasSubstr(c.s1.name + " has registered 5 times within 10 minutes"));
  c.now.ms += NodeTable::kRegistersWindowMs - 3000;
  c.plane->Tick(c.now);
  c.Pass(1000, {&c.s1, &c.s2});
  EXPECT_EQ(problems(), "[]") << "long ago";
}

// What a node says of itself, and why one that is not there cannot come.
TEST(ControlPlaneTest, NotesAndReasonsAreInTheStatus) {
  FakeCluster c;
  FakeNode a{.name = "server-0"}, b{.name = "server-1"};
  ASSERT_TRUE(c.Register(a).ok());
  ASSERT_TRUE(c.Register(b).ok());
  c.Pass(1000, {&a, &b});
  const auto status = [&] { return *c.plane->Inspect("status", "", c.now); };
  EXPECT_TRUE(status().at("problems").empty()) << status().dump();
  ASSERT_TRUE(
      c.plane
          ->Heartbeat(
              {.node = b.id, .session = b.session, .lines = {}, .words = {.note = "look at the disk"}}, c.now)
          .ok());
  EXPECT_EQ(status().at("nodes").at(1).at("note"), "look at the disk");
  EXPECT_EQ(status().at("problems").at(0), "server-1: look at the disk") << status().dump();
  EXPECT_EQ(status().at("nodes").at(0).at("note"), "");
  ASSERT_TRUE(c.Beat(b).ok());
  EXPECT_EQ(status().at("nodes").at(1).at("note"), "") << "it says so no more";
  ASSERT_TRUE(
      c.plane
          ->Heartbeat(
              {.node = b.id, .session = b.session, .lines = {}, .words = {.trouble = "no space left"}}, c.now)
          .ok());
  EXPECT_EQ(status().at("nodes").at(1).at("trouble"), "no space left");
  EXPECT_EQ(status().at("problems").at(0), "server-1: no space left") << status().dump();
  ASSERT_TRUE(c.Beat(b).ok());
  EXPECT_TRUE(status().at("problems").empty()) << "as long as it is said";

  ASSERT_TRUE(c.plane->CannotStart("server-1", "base /d/base: a block is damaged").ok());
  c.Pass(5000, {&a});
  const auto count = [&](const std::string& text) {
    int found = 0;
    const auto now = status();
    for (const auto& problem : now.at("problems"))
      found += problem.get<std::string>().find(text) != std::string::npos;
    return found;
  };
  EXPECT_EQ(count("server-1 cannot start: base /d/base: a block is damaged"), 1) << status().dump();
  EXPECT_EQ(count("server-1 is dead"), 0) << "it is said once, with the reason";
  ASSERT_TRUE(c.Register(b).ok());
  EXPECT_EQ(count("cannot start"), 0) << status().dump();
  EXPECT_EQ(c.plane->CannotStart("", "?").code(), Code::kInvalidArgument);
}

TEST(ControlPlaneTest, EndedSessionsAndUnknownNodesAreRefused) {
  FakeCluster c;
  c.Up();
  FakeNode old = c.s1;
  ASSERT_TRUE(c.Register(c.s1).ok());
  EXPECT_EQ(c.s1.id, old.id) << "ids survive";
  EXPECT_EQ(c.Beat(old).code(), Code::kFailedPrecondition);
  FakeNode stranger{.name = "server-9", .id = 77};
  const Status status = c.Register(stranger);
  EXPECT_EQ(status.code(), Code::kFailedPrecondition);
  EXPECT_THAT(status.message(), HasSubstr("node 77 ('server-9') is not in this scheduler's journal"));
  FakeNode turncoat{.name = "server-1", .role = NodeRole::kWorker, .id = c.s1.id};
  EXPECT_EQ(c.Register(turncoat).code(), Code::kFailedPrecondition);
}

TEST(ControlPlaneTest, ANameOfALivingServerIsTaken) {
  FakeCluster c;
  FakeNode again{.name = "server-1"};
  ASSERT_TRUE(c.Register(c.s1).ok());
  ASSERT_TRUE(c.Register(again).ok()) << "the answer to the first register may have been lost";
  EXPECT_EQ(again.id, c.s1.id);
  ASSERT_TRUE(c.Beat(again).ok());
  FakeNode other{.name = "server-1"};
  EXPECT_EQ(c.Register(other).code(), Code::kAlreadyExists);
  FakeNode nameless{.name = ""};
  ASSERT_TRUE(c.Register(nameless).ok());
  EXPECT_EQ(c.plane->state().FindNode(nameless.id)->name, "server-2");
}

TEST(ControlPlaneTest, ASchedulerThatMeetsAHigherTermDoesNotLead) {
  FakeCluster c;
  c.Up();
  FakeNode ahead{.name = "server-3"};
  const Status status = c.Register(ahead, 9);
  EXPECT_EQ(status.code(), Code::kFailedPrecondition);
  EXPECT_THAT(status.message(), HasSubstr("has seen term 9"));
  EXPECT_THAT(status.message(), HasSubstr("this one has term 1"));
  EXPECT_EQ(c.Beat(c.s1).code(), Code::kFailedPrecondition);
  EXPECT_EQ(c.plane->NewProducers(1).status().code(), Code::kFailedPrecondition);
  EXPECT_FALSE(c.plane->Ready(c.now).ok());
  const auto seen = c.plane->Inspect("status", "", c.now);
  ASSERT_TRUE(seen.ok());
  EXPECT_THAT((*seen)["problems"].dump(), HasSubstr("does not lead"));
}

TEST(ControlPlaneTest, Tables) {
  FakeCluster c;
  TableSpec spec;
  spec.name = "user";
  spec.dim = 4;
  const auto created = c.plane->Create(spec, c.now);
  ASSERT_TRUE(created.ok());
  EXPECT_EQ(created->id, 1u);
  EXPECT_EQ(c.plane->Create(spec, c.now)->id, 1u) << "safe to repeat";
  spec.dim = 8;
  const Status other = c.plane->Create(spec, c.now).status();
  EXPECT_EQ(other.code(), Code::kAlreadyExists);
  EXPECT_EQ(other.message(), "table 'user' exists with another specification: its dim is 4 and not 8");
  spec.name = "job.1/weights";  // of the first job
  ASSERT_TRUE(c.plane->Create(spec, c.now).ok());
  EXPECT_EQ(*c.plane->Submit(FakeCluster::JobText(1, 1), c.now), 2u) << "a name that is taken costs a number";
  EXPECT_EQ(c.plane->Open("user")->dim, 4u);
  EXPECT_EQ(c.plane->Open("item").status().code(), Code::kNotFound);
  const uint64_t version = c.plane->data().table_version;
  ASSERT_TRUE(c.plane->Drop("user", c.now).ok());
  EXPECT_EQ(c.plane->Drop("user", c.now).code(), Code::kNotFound);
  EXPECT_GT(c.plane->data().table_version, version);
  EXPECT_EQ(c.plane->Create(spec, c.now)->id, 2u) << "ids are never used again";
  EXPECT_EQ(c.plane->data().dropped_tables, std::vector<TableId>{1});
}

TEST(ControlPlaneTest, ProducersAreNeverGivenTwice) {
  FakeCluster c;
  EXPECT_EQ(*c.plane->NewProducers(10), 1u);
  EXPECT_EQ(*c.plane->NewProducers(1), 11u);
  c.Start();
  EXPECT_EQ(*c.plane->NewProducers(1), 12u);
  EXPECT_EQ(c.plane->state().ForgetFloor(), 1u) << "clients' ids do not expire";
  for (const uint32_t count : {0u, 1'000'001u}) {
    const auto refused = c.plane->NewProducers(count).status();
    EXPECT_EQ(refused.code(), Code::kInvalidArgument) << count;
    EXPECT_THAT(refused.message(), ::testing::HasSubstr("allowed is 1 to 1000000"));
  }
}

TEST(ControlPlaneTest, AFullJournalChangesNothingAndServiceResumes) {
  FakeCluster c;
  c.Up();
  const std::string before = c.plane->state().ToJson().dump();
  c.log.full = true;
  TableSpec spec;
  spec.name = "user";
  EXPECT_EQ(c.plane->Create(spec, c.now).status().code(), Code::kOverloaded);
  EXPECT_EQ(c.plane->Submit(FakeCluster::JobText(1, 1), c.now).status().code(), Code::kOverloaded);
  EXPECT_EQ(c.Register(c.w1).code(), Code::kOverloaded);
  EXPECT_EQ(c.plane->state().ToJson().dump(), before);
  EXPECT_THAT((*c.plane->Inspect("status", "", c.now))["problems"].dump(), HasSubstr("it is full"));
  EXPECT_FALSE(c.plane->Ready(c.now).ok());
  c.Pass(2000, {&c.s1, &c.s2});
  EXPECT_EQ(c.Entry(0).state, ShardState::kServing) << "heartbeats need no journal";
  c.log.full = false;
  EXPECT_TRUE(c.plane->Create(spec, c.now).ok());
  EXPECT_TRUE(c.plane->Ready(c.now).ok());
}

TEST(ControlPlaneTest, AStandstillOfTheSchedulerKillsNobody) {
  FakeCluster c;
  c.Up();
  c.now.ms += 60000;
  c.plane->Tick(c.now);
  EXPECT_EQ(c.Entry(0).state, ShardState::kServing);
}

TEST(ControlPlaneTest, InspectKnowsEverything) {
  FakeCluster c;
  c.Up();
  c.SetLsns(c.s1, 0, 7, 6, 5);
  ASSERT_TRUE(c.Beat(c.s1).ok());
  const auto status = *c.plane->Inspect("status", "", c.now);
  EXPECT_EQ(status["ready"], true);
  EXPECT_EQ(status["shards"]["serving"], 8);
  EXPECT_EQ(status["cluster"], "00000000000000c1");
  EXPECT_EQ(status["nodes"][0]["shards"], 4);
  EXPECT_EQ(status["nodes"][0]["state"], "alive");
  const auto shard = *c.plane->Inspect("shard", "0", c.now);
  EXPECT_EQ(shard["lsn"], 7);
  EXPECT_EQ(shard["logged"], 6);
  EXPECT_EQ(shard["node_name"], "server-1");
  EXPECT_EQ((*c.plane->Inspect("shards", "", c.now)).size(), 8u);
  EXPECT_EQ(c.plane->Inspect("shard", "8", c.now).status().code(), Code::kNotFound);
  EXPECT_EQ(c.plane->Inspect("table", "x", c.now).status().code(), Code::kNotFound);
  EXPECT_EQ(c.plane->Inspect("job", "x", c.now).status().code(), Code::kNotFound);
  EXPECT_EQ(c.plane->Inspect("weather", "", c.now).status().code(), Code::kInvalidArgument);
}

}  // namespace
}  // namespace penstock
