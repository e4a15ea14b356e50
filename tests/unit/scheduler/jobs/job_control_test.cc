// Pause and resume, jobs beside one another, the order of partitions, and what is shown of all that.
#include <gmock/gmock.h>

#include "tests/unit/scheduler/fake_cluster.h"

namespace penstock {
namespace {

using nlohmann::json;
using ::testing::HasSubstr;

class JobControlTest : public ::testing::Test {
 protected:
  void SetUp() override {
    c.Up();
    ASSERT_TRUE(c.Register(c.w1).ok());
    ASSERT_TRUE(c.Register(c.w2).ok());
  }
  JobId Submit(const std::string& text) {
    auto job = c.plane->Submit(text, c.now);
    EXPECT_TRUE(job.ok()) << job.status().ToString();
    return job.ok() ? *job : 0;
  }
  std::vector<FakeNode*> All() { return {&c.s1, &c.s2, &c.w1, &c.w2}; }
  json Shown(JobId job) { return *c.plane->Inspect("job", std::to_string(job), c.now); }
  FakeCluster c;
};

TEST_F(JobControlTest, AJobWithoutWorkersSaysWhyItStandsStill) {
  Submit(FakeCluster::JobText(1, 2));
  const auto of_status = [&] { return (*c.plane->Inspect("status", "", c.now))["problems"].dump(); };
  c.Pass(1000, All());
  EXPECT_EQ(of_status(), "[]");
  c.Pass(c.options.nodes.dead_ms + 1000, {&c.s1, &c.s2});
  for (const std::string& problems : {of_status(), Shown(1)["problems"].dump()}) {
    EXPECT_THAT(problems, HasSubstr("jobs wait: there is no worker"));
    EXPECT_THAT(problems, HasSubstr("worker-1 is dead"));
  }
  ASSERT_TRUE(c.plane->Cancel(1, c.now).ok());
  EXPECT_EQ(of_status(), "[]") << "nobody needs them any more";
}

TEST_F(JobControlTest, APausedJobGetsItsLeasesBackAndGoesOnWhereItWas) {
  Submit(FakeCluster::JobText(1, 2));
  const auto lease = c.Lease(c.w1)[0];
  ASSERT_TRUE(c.Report(c.w1, lease, 3).ok());
  ASSERT_TRUE(c.plane->Pause(1, c.now).ok());
  EXPECT_TRUE(c.plane->Pause(1, c.now).ok()) << "safe to repeat";
  EXPECT_EQ(Shown(1)["state"], "paused");
  EXPECT_TRUE(c.Lease(c.w2).empty()) << "nothing of it is given out";
  EXPECT_EQ(c.Job().partitions[0].state, PartitionState::kLeased) << "until its worker reports";
  const Status ended = c.Report(c.w1, lease, 5);
  EXPECT_EQ(ended.code(), Code::kCancelled);
  EXPECT_THAT(ended.message(), HasSubstr("paused"));
  EXPECT_EQ(c.log.Replay().FindJob(1)->partitions[0].recorded, 5u) << "what it said last counts";
  EXPECT_EQ(c.log.Replay().FindJob(1)->partitions[0].state, PartitionState::kFree);
  EXPECT_EQ(c.Report(c.w1, lease, 6).code(), Code::kCancelled) << "the answer may have been lost";
  ASSERT_TRUE(c.plane->Resume(1, c.now).ok());
  EXPECT_TRUE(c.plane->Resume(1, c.now).ok()) << "safe to repeat";
  const auto next = c.Lease(c.w2);
  ASSERT_EQ(next.size(), 1u);
  EXPECT_EQ(next[0].partition, lease.partition);
  EXPECT_EQ(next[0].begin, 5u);
  EXPECT_EQ(next[0].producer, lease.producer);
}

TEST_F(JobControlTest, AJobResumedBeforeTheNextReportKeepsItsLeases) {
  Submit(FakeCluster::JobText(1, 1));
  const auto lease = c.Lease(c.w1)[0];
  ASSERT_TRUE(c.plane->Pause(1, c.now).ok());
  ASSERT_TRUE(c.plane->Resume(1, c.now).ok());
  EXPECT_TRUE(c.Done(c.w1, lease).ok());
  EXPECT_EQ(c.Job().state, JobState::kDone);
}

TEST_F(JobControlTest, APauseSurvivesTheSchedulerAndWhatIsDoneMeanwhileCounts) {
  Submit(FakeCluster::JobText(2, 1));
  const auto lease = c.Lease(c.w1)[0];
  ASSERT_TRUE(c.plane->Pause(1, c.now).ok());
  c.Start();
  for (FakeNode* node : All()) ASSERT_TRUE(c.Beat(*node).ok());
  EXPECT_EQ(c.Job().state, JobState::kPaused);
  ASSERT_TRUE(c.Done(c.w1, lease).ok());
  EXPECT_TRUE(c.Done(c.w1, lease).ok()) << "the answer may have been lost";
  c.Pass(1000, All());
  EXPECT_EQ(c.Job().pass, 0u) << "a paused job does not move on";
  ASSERT_TRUE(c.plane->Resume(1, c.now).ok());
  c.Pass(200, All());
  EXPECT_EQ(c.Lease(c.w1)[0].pass, 1u);
}

TEST_F(JobControlTest, APauseIsNoTimeOfTheJob) {
  Submit(FakeCluster::JobText(1, 1));
  const auto lease = c.Lease(c.w1)[0];
  c.Pass(1000, All());
  ASSERT_TRUE(c.plane->Pause(1, c.now).ok());
  c.Pass(5000, All());
  EXPECT_DOUBLE_EQ(Shown(1)["seconds"].get<double>(), 1.0);
  ASSERT_TRUE(c.plane->Resume(1, c.now).ok());
  c.Pass(1000, All());
  ASSERT_TRUE(c.Done(c.w1, lease).ok());
  EXPECT_DOUBLE_EQ(Shown(1)["seconds"].get<double>(), 2.0);
}

TEST_F(JobControlTest, PausedJobsAreCancelledAndRewoundAndKeepTheirTables) {
  Submit(FakeCluster::JobText(1, 1));
  const auto lease = c.Lease(c.w1)[0];
  ASSERT_TRUE(c.Report(c.w1, lease, 3).ok());
  ASSERT_TRUE(c.plane->Pause(1, c.now).ok());
  EXPECT_EQ(c.Report(c.w1, lease, 3).code(), Code::kCancelled);
  EXPECT_EQ(c.plane->Drop("job.1/weights", c.now).code(), Code::kFailedPrecondition);
  c.SetLsns(c.s1, 0, 100, 100, 100);
  c.Pass(1500, All());
  c.SetLsns(c.s1, 0, 50, 50, 50);
  ASSERT_TRUE(c.Register(c.s1).ok());
  ASSERT_TRUE(c.plane->Accept(0, c.now).ok());
  EXPECT_EQ(c.Job().partitions[0].recorded, 0u);
  EXPECT_EQ(c.Job().partitions[0].producer, lease.producer);
  ASSERT_TRUE(c.plane->Cancel(1, c.now).ok());
  EXPECT_EQ(Shown(1)["state"], "cancelled");
  EXPECT_EQ(c.plane->Pause(1, c.now).code(), Code::kFailedPrecondition);
  EXPECT_EQ(c.plane->Resume(1, c.now).code(), Code::kFailedPrecondition);
  EXPECT_EQ(c.plane->Pause(2, c.now).code(), Code::kNotFound);
  EXPECT_EQ(c.plane->Resume(2, c.now).code(), Code::kNotFound);
}

TEST_F(JobControlTest, JobsShareTheWorkers) {
  Submit(FakeCluster::JobText(1, 8, 0, "first"));
  Submit(FakeCluster::JobText(1, 8, 0, "second"));
  EXPECT_NE(c.plane->Open("first.1/weights")->id, c.plane->Open("second.2/weights")->id);
  std::map<JobId, int> held;
  for (const auto& lease : c.Lease(c.w1, 4)) ++held[lease.job];
  EXPECT_EQ(held[1], 2);
  EXPECT_EQ(held[2], 2);
  for (const auto& lease : c.Lease(c.w2, 3)) ++held[lease.job];
  EXPECT_GE(held[1], 3);
  EXPECT_GE(held[2], 3);
}

TEST_F(JobControlTest, OneWorkerBringsTwoJobsForwardAtTheSameTime) {
  Submit(FakeCluster::JobText(2, 4, 0, "first"));
  Submit(FakeCluster::JobText(2, 4, 0, "second"));
  for (int i = 0; i < 8; ++i) {
    const auto lease = c.Lease(c.w1);
    ASSERT_EQ(lease.size(), 1u);
    ASSERT_TRUE(c.Done(c.w1, lease[0]).ok());
    const auto one = Shown(1)["examples"].get<int64_t>(), two = Shown(2)["examples"].get<int64_t>();
    EXPECT_LE(std::abs(one - two), 100) << "at most one partition apart";
  }
  EXPECT_EQ(c.Job(1).pass, 1u);
  EXPECT_EQ(c.Job(2).pass, 1u);
}

TEST_F(JobControlTest, PartitionsComeInTheOrderOfSeedAndPass) {
  json text = json::parse(FakeCluster::JobText(2, 8, 3));
  const TrainPolicy policy{.seed = 5, .shuffle = true};
  text["policy"] = policy;
  Submit(text.dump());
  for (uint32_t pass : {0u, 1u}) {
    const auto expected = PartitionOrder(policy, pass, 8);
    const auto answer = c.plane->Lease(c.w1.id, c.w1.session, 8, c.now);
    ASSERT_EQ(answer->leases.size(), 8u);
    const json shown = Shown(1)["leases"];
    for (uint32_t i = 0; i < 8; ++i) {
      EXPECT_EQ(answer->leases[i].partition, expected[i]);
      EXPECT_EQ(answer->leases[i].position, i);
      EXPECT_EQ(shown[expected[i]]["position"], i);
    }
    for (uint32_t i = 0; i < 8; ++i) {
      const LeaseToken token = c.Job().partitions[i].token;
      ASSERT_TRUE(c.Done(c.w1, {.job = 1, .token = token}).ok());
    }
  }
  EXPECT_EQ(c.Lease(c.w1)[0].phase, JobPhase::kEvaluateTrain);
  EXPECT_EQ(Shown(1)["pass"], 2) << "the last pass, also while it is evaluated";
}

TEST_F(JobControlTest, PartitionsAreShown) {
  Submit(FakeCluster::JobText(1, 2));
  const auto lease = c.Lease(c.w1)[0];
  c.Pass(1000, All());
  ASSERT_TRUE(c.Report(c.w1, lease, 3).ok());
  c.Pass(1000, All());
  const json partitions = Shown(1)["leases"];
  EXPECT_EQ(partitions[0]["state"], "leased");
  EXPECT_EQ(partitions[0]["worker"], "worker-1");
  EXPECT_EQ(partitions[0]["recorded"], 3);
  EXPECT_EQ(partitions[0]["examples"], 30);
  EXPECT_DOUBLE_EQ(partitions[0]["held_seconds"].get<double>(), 2.0);
  EXPECT_EQ(partitions[1]["state"], "free");
  EXPECT_TRUE(partitions[1]["held_seconds"].is_null());
}

TEST_F(JobControlTest, AWrongPolicyIsRefused) {
  json text = json::parse(FakeCluster::JobText(1, 1));
  text["policy"] = {{"shuffle", "yes"}};
  EXPECT_EQ(c.plane->Submit(text.dump(), c.now).status().code(), Code::kInvalidArgument);
  text["policy"] = {{"evaluate_every", 1}, {"metric", "luck"}};
  EXPECT_THAT(c.plane->Submit(text.dump(), c.now).status().message(), HasSubstr("metric is 'luck'"));
  text["policy"] = {{"patience", 1}};
  EXPECT_THAT(c.plane->Submit(text.dump(), c.now).status().message(), HasSubstr("evaluate_every"));
  text["policy"] = {{"evaluate_every", 1}, {"patience", 1}};
  EXPECT_THAT(c.plane->Submit(text.dump(), c.now).status().message(), HasSubstr("test data"));
  text["policy"] = 3;
  EXPECT_THAT(c.plane->Submit(text.dump(), c.now).status().message(), HasSubstr("policy"));
}

}  // namespace
}  // namespace penstock
