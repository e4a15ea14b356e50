// What is forgotten: jobs that have ended, dead nodes with which nothing is lost; and names that others have
// taken.
#include <gmock/gmock.h>

#include "tests/unit/scheduler/fake_cluster.h"

namespace penstock {
namespace {

using nlohmann::json;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

class RemovalTest : public ::testing::Test {
 protected:
  void SetUp() override {
    c.Up();
    ASSERT_TRUE(c.Register(c.w1).ok());
  }
  JobId Submit(const std::string& name = "job") {
    auto job = c.plane->Submit(FakeCluster::JobText(1, 1, 0, name), c.now);
    EXPECT_TRUE(job.ok()) << job.status().ToString();
    return job.ok() ? *job : 0;
  }
  void RunJob() {
    Submit();
    ASSERT_TRUE(c.Done(c.w1, c.Lease(c.w1)[0]).ok());
  }
  std::vector<std::string> Tables() {
    std::vector<std::string> names;
    for (const auto& [id, spec] : c.plane->data().tables) names.push_back(spec.name);
    return names;
  }
  json Status() { return *c.plane->Inspect("status", "", c.now); }
  // A third server that has no shards, or copies alone.
  void AddThird() {
    ASSERT_TRUE(c.Register(c.s3).ok());
    c.Pass(200, {&c.s1, &c.s2, &c.s3, &c.w1});
  }
  FakeCluster c;
};

TEST_F(RemovalTest, AJobThatHasEndedIsForgotten) {
  Submit();
  const auto refused = c.plane->RemoveJob(1, false);
  EXPECT_EQ(refused.code(), Code::kFailedPrecondition);
  EXPECT_THAT(refused.message(),
              HasSubstr("job 1 'job' is running: only a job that has ended can be removed"));
  ASSERT_TRUE(c.Done(c.w1, c.Lease(c.w1)[0]).ok());
  EXPECT_THAT(c.plane->Inspect("job", "1", c.now)->at("tables"), ElementsAre("job.1/weights"));
  ASSERT_TRUE(c.plane->RemoveJob(1, false).ok());
  EXPECT_EQ(c.plane->Inspect("job", "1", c.now).status().code(), Code::kNotFound);
  EXPECT_EQ(c.plane->RemoveJob(1, false).code(), Code::kNotFound);
  EXPECT_THAT(Tables(), ElementsAre("job.1/weights")) << "its weights stay";
  EXPECT_TRUE(Status().at("jobs").empty());
  EXPECT_EQ(c.log.Replay().data().jobs.size(), 0u) << "and so says the journal";
  EXPECT_EQ(Submit(), 2u) << "its number is not used again";
}

TEST_F(RemovalTest, ItsTablesGoWithItWhenTheOperatorSaysSo) {
  RunJob();
  const uint64_t version = c.plane->data().table_version;
  ASSERT_TRUE(c.plane->RemoveJob(1, true).ok());
  EXPECT_TRUE(Tables().empty());
  EXPECT_THAT(c.plane->data().dropped_tables, ElementsAre(1));
  EXPECT_GT(c.plane->data().table_version, version) << "servers hear of it";
}

TEST_F(RemovalTest, OldJobsAreKeptByCount) {
  c.options.keep_jobs = 2;
  c.Start();
  for (FakeNode* node : {&c.s1, &c.s2, &c.w1}) ASSERT_TRUE(c.Beat(*node).ok());
  c.Pass(200, {&c.s1, &c.s2, &c.w1});
  // The first job ends last: what counts is when they ended, not when they came.
  Submit();
  const auto first = c.Lease(c.w1)[0];
  for (int i = 0; i < 3; ++i) {
    RunJob();
    c.Pass(100, {&c.s1, &c.s2, &c.w1});
  }
  ASSERT_TRUE(c.Done(c.w1, first).ok());
  const JobId running = Submit();
  c.Pass(1000, {&c.s1, &c.s2, &c.w1});
  EXPECT_EQ(c.plane->data().jobs.size(), 5u) << "whoever follows them has not seen how they ended";
  c.Pass(61'000, {&c.s1, &c.s2, &c.w1});
  std::vector<JobId> kept;
  for (const auto& [id, job] : c.plane->data().jobs) kept.push_back(id);
  EXPECT_THAT(kept, ElementsAre(1, 4, running)) << "those that run are not counted";
  EXPECT_EQ(Tables().size(), 5u);
  EXPECT_EQ(c.log.Replay().data().jobs.size(), 3u);
}

// What the scheduler remembers of a job outside of the journal goes with it.
TEST_F(RemovalTest, TimeGoesOnAfterAJobIsRemoved) {
  auto job = c.plane->Submit(FakeCluster::JobTextWith("ssp", 2, 2), c.now);
  ASSERT_TRUE(job.ok()) << job.status().ToString();
  const auto leases = c.Lease(c.w1, 2);
  ASSERT_EQ(leases.size(), 2u);
  ASSERT_TRUE(c.Done(c.w1, leases[0]).ok());
  ASSERT_TRUE(c.plane->Cancel(*job, c.now).ok());
  ASSERT_TRUE(c.plane->RemoveJob(*job, true).ok());
  EXPECT_EQ(c.Done(c.w1, leases[1]).code(), Code::kNotFound);
  c.Pass(1000, {&c.s1, &c.s2, &c.w1});
  EXPECT_EQ(Submit(), *job + 1);
  EXPECT_EQ(c.Lease(c.w1).size(), 1u);
}

TEST_F(RemovalTest, ATakenTableNameCostsANumberAlone) {
  TableSpec spec;
  spec.name = "job.1/anything";
  ASSERT_TRUE(c.plane->Create(spec, c.now).ok());
  EXPECT_EQ(Submit(), 2u);
  EXPECT_THAT(Tables(), ElementsAre("job.1/anything", "job.2/weights"));
  EXPECT_EQ(Submit("other"), 3u);
  EXPECT_EQ(c.log.Replay().data().last_job, 3u);
}

TEST_F(RemovalTest, ADeadNodeThatHoldsNothingIsForgotten) {
  c.s3.host = "gamma";
  AddThird();
  const NodeId third = c.s3.id;
  EXPECT_THAT(c.plane->RemoveNode(third, c.now).message(), HasSubstr("server-3 is alive: only a dead node"));
  c.Pass(4000, {&c.s1, &c.s2, &c.w1});
  const std::string hint = "`penstock node remove " + std::to_string(third) + "`";
  EXPECT_THAT(Status().at("problems").dump(),
              HasSubstr("server-3 on gamma is dead; it holds no shard, and " + hint));
  ASSERT_TRUE(c.plane->RemoveNode(third, c.now).ok());
  EXPECT_TRUE(Status().at("problems").empty()) << Status().dump();
  EXPECT_EQ(c.log.Replay().FindNode(third), nullptr);
  EXPECT_EQ(c.plane->RemoveNode(third, c.now).code(), Code::kNotFound);
  // Another one gets a number of its own, and the first one has its own when it comes back.
  FakeNode fourth{.name = "server-4"};
  ASSERT_TRUE(c.Register(fourth).ok());
  EXPECT_GT(fourth.id, third);
  FakeNode stranger{.name = "stranger", .role = NodeRole::kWorker, .id = third};
  ASSERT_TRUE(c.Register(stranger).ok());
  EXPECT_GT(stranger.id, fourth.id) << "a worker does not take a server's place";
  ASSERT_TRUE(c.Register(c.s3).ok());
  EXPECT_EQ(c.s3.id, third);
  EXPECT_TRUE(c.Beat(c.s3).ok());
  EXPECT_NE(c.log.Replay().FindNode(third), nullptr);
}

TEST_F(RemovalTest, AWorkerThatIsDeadTheLongestGivesWayWhereThereAreTooMany) {
  c.options.most_workers = 2;
  c.Start();
  const auto register_worker = [&](const std::string& name) -> penstock::Status {
    const RegisterRequest request{.role = NodeRole::kWorker, .name = name};
    PENSTOCK_RETURN_IF_ERROR(c.plane->MakeRoomForWorker(request, c.now));
    return c.plane->Register(request, c.now).status();
  };
  ASSERT_TRUE(register_worker("second").ok());
  const auto refused = register_worker("third");
  EXPECT_EQ(refused.code(), Code::kOverloaded);
  EXPECT_GT(refused.retry_after_ms(), 0u);
  EXPECT_TRUE(register_worker("second").ok()) << "it is known";
  c.Pass(4000, {&c.s1, &c.s2, &c.w1});
  EXPECT_TRUE(register_worker("third").ok());
  EXPECT_EQ(c.plane->state().FindNode(NodeRole::kWorker, "second"), nullptr);
  EXPECT_NE(c.plane->state().FindNode(c.w1.id), nullptr) << "it lives";
}

TEST_F(RemovalTest, JobsAndTablesAreBounded) {
  c.options.most_open_jobs = 2;
  c.options.most_tables = 3;
  c.Start();
  Submit();
  Submit();
  const auto job = c.plane->Submit(FakeCluster::JobText(1, 1, 0, "third"), c.now);
  EXPECT_EQ(job.status().code(), Code::kOverloaded);
  EXPECT_THAT(job.status().message(), HasSubstr("2 jobs have not ended"));
  TableSpec spec;
  spec.name = "third";
  EXPECT_TRUE(c.plane->Create(spec, c.now).ok());
  EXPECT_TRUE(c.plane->Create(spec, c.now).ok()) << "it exists";
  spec.name = "fourth";
  const auto refused = c.plane->Create(spec, c.now).status();
  EXPECT_EQ(refused.code(), Code::kFailedPrecondition);
  EXPECT_THAT(refused.message(), HasSubstr("there are 3 tables, and no more may be made: drop some"));
  ASSERT_TRUE(c.plane->Cancel(1, c.now).ok());
  const auto brings = c.plane->Submit(FakeCluster::JobText(1, 1, 0, "third"), c.now).status();
  EXPECT_EQ(brings.code(), Code::kFailedPrecondition) << "a job makes tables, too";
  EXPECT_THAT(brings.message(), HasSubstr("there are 3 tables"));
  ASSERT_TRUE(c.plane->Drop("third", c.now).ok());
  EXPECT_TRUE(c.plane->Create(spec, c.now).ok());
}

TEST_F(RemovalTest, ANodeThatHoldsShardsIsNot) {
  c.Pass(4000, {&c.s1, &c.w1});
  const auto refused = c.plane->RemoveNode(c.s2.id, c.now);
  EXPECT_EQ(refused.code(), Code::kFailedPrecondition);
  EXPECT_THAT(refused.message(), HasSubstr("server-2 holds 4 of 8 shards, the first is "));
  EXPECT_THAT(refused.message(), HasSubstr("start it again"));
  // What is not there has no copies that could be counted.
  const json status = Status();
  EXPECT_EQ(status.at("copies").at("complete"), 4);
  const json shards = *c.plane->Inspect("shards", "", c.now);
  for (const json& shard : shards)
    EXPECT_EQ(shard.at("in_sync"), shard.at("node") == c.s1.id ? 1 : 0) << shard.dump();
}

TEST_F(RemovalTest, WhyItCouldNotStartIsForgottenWithIt) {
  AddThird();
  ASSERT_TRUE(c.plane->CannotStart("server-3", "no room").ok());
  c.Pass(4000, {&c.s1, &c.s2, &c.w1});
  EXPECT_THAT(Status().at("problems").dump(), HasSubstr("server-3 cannot start: no room"));
  ASSERT_TRUE(c.plane->RemoveNode(c.s3.id, c.now).ok());
  EXPECT_TRUE(Status().at("problems").empty()) << Status().dump();
}

TEST_F(RemovalTest, NamesThatCannotStartAreBounded) {
  for (int i = 0; i < 300; ++i)
    ASSERT_TRUE(c.plane->CannotStart("stranger-" + std::to_string(i), "no room").ok());
  ASSERT_TRUE(c.plane->CannotStart("stranger-0", "no disk").ok());
  const json problems = Status().at("problems");
  EXPECT_EQ(problems.size(), 256u);
  EXPECT_THAT(problems.dump(), HasSubstr("stranger-0 cannot start: no disk")) << "it has its place";
}

TEST_F(RemovalTest, AWorkersLeasesAreFree) {
  Submit();
  const auto lease = c.Lease(c.w1)[0];
  c.Pass(4000, {&c.s1, &c.s2});
  ASSERT_TRUE(c.plane->RemoveNode(c.w1.id, c.now).ok());
  EXPECT_EQ(c.Job().partitions[0].state, PartitionState::kFree);
  ASSERT_TRUE(c.Register(c.w2).ok());
  ASSERT_TRUE(c.Beat(c.w2).ok());
  EXPECT_EQ(c.Lease(c.w2)[0].producer, lease.producer);
}

TEST_F(RemovalTest, ResumingSpeaksOfResuming) {
  RunJob();
  EXPECT_THAT(c.plane->Resume(1, c.now).message(),
              testing::StrEq("job 1 'job' is done: only a paused job can be resumed"));
  EXPECT_THAT(c.plane->Pause(1, c.now).message(),
              testing::StrEq("job 1 'job' is done: only a running job can be paused"));
}

TEST_F(RemovalTest, WhereNodesAreToBeFoundSurvivesTheScheduler) {
  RegisterRequest request{.name = "server-3", .endpoints = {"h:1"}, .http = "h:2"};
  request.process = {.pid = 4711, .log = "/var/log/server-3.INFO"};
  ASSERT_TRUE(c.plane->Register(request, c.now).ok());
  c.Start();
  const auto nodes = *c.plane->Inspect("nodes", "", c.now);
  EXPECT_EQ(nodes.back().at("pid"), 4711);
  EXPECT_EQ(nodes.back().at("log"), "/var/log/server-3.INFO");
}

TEST_F(RemovalTest, NamesCanBeShown) {
  for (const std::string& name : {std::string("server\x1b[2J"), std::string("server\n1"),
                                  std::string("sérver"), std::string(65, 'x')}) {
    RegisterRequest request{.name = name, .endpoints = {"h:1"}};
    EXPECT_EQ(c.plane->Register(request, c.now).status().code(), Code::kInvalidArgument) << name;
    EXPECT_EQ(c.plane->CannotStart(name, "no room").code(), Code::kInvalidArgument) << name;
  }
}

TEST(NodeSizes, PrimariesAndBackupsAreToldApart) {
  FakeCluster c(2);
  c.Up();
  c.Pass(1000, {&c.s1, &c.s2});
  for (FakeNode* node : {&c.s1, &c.s2}) {
    for (auto& [id, line] : node->lines) {
      line.rows = node->granted.contains(id) ? 10 : 1;
      line.bytes = line.rows * 100;
    }
    ASSERT_TRUE(c.Beat(*node).ok());
  }
  const json nodes = *c.plane->Inspect("nodes", "", c.now);
  for (const json& node : nodes) {
    EXPECT_EQ(node.at("rows"), 40) << node.dump();
    EXPECT_EQ(node.at("bytes"), 4000);
    EXPECT_EQ(node.at("backup_rows"), 4);
    EXPECT_EQ(node.at("backup_bytes"), 400);
  }
}

}  // namespace
}  // namespace penstock
