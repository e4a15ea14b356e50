// ssp and sync jobs through the control plane: clocks with leases, seats and rounds, restarts, rewinds,
// pauses.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/unit/scheduler/fake_cluster.h"

namespace penstock {
namespace {

using Kind = SyncAction::Kind;

class SyncJobsTest : public testing::Test, public FakeCluster {
 protected:
  void SetUp() override {
    Up();
    for (FakeNode* worker : {&w1, &w2}) ASSERT_TRUE(Register(*worker).ok());
  }

  void Submit(const std::string& text) {
    const auto job = plane->Submit(text, now);
    ASSERT_TRUE(job.ok()) << job.status().ToString();
  }

  LeaseToken Seat(FakeNode& worker) {
    const auto answer = plane->Lease(worker.id, worker.session, 1, now);
    EXPECT_TRUE(answer.ok()) << answer.status().ToString();
    return answer.ok() && answer->leases.size() == 1 ? answer->leases[0].seat : 0;
  }
  SyncAction Ask(FakeNode& worker, LeaseToken seat, const SyncAction& did = {}) {
    SyncQuestion question{.job = 1, .seat = seat};
    if (did.kind == Kind::kWork)
      question.finished = {.round = did.round, .stream = did.stream, .tally = {.examples = 5, .loss_sum = 1}};
    if (did.kind == Kind::kCommit) question.committed = did.round;
    const auto answer = plane->Minibatch(worker.id, worker.session, question, now);
    EXPECT_TRUE(answer.ok()) << answer.status().ToString();
    if (!answer.ok()) return {};
    if (answer->action.kind == Kind::kWork) {
      EXPECT_NE(answer->producer, 0u);
    }
    return answer->action;
  }
  // Works until there is something else to do.
  SyncAction Work(FakeNode& worker, LeaseToken seat, SyncAction did = {}) {
    for (int i = 0; i < 100; ++i) {
      did = Ask(worker, seat, did);
      if (did.kind != Kind::kWork) return did;
    }
    ADD_FAILURE() << "work without end";
    return did;
  }
};

TEST_F(SyncJobsTest, ClocksFollowTheLeases) {
  Submit(JobTextWith("ssp", 1, 3));
  const auto a = Lease(w1)[0], b = Lease(w2)[0];
  const auto clock = [&](FakeNode& worker, const Given& lease, uint64_t at) {
    const auto minimum = plane->Clock(worker.id, worker.session, 1, lease.token, at, now);
    EXPECT_TRUE(minimum.ok()) << minimum.status().ToString();
    return minimum.ok() ? *minimum : 0;
  };
  EXPECT_EQ(clock(w1, a, 4), 0u);
  EXPECT_EQ(clock(w2, b, 2), 2u);
  EXPECT_EQ(clock(w1, a, 5), 2u);
  const auto shown = plane->Inspect("clocks", "1", now);
  ASSERT_TRUE(shown.ok());
  EXPECT_EQ((*shown)["minimum"], 2);
  EXPECT_EQ((*shown)["staleness"], 3);
  EXPECT_EQ((*shown)["workers"][0]["clock"], 5);
  // With its lease the slow worker's clock is gone.
  ASSERT_TRUE(Done(w2, b).ok());
  EXPECT_EQ(clock(w1, a, 5), 5u);
  EXPECT_FALSE(plane->Clock(w2.id, w2.session, 1, b.token, 9, now).ok());
  const auto again = plane->Lease(w2.id, w2.session, 1, now);
  ASSERT_TRUE(again.ok());
  EXPECT_EQ(again->leases.at(0).clock, 5u) << "it joins at the minimum";
}

TEST_F(SyncJobsTest, TheClockOfALeaseThatWaitsForLogsHoldsNobodyBack) {
  Submit(JobTextWith("ssp", 1, 3));
  const auto a = Lease(w1)[0], b = Lease(w2)[0];
  const auto minimum = [&](uint64_t at) { return *plane->Clock(w1.id, w1.session, 1, a.token, at, now); };
  const auto report_b = [&](bool pushed) {
    const ReportedProgress line{.job = 1, .token = b.token, .pushed = pushed, .clock = 2};
    EXPECT_TRUE(plane->Report(w2.id, w2.session, {line}, now)->front().ok());
  };
  report_b(false);
  EXPECT_EQ(minimum(4), 2u);
  report_b(true);
  EXPECT_EQ(minimum(5), 5u);
  report_b(false);  // a server lost some of it
  EXPECT_EQ(minimum(9), 5u);
  report_b(true);
  EXPECT_EQ(minimum(9), 9u);
}

TEST_F(SyncJobsTest, AfterARestartClocksAreRebuiltFromReports) {
  Submit(JobTextWith("ssp", 1, 3));
  const auto a = Lease(w1)[0], b = Lease(w2)[0];
  Start();
  for (FakeNode* server : {&s1, &s2}) ASSERT_TRUE(Beat(*server).ok());
  EXPECT_EQ(*plane->Clock(w1.id, w1.session, 1, a.token, 7, now), 0u) << "worker 2 has not said its clock";
  EXPECT_TRUE(Lease(w1).empty()) << "nobody joins before the minimum is known";
  ReportedProgress line{.job = 1, .token = b.token, .clock = 6};
  ASSERT_TRUE(plane->Report(w2.id, w2.session, {line}, now)->front().ok());
  EXPECT_EQ(*plane->Clock(w1.id, w1.session, 1, a.token, 7, now), 6u);
  EXPECT_EQ(Lease(w1).size(), 1u);
}

TEST_F(SyncJobsTest, RoundsFromTheFirstToTheLast) {
  Submit(JobTextWith("sync", 2, 2));
  const LeaseToken a = Seat(w1), b = Seat(w2);
  ASSERT_TRUE(SyncJobs::IsSeat(a) && SyncJobs::IsSeat(b));
  EXPECT_EQ(Seat(w1), 0u) << "as many seats as streams";
  for (uint64_t round = 1; round <= 2; ++round) {
    const SyncAction x = Ask(w1, a), y = Ask(w2, b);
    EXPECT_EQ(x.round, round);
    EXPECT_EQ(Ask(w1, a, x).kind, Kind::kWait);
    EXPECT_EQ(Job().round, round - 1);
    const SyncAction commit = Ask(w2, b, y);
    EXPECT_EQ(commit, (SyncAction{.kind = Kind::kCommit, .round = round, .examples = 10}));
    EXPECT_EQ(Job().round, round) << "journaled before anybody commits";
    EXPECT_EQ(Ask(w1, a).kind, Kind::kWait);
    Ask(w2, b, commit);
  }
  EXPECT_EQ(Job().pass, 1u);
  EXPECT_EQ(Job().trained.examples, 20u);
  EXPECT_EQ(Ask(w1, a).kind, Kind::kEnd);
  const LeaseToken c = Seat(w1);
  ASSERT_NE(c, 0u);
  SyncAction did;
  for (int round = 0; round < 2; ++round) did = Work(w1, c, did);
  EXPECT_EQ(did, (SyncAction{.kind = Kind::kCommit, .round = 4, .examples = 10}));
  EXPECT_EQ(Ask(w1, c, did).kind, Kind::kEnd);
  EXPECT_EQ(Job().state, JobState::kDone);
  EXPECT_EQ(Job().trained.examples, 40u);
  EXPECT_EQ(log.Replay().ToJson(), plane->state().ToJson());
}

TEST_F(SyncJobsTest, ADeadWorkersMinibatchIsGivenToAnother) {
  Submit(JobTextWith("sync", 1, 2));
  const LeaseToken a = Seat(w1), b = Seat(w2);
  const SyncAction x = Ask(w1, a), y = Ask(w2, b);
  EXPECT_EQ(Ask(w2, b, y).kind, Kind::kWait);
  ASSERT_TRUE(Register(w1).ok());  // its next life: at once
  EXPECT_EQ(Ask(w2, b), x);
  EXPECT_EQ(Ask(w1, a).kind, Kind::kEnd);
  const LeaseToken c = Seat(w1);
  ASSERT_NE(c, 0u);
  Pass(4000, {&s1, &s2, &w1});  // worker 2 is dead by then
  EXPECT_EQ(Ask(w1, c).stream, x.stream);
}

TEST_F(SyncJobsTest, ARestartOfTheSchedulerCommitsAgain) {
  Submit(JobTextWith("sync", 1, 2));
  const LeaseToken a = Seat(w1);
  const SyncAction commit = Work(w1, a);
  ASSERT_EQ(commit.kind, Kind::kCommit);
  Start();
  EXPECT_EQ(Ask(w1, a, commit).kind, Kind::kEnd) << "the seat is of an earlier life";
  const LeaseToken b = Seat(w1);
  EXPECT_NE(b, a);
  EXPECT_EQ(Ask(w1, b), commit);
  EXPECT_EQ(Ask(w1, b, commit).round, 2u);
}

TEST_F(SyncJobsTest, PausedAndCancelledJobsTakeTheSeatsBack) {
  Submit(JobTextWith("sync", 1, 2));
  const LeaseToken a = Seat(w1);
  const SyncAction x = Ask(w1, a);
  ASSERT_TRUE(plane->Pause(1, now).ok());
  EXPECT_EQ(Ask(w1, a, x).kind, Kind::kEnd);
  EXPECT_EQ(Seat(w1), 0u);
  ASSERT_TRUE(plane->Resume(1, now).ok());
  const LeaseToken b = Seat(w1);
  const SyncAction y = Ask(w1, b);
  EXPECT_NE(y.stream, x.stream) << "what was finished counts";
  ASSERT_TRUE(plane->Cancel(1, now).ok());
  EXPECT_EQ(Ask(w1, b, y).kind, Kind::kEnd);
  EXPECT_EQ(Seat(w2), 0u);
}

TEST_F(SyncJobsTest, AcceptedLossBeginsThePassAgain) {
  Submit(JobTextWith("sync", 1, 2));
  const LeaseToken a = Seat(w1);
  const SyncAction commit = Work(w1, a);
  Ask(w1, a, commit);
  ASSERT_EQ(Job().round, 1u);
  s1.lines.begin()->second.damage = "a hole";
  ASSERT_TRUE(Beat(s1).ok());
  ASSERT_TRUE(plane->Accept(s1.lines.begin()->first, now).ok());
  EXPECT_EQ(Job().round, 0u);
  EXPECT_EQ(Ask(w1, a).kind, Kind::kEnd);
}

TEST_F(SyncJobsTest, AWorkersPermanentErrorFailsTheJob) {
  Submit(JobTextWith("sync", 1, 2));
  const LeaseToken a = Seat(w1);
  const ReportedProgress lives{.job = 1, .token = a};
  EXPECT_TRUE(plane->Report(w1.id, w1.session, {lives}, now)->front().ok());
  ReportedProgress busy{.job = 1, .token = a, .error = Unavailable("later")};
  EXPECT_TRUE(plane->Report(w1.id, w1.session, {busy}, now)->front().ok());
  EXPECT_EQ(Job().state, JobState::kRunning);
  const LeaseToken b = Seat(w1);
  ReportedProgress wrong{.job = 1, .token = b, .error = InvalidArgument("data: line 7 is wrong")};
  EXPECT_TRUE(plane->Report(w1.id, w1.session, {wrong}, now)->front().ok());
  EXPECT_EQ(Job().state, JobState::kFailed);
  EXPECT_THAT(Job().error, testing::HasSubstr("line 7"));
}

TEST_F(SyncJobsTest, SubmissionsThatContradictThemselvesAreRefused) {
  const auto refused = [&](const std::string& consistency, auto edit) {
    auto json = nlohmann::json::parse(JobTextWith(consistency, 1, 2));
    edit(json);
    return std::string(plane->Submit(json.dump(), now).status().message());
  };
  EXPECT_THAT(refused("ssp", [](auto& j) { j["policy"]["staleness"] = 0; }), testing::HasSubstr("staleness"));
  EXPECT_THAT(refused("sync", [](auto& j) { j["policy"]["rounds"] = 0; }), testing::HasSubstr("rounds"));
  EXPECT_THAT(refused("ssp", [](auto& j) { j["tables"][0]["accumulate"] = true; }),
              testing::HasSubstr("accumulates"));
  EXPECT_THAT(refused("async", [](auto& j) { j["policy"] = {{"rounds", 2}}; }), testing::HasSubstr("rounds"));
}

}  // namespace
}  // namespace penstock
