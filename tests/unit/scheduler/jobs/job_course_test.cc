// Evaluations between passes, their history, and the early end.
#include "scheduler/jobs/job_course.h"

#include <gmock/gmock.h>

#include <cmath>
#include <limits>

#include "model/metrics.h"
#include "tests/unit/scheduler/fake_cluster.h"

namespace penstock {
namespace {

using nlohmann::json;
using ::testing::AllOf;
using ::testing::HasSubstr;

PassMetrics WithLoss(uint32_t pass, json loss) {
  return {.pass = pass, .train = nullptr, .test = {{"loss", loss}}};
}

TEST(BestPassTest, IsTheOneThatNoLaterOneImprovesOn) {
  const std::vector<PassMetrics> history{WithLoss(1, 0.5), WithLoss(2, 0.4), WithLoss(3, 0.45),
                                         WithLoss(4, 0.395)};
  BestPass best = FindBest(history, {.metric = "loss"});
  EXPECT_EQ(best.pass, 4u);
  EXPECT_EQ(best.since, 0u);
  best = FindBest(history, {.metric = "loss", .min_delta = 0.01});
  EXPECT_EQ(best.pass, 2u) << "0.005 is no improvement";
  EXPECT_EQ(best.since, 2u);
  EXPECT_EQ(best.value, 0.4);
}

TEST(BestPassTest, MoreIsBetterForAccuracyAndWhatIsNoNumberIsNone) {
  std::vector<PassMetrics> history{WithLoss(1, nullptr), WithLoss(2, 0.1)};
  EXPECT_EQ(FindBest(history, {.metric = "loss"}).pass, 2u);
  EXPECT_EQ(FindBest(history, {.metric = "accuracy"}).pass, 0u);
  EXPECT_EQ(FindBest(history, {.metric = "accuracy"}).since, 2u);
  history[0].test = {{"accuracy", 0.8}};
  history[1].test = {{"accuracy", 0.7}};
  EXPECT_EQ(FindBest(history, {.metric = "accuracy"}).pass, 1u);
  EXPECT_EQ(FindBest({}, {}).pass, 0u);
  history = {WithLoss(1, std::nan("")), WithLoss(2, 0.3),
             WithLoss(3, -std::numeric_limits<double>::infinity())};
  EXPECT_EQ(FindBest(history, {.metric = "loss"}).pass, 2u);
}

class CourseTest : public ::testing::Test {
 protected:
  void SetUp() override {
    c.Up();
    ASSERT_TRUE(c.Register(c.w1).ok());
  }
  void Submit(uint32_t passes, uint32_t tests, const TrainPolicy& policy, bool final_evaluation = true) {
    json text = json::parse(FakeCluster::JobText(passes, 2, tests));
    text["policy"] = policy;
    if (!final_evaluation) text["evaluate_train"] = text["evaluate_test"] = false;
    const auto job = c.plane->Submit(text.dump(), c.now);
    ASSERT_TRUE(job.ok()) << job.status().ToString();
  }
  // A partition's result with this mean loss.
  static std::string Result(double loss) {
    return json{{"examples", 10},    {"loss_sum", 10 * loss}, {"correct", 7},
                {"weights_l1", 0.0}, {"weights_l2", 0.0},     {"histogram", json::array()}}
        .dump();
  }
  // All partitions of the present phase; the losses of an evaluation are `loss` on average.
  void Stretch(JobPhase phase, uint32_t pass, double loss = 0) {
    ASSERT_EQ(c.Job().state, JobState::kRunning);
    const auto leases = c.Lease(c.w1, 8);
    ASSERT_FALSE(leases.empty());
    for (const auto& lease : leases) {
      ASSERT_EQ(lease.phase, phase);
      ASSERT_EQ(lease.pass, pass);
      const double its = loss + (leases.size() > 1 ? (lease.partition == 0 ? 0.05 : -0.05) : 0);
      ASSERT_TRUE(c.Report(c.w1, lease, 10, true, {}, Result(its)).ok());
    }
  }
  json Shown() { return *c.plane->Inspect("job", "1", c.now); }
  FakeCluster c;
};

TEST_F(CourseTest, EveryPassIsEvaluatedAndTheHistoryIsKept) {
  Submit(3, 2, {.evaluate_every = 1});
  const double losses[] = {0.5, 0.3, 0.4};
  for (uint32_t pass = 0; pass < 3; ++pass) {
    Stretch(JobPhase::kTrain, pass);
    EXPECT_TRUE(Shown()["evaluations"]["test"].empty());
    Stretch(JobPhase::kEvaluateTest, pass, losses[pass]);
  }
  Stretch(JobPhase::kEvaluateTrain, 2, 0.2);
  Stretch(JobPhase::kEvaluateTest, 2, 0.4);
  EXPECT_EQ(c.Job().state, JobState::kDone);
  const json job = Shown();
  ASSERT_EQ(job["history"].size(), 3u);
  for (uint32_t pass = 0; pass < 3; ++pass) {
    EXPECT_EQ(job["history"][pass]["pass"], pass + 1);
    EXPECT_NEAR(job["history"][pass]["test"]["loss"].get<double>(), losses[pass], 1e-9);
    EXPECT_EQ(job["history"][pass]["test"]["examples"], 20);
    EXPECT_NEAR(job["history"][pass]["test"]["accuracy"].get<double>(), 0.7, 1e-9);
    EXPECT_EQ(job["history"][pass]["train"]["examples"], 200);
    EXPECT_NEAR(job["history"][pass]["train"]["loss"].get<double>(), 1.0 / 200, 1e-9);
  }
  EXPECT_EQ(job["best_pass"], 2);
  EXPECT_EQ(job["stopped"], "");
  EXPECT_EQ(job["evaluations"]["test"].size(), 2u) << "of the final evaluation alone";
  EXPECT_EQ(job["evaluations"]["train"].size(), 2u);
  EXPECT_EQ(c.log.Replay().ToJson(), c.plane->state().ToJson());
}

TEST_F(CourseTest, EverySecondPassAndTheLast) {
  Submit(3, 1, {.evaluate_every = 2}, /*final_evaluation=*/false);
  Stretch(JobPhase::kTrain, 0);
  Stretch(JobPhase::kTrain, 1);
  Stretch(JobPhase::kEvaluateTest, 1, 0.5);
  Stretch(JobPhase::kTrain, 2);
  Stretch(JobPhase::kEvaluateTest, 2, 0.4);
  EXPECT_EQ(c.Job().state, JobState::kDone);
  EXPECT_EQ(Shown()["history"].size(), 2u);
  EXPECT_EQ(Shown()["evaluations"]["test"].size(), 1u) << "the last one is also the job's";
}

TEST_F(CourseTest, TheWeightsOfEachBestPassAreKeptAndEvaluatedAtTheEnd) {
  Submit(3, 2, {.evaluate_every = 1, .keep_best = true});
  const double losses[] = {0.5, 0.3, 0.4};
  for (uint32_t pass = 0; pass < 3; ++pass) {
    Stretch(JobPhase::kTrain, pass);
    Stretch(JobPhase::kEvaluateTest, pass, losses[pass]);
    if (pass == 2) break;
    const auto producers = c.plane->state().data().next_producer;
    Stretch(JobPhase::kKeepBest, pass);
    EXPECT_EQ(c.plane->state().data().next_producer, producers + c.Job().train_partitions);
  }
  Stretch(JobPhase::kEvaluateTrain, 2, 0.2);
  Stretch(JobPhase::kEvaluateTest, 2, 0.3);
  EXPECT_EQ(c.Job().state, JobState::kDone);
  EXPECT_EQ(c.Job().trained.examples, 3u * 200) << "copies train nothing";
  EXPECT_EQ(Shown()["best_pass"], 2);
  EXPECT_EQ(c.log.Replay().ToJson(), c.plane->state().ToJson());
}

TEST_F(CourseTest, WithoutTestDataTheTrainingDataIsEvaluated) {
  Submit(1, 0, {.evaluate_every = 1});
  Stretch(JobPhase::kTrain, 0);
  Stretch(JobPhase::kEvaluateTrain, 0, 0.25);
  EXPECT_EQ(c.Job().state, JobState::kDone);
  EXPECT_NEAR(Shown()["history"][0]["train"]["loss"].get<double>(), 0.25, 1e-9);
  EXPECT_TRUE(Shown()["history"][0]["test"].is_null());
}

TEST_F(CourseTest, TrainingEndsEarly) {
  Submit(10, 1, {.evaluate_every = 1, .patience = 2});
  const double losses[] = {0.5, 0.4, 0.41, 0.42};
  for (uint32_t pass = 0; pass < 4; ++pass) {
    Stretch(JobPhase::kTrain, pass);
    Stretch(JobPhase::kEvaluateTest, pass, losses[pass]);
  }
  Stretch(JobPhase::kEvaluateTrain, 3, 0.3);
  c.Start();  // what was decided is journaled
  for (FakeNode* node : {&c.s1, &c.s2, &c.w1}) ASSERT_TRUE(c.Beat(*node).ok());
  Stretch(JobPhase::kEvaluateTest, 3, 0.42);
  EXPECT_EQ(c.Job().state, JobState::kDone);
  EXPECT_THAT(Shown()["stopped"],
              HasSubstr("2 evaluations did not improve on the loss 0.400000 after pass 2"));
  EXPECT_EQ(Shown()["best_pass"], 2);
  EXPECT_EQ(Shown()["examples"], 4 * 200);
}

TEST_F(CourseTest, ALossThatIsNotFinitePassesByBetweenPassesAndFailsTheJobAtItsEnd) {
  const double nan = std::nan("");
  Submit(2, 1, {.evaluate_every = 1, .keep_best = true});
  Stretch(JobPhase::kTrain, 0);
  Stretch(JobPhase::kEvaluateTest, 0, nan);
  Stretch(JobPhase::kTrain, 1);
  Stretch(JobPhase::kEvaluateTest, 1, 0.4);
  EXPECT_EQ(Shown()["best_pass"], 2);
  Stretch(JobPhase::kKeepBest, 1);
  Stretch(JobPhase::kEvaluateTrain, 1, 0.2);
  Stretch(JobPhase::kEvaluateTest, 1, nan);
  EXPECT_EQ(c.Job().state, JobState::kFailed);
  EXPECT_THAT(c.Job().error,
              AllOf(HasSubstr("the loss on the held-out data is not finite"), HasSubstr("data.scale")));
}

TEST_F(CourseTest, AResultThatIsNoEvaluationFailsTheJob) {
  Submit(2, 1, {.evaluate_every = 1});
  Stretch(JobPhase::kTrain, 0);
  const auto lease = c.Lease(c.w1)[0];
  ASSERT_TRUE(c.Report(c.w1, lease, 1, true, {}, R"({"loss":0.5})").ok());
  EXPECT_EQ(c.Job().state, JobState::kFailed);
  EXPECT_THAT(c.Job().error, HasSubstr("evaluation"));
}

TEST_F(CourseTest, ACancelledEvaluationLeavesNoPartsOfIt) {
  Submit(2, 2, {.evaluate_every = 1});
  Stretch(JobPhase::kTrain, 0);
  const auto lease = c.Lease(c.w1)[0];
  ASSERT_TRUE(c.Report(c.w1, lease, 1, true, {}, Result(0.5)).ok());
  ASSERT_TRUE(c.plane->Cancel(1, c.now).ok());
  EXPECT_TRUE(Shown()["evaluations"]["test"].empty());
  EXPECT_TRUE(Shown()["history"].empty());
}

}  // namespace
}  // namespace penstock
