// Jobs: leases, tokens, takeover, passes, failure, cancel, rewind.
#include <gmock/gmock.h>

#include "tests/unit/scheduler/fake_cluster.h"

namespace penstock {
namespace {

using ::testing::HasSubstr;

class LeaseTest : public ::testing::Test {
 protected:
  void SetUp() override {
    c.Up();
    ASSERT_TRUE(c.Register(c.w1).ok());
    ASSERT_TRUE(c.Register(c.w2).ok());
  }
  JobId Submit(uint32_t passes, uint32_t partitions, uint32_t tests = 0, const std::string& name = "job") {
    auto job = c.plane->Submit(FakeCluster::JobText(passes, partitions, tests, name), c.now);
    EXPECT_TRUE(job.ok()) << job.status().ToString();
    return job.ok() ? *job : 0;
  }
  std::vector<FakeNode*> All() { return {&c.s1, &c.s2, &c.w1, &c.w2}; }
  // Time passes while `worker` reports its lease.
  void PassWithReports(int64_t ms, FakeNode& worker, const FakeCluster::Given& lease) {
    for (int64_t i = 0; i < ms; i += 500) {
      c.Pass(500, All());
      ASSERT_TRUE(c.Report(worker, lease, lease.begin).ok());
    }
  }
  // The loss of shard 0, but not the grant that follows.
  void AcceptAlone() {
    c.log.takes = 1;
    EXPECT_EQ(c.plane->Accept(0, c.now).code(), Code::kOverloaded);
    c.log.takes = -1;
    ASSERT_TRUE(c.plane->data().shards[0].held);
  }
  FakeCluster c;
};

TEST_F(LeaseTest, GivesPartitionsInOrderAndAJobMakesItsTables) {
  Submit(1, 3);
  EXPECT_TRUE(c.plane->Open("job.1/weights").ok());
  const auto first = c.Lease(c.w1, 2);
  ASSERT_EQ(first.size(), 2u);
  EXPECT_EQ(first[0].partition, 0u);
  EXPECT_EQ(first[1].partition, 1u);
  EXPECT_NE(first[0].producer, first[1].producer);
  const auto second = c.Lease(c.w2, 2);
  ASSERT_EQ(second.size(), 1u);
  EXPECT_EQ(second[0].partition, 2u);
  EXPECT_TRUE(c.Lease(c.w2).empty());
  EXPECT_GT(c.plane->Lease(c.w2.id, c.w2.session, 1, c.now)->retry_after_ms, 0u);
}

TEST_F(LeaseTest, ASilentWorkersPartitionIsTakenOverUnderTheSameProducerBehindWhatIsRecorded) {
  Submit(1, 1);
  const auto lease = c.Lease(c.w1)[0];
  ASSERT_TRUE(c.Report(c.w1, lease, 5).ok());
  c.Pass(c.options.leases.lease_ms - 200, All());
  EXPECT_TRUE(c.Lease(c.w2).empty());
  c.Pass(400, All());
  const auto next = c.Lease(c.w2);
  ASSERT_EQ(next.size(), 1u);
  EXPECT_EQ(next[0].producer, lease.producer);
  EXPECT_EQ(next[0].begin, 5u);
  EXPECT_NE(next[0].token, lease.token);
  EXPECT_EQ(c.Report(c.w1, lease, 6).code(), Code::kFailedPrecondition) << "an old token";
  EXPECT_EQ(c.Done(c.w1, lease).code(), Code::kFailedPrecondition);
  EXPECT_EQ(c.Report(c.w1, next[0], 6).code(), Code::kFailedPrecondition) << "another worker's token";
  EXPECT_EQ(c.Job().partitions[0].recorded, 5u);
  ASSERT_TRUE(c.Done(c.w2, next[0], 9).ok());
  EXPECT_EQ(c.Job().state, JobState::kDone);
  EXPECT_EQ(c.Job().trained.examples, 50u + 90u) << "both leases' examples";
}

TEST_F(LeaseTest, ReportsKeepALeaseAlive) {
  Submit(1, 1);
  const auto lease = c.Lease(c.w1)[0];
  PassWithReports(3 * c.options.leases.lease_ms, c.w1, lease);
  EXPECT_TRUE(c.Lease(c.w2).empty());
}

TEST_F(LeaseTest, AFasterWorkerWithNothingToDoTakesThePartitionOfASlowerOnce) {
  Submit(1, 2);
  const auto slow = c.Lease(c.w1)[0];
  const auto fast = c.Lease(c.w2)[0];
  c.Pass(1000, All());
  ASSERT_TRUE(c.Done(c.w2, fast, 100).ok());
  for (uint64_t recorded = 1; recorded <= 4; ++recorded) {
    EXPECT_TRUE(c.Lease(c.w2).empty()) << "too young to be called slow, with " << recorded << " recorded";
    c.Pass((c.options.leases.slow_ms - 1000) / 4, All());
    ASSERT_TRUE(c.Report(c.w1, slow, recorded).ok());
  }
  const auto taken = c.Lease(c.w2);
  ASSERT_EQ(taken.size(), 1u);
  EXPECT_EQ(taken[0].partition, slow.partition);
  EXPECT_EQ(taken[0].producer, slow.producer);
  EXPECT_EQ(taken[0].begin, 4u) << "behind what is recorded";
  EXPECT_EQ(c.Report(c.w1, slow, 5).code(), Code::kFailedPrecondition);
  // The partition is not taken a second time, however slow its new holder is.
  c.Pass(3 * c.options.leases.slow_ms, All());
  EXPECT_TRUE(c.Lease(c.w1).empty());
  ASSERT_TRUE(c.Done(c.w2, taken[0], 100).ok());
  EXPECT_EQ(c.Job().state, JobState::kDone);
}

TEST_F(LeaseTest, AWorkerOfEqualSpeedKeepsItsPartition) {
  Submit(1, 2);
  const auto longer = c.Lease(c.w1)[0];
  const auto shorter = c.Lease(c.w2)[0];
  c.Pass(1000, All());
  ASSERT_TRUE(c.Report(c.w1, longer, 100).ok());
  ASSERT_TRUE(c.Done(c.w2, shorter, 100).ok());
  for (uint64_t recorded = 200; recorded <= 900; recorded += 100) {
    c.Pass(1000, All());
    ASSERT_TRUE(c.Report(c.w1, longer, recorded).ok());
    EXPECT_TRUE(c.Lease(c.w2).empty()) << recorded;
  }
}

// Tables of level memory are logged seconds later, whoever works on them.
TEST_F(LeaseTest, WaitingForLogsIsNoSlowness) {
  Submit(1, 3);
  const auto report = [&](FakeNode& worker, const FakeCluster::Given& lease, uint64_t answered, bool pushed) {
    const ReportedProgress line{
        .job = lease.job, .token = lease.token, .answered = answered, .pushed = pushed};
    const auto answer = c.plane->Report(worker.id, worker.session, {line}, c.now);
    ASSERT_TRUE(answer.ok() && answer->front().ok());
  };
  const auto first = c.Lease(c.w1)[0];
  const auto second = c.Lease(c.w2)[0];
  c.Pass(1000, All());
  report(c.w2, second, 100, true);
  const auto third = c.Lease(c.w2);
  ASSERT_EQ(third.size(), 1u) << "it may have another lease meanwhile";
  for (uint64_t answered = 100; answered <= 800; answered += 100) {  // as fast, and nothing is logged
    report(c.w1, first, answered, false);
    report(c.w2, second, 100, true);
    report(c.w2, third[0], 100, answered > 100);
    EXPECT_TRUE(c.Lease(c.w2).empty()) << answered;
    c.Pass(1000, All());
  }
  report(c.w1, first, 800, true);
  c.Pass(2000, All());
  EXPECT_TRUE(c.Lease(c.w2).empty());
  for (int i = 0; i < 8; ++i) {  // lost before it was logged, and worked off again
    report(c.w1, first, 0, false);
    report(c.w2, second, 100, true);
    report(c.w2, third[0], 100, true);
    c.Pass(1000, All());
  }
  ASSERT_TRUE(c.Done(c.w1, first, 800).ok());
  ASSERT_TRUE(c.Done(c.w2, second, 100).ok());
  ASSERT_TRUE(c.Done(c.w2, third[0], 100).ok());
  EXPECT_EQ(c.Job().state, JobState::kDone);
}

TEST_F(LeaseTest, ANewSessionEndsItsLeasesAtOnceAndKeepsUnjournaledProgress) {
  Submit(1, 1);
  const auto lease = c.Lease(c.w1)[0];
  ASSERT_TRUE(c.Report(c.w1, lease, 7).ok());
  FakeNode old = c.w1;
  c.w1.id = 0;  // a worker without a directory is known by its name
  ASSERT_TRUE(c.Register(c.w1).ok());
  EXPECT_EQ(c.w1.id, old.id);
  EXPECT_EQ(c.Report(old, lease, 8).code(), Code::kFailedPrecondition);
  const auto next = c.Lease(c.w1);
  ASSERT_EQ(next.size(), 1u);
  EXPECT_EQ(next[0].begin, 7u);
}

TEST_F(LeaseTest, ProgressIsJournaledSeldomAndDoneBeforeItIsAnswered) {
  Submit(1, 2);
  const auto a = c.Lease(c.w1)[0];
  const auto b = c.Lease(c.w2)[0];
  for (uint64_t i = 1; i <= 20; ++i) {  // two seconds
    ASSERT_TRUE(c.Report(c.w1, a, i).ok());
    ASSERT_TRUE(c.Report(c.w2, b, i).ok());
    c.Pass(100, All());
  }
  EXPECT_GE(c.log.Count("record_progress"), 3u);
  EXPECT_LE(c.log.Count("record_progress"), 5u) << "twice a second, for both in one";
  ASSERT_TRUE(c.Done(c.w1, a, 30).ok());
  EXPECT_EQ(c.log.Replay().FindJob(1)->partitions[0].state, PartitionState::kDone);
  EXPECT_EQ(c.log.Replay().FindJob(1)->partitions[0].recorded, 30u);
  EXPECT_TRUE(c.Done(c.w1, a, 30).ok()) << "the answer may have been lost";
  c.log.full = true;
  EXPECT_EQ(c.Done(c.w2, b, 30).code(), Code::kOverloaded);
  EXPECT_EQ(c.Job().partitions[1].state, PartitionState::kLeased);
  c.log.full = false;
  EXPECT_TRUE(c.Done(c.w2, b, 30).ok());
  EXPECT_EQ(c.Job().state, JobState::kDone);
}

TEST_F(LeaseTest, PassesAndPhases) {
  Submit(2, 2, 1);
  std::vector<ProducerId> producers;
  for (uint32_t pass : {0u, 1u}) {
    const auto first = c.Lease(c.w1)[0];
    EXPECT_EQ(first.pass, pass);
    producers.push_back(first.producer);
    const auto second = c.Lease(c.w2)[0];
    producers.push_back(second.producer);
    ASSERT_TRUE(c.Done(c.w1, first).ok());
    EXPECT_TRUE(c.Lease(c.w1).empty()) << "the next pass begins when all partitions are done";
    EXPECT_TRUE(c.plane->data().finished.empty() || pass > 0) << "a rewind may still need the producer";
    ASSERT_TRUE(c.Done(c.w2, second).ok());
  }
  EXPECT_EQ(std::set<ProducerId>(producers.begin(), producers.end()).size(), 4u);
  EXPECT_EQ(c.plane->state().ForgetFloor(), 5u) << "no client, no running training: all are over";
  const auto train = c.Lease(c.w1, 4);
  ASSERT_EQ(train.size(), 2u);
  EXPECT_EQ(train[0].phase, JobPhase::kEvaluateTrain);
  EXPECT_EQ(train[0].producer, 0u);
  for (const auto& lease : train) ASSERT_TRUE(c.Report(c.w1, lease, 1, true, {}, R"({"loss":0.5})").ok());
  const auto test = c.Lease(c.w1, 4);
  ASSERT_EQ(test.size(), 1u);
  EXPECT_EQ(test[0].phase, JobPhase::kEvaluateTest);
  EXPECT_EQ((*c.plane->Inspect("job", "job", c.now))["phase"], "evaluate_test");
  ASSERT_TRUE(c.Report(c.w1, test[0], 1, true, {}, R"({"loss":0.25})").ok());
  const auto job = *c.plane->Inspect("job", "job", c.now);
  EXPECT_EQ(job["state"], "done");
  EXPECT_TRUE(job["phase"].is_null()) << job["phase"];
  EXPECT_EQ(job["evaluations"]["train"].size(), 2u);
  EXPECT_EQ(job["evaluations"]["test"][0]["loss"], 0.25);
  EXPECT_EQ(job["examples"], 400) << "two passes, two partitions, 10 minibatches of 10";
  EXPECT_EQ(job["examples_total"], 2000);
  EXPECT_EQ(job["partitions_done"], job["partitions"]);
  EXPECT_DOUBLE_EQ(job["loss"].get<double>(), 1.0 / 200);
}

TEST_F(LeaseTest, FinishedProducersAboveAClientsFloorAreRanges) {
  ASSERT_TRUE(c.plane->NewProducers(1).ok());
  Submit(2, 3);
  for (int pass = 0; pass < 2; ++pass) {
    for (const auto& lease : c.Lease(c.w1, 3)) ASSERT_TRUE(c.Done(c.w1, lease).ok());
    if (pass == 0) {
      ASSERT_TRUE(c.plane->NewProducers(1).ok());
    }
  }
  const std::vector<std::pair<ProducerId, ProducerId>> expected{{2, 4}, {6, 8}};
  EXPECT_EQ(c.plane->data().finished, expected) << "1 and 5 are clients";
  EXPECT_EQ(c.plane->state().ForgetFloor(), 1u);
}

// What servers keep as ranges instead of marks, while a rewind may still need the producers.
TEST_F(LeaseTest, ProducersOfDonePartitionsAreCompleteUntilThePassIsOver) {
  Submit(2, 5);
  auto leases = c.Lease(c.w1, 5);
  ASSERT_EQ(leases.size(), 5u);
  const auto complete = [&] { return c.plane->state().complete_producers(); };
  for (const size_t i : {3u, 1u, 0u}) ASSERT_TRUE(c.Done(c.w1, leases[i]).ok());
  EXPECT_EQ(complete(), (ProducerRanges{{1, 2}, {4, 4}}));
  EXPECT_EQ(ClusterState::FromJson(c.plane->state().ToJson())->complete_producers(), complete());
  EXPECT_EQ(c.log.Replay().complete_producers(), complete());
  ASSERT_TRUE(c.Done(c.w1, leases[2]).ok());
  EXPECT_EQ(complete(), (ProducerRanges{{1, 4}}));
  ASSERT_TRUE(c.Done(c.w1, leases[4]).ok());
  EXPECT_TRUE(complete().empty());
  EXPECT_EQ(c.plane->state().ForgetFloor(), 6u);
}

TEST(ProducerRangesTest, IdsComeAndGoInAnyOrder) {
  ProducerRanges ranges;
  for (const ProducerId id : {7, 3, 5, 4, 5, 9}) AddProducer(&ranges, id);
  EXPECT_EQ(ranges, (ProducerRanges{{3, 5}, {7, 7}, {9, 9}}));
  AddProducer(&ranges, 8);
  AddProducer(&ranges, 6);
  EXPECT_EQ(ranges, (ProducerRanges{{3, 9}}));
  EXPECT_EQ(CountProducers(ranges), 7u);
  for (const ProducerId id : {3, 9, 6, 6, 2, 10}) RemoveProducer(&ranges, id);
  EXPECT_EQ(ranges, (ProducerRanges{{4, 5}, {7, 8}}));
  DropProducersBelow(&ranges, 8);
  EXPECT_EQ(ranges, (ProducerRanges{{8, 8}}));
  RemoveProducer(&ranges, 8);
  EXPECT_TRUE(ranges.empty());
}

TEST_F(LeaseTest, APermanentErrorFailsTheJob) {
  Submit(1, 2);
  const auto lease = c.Lease(c.w1)[0];
  const auto other = c.Lease(c.w2)[0];
  ASSERT_TRUE(c.Report(c.w1, lease, 3, false, InvalidArgument("a9a:17: malformed line")).ok());
  EXPECT_EQ(c.Job().state, JobState::kFailed);
  EXPECT_THAT(c.Job().error, HasSubstr("a9a:17: malformed line"));
  EXPECT_THAT(c.Job().error, HasSubstr("worker-1"));
  EXPECT_THAT(c.Job().error, HasSubstr("partition 0"));
  EXPECT_EQ(c.Report(c.w2, other, 1).code(), Code::kCancelled);
  EXPECT_TRUE(c.Lease(c.w1).empty());
}

TEST_F(LeaseTest, ATransientErrorLeasesThePartitionAgainAfterAMoment) {
  Submit(1, 1);
  auto lease = c.Lease(c.w1)[0];
  ASSERT_TRUE(c.Report(c.w1, lease, 3, false, Unavailable("server-1: connection refused")).ok());
  EXPECT_EQ(c.Job().state, JobState::kRunning);
  EXPECT_TRUE(c.Lease(c.w2).empty()) << "not at once";
  c.Pass(200, All());
  lease = c.Lease(c.w2)[0];
  EXPECT_EQ(lease.begin, 3u);
}

TEST_F(LeaseTest, TransientErrorsWithoutProgressEndTheJobAtLast) {
  Submit(1, 1);
  uint32_t failures = 0;
  while (c.Job().state == JobState::kRunning && failures < 1000) {
    const auto given = c.Lease(c.w1);
    if (given.empty()) {
      c.Pass(100, All());
      continue;
    }
    // Progress in the middle begins the count anew.
    const uint64_t recorded = failures < 50 ? 0 : 1;
    ASSERT_TRUE(c.Report(c.w1, given[0], recorded, false, Unavailable("no luck")).ok());
    ++failures;
  }
  EXPECT_EQ(c.Job().state, JobState::kFailed);
  EXPECT_EQ(failures, 50 + c.options.leases.max_failures);
  EXPECT_THAT(c.Job().error, HasSubstr("no luck"));
}

TEST_F(LeaseTest, FailuresWhileAServerIsAwayDoNotCount) {
  Submit(1, 1);
  for (int i = 0; i < 40; ++i) {
    c.Pass(5100, {&c.s1, &c.w1});
    const auto given = c.Lease(c.w1);
    ASSERT_EQ(given.size(), 1u);
    ASSERT_TRUE(c.Report(c.w1, given[0], 0, false, Unavailable("server-2: connection refused")).ok());
  }
  EXPECT_EQ(c.Job().partitions[0].failures, 0u);
  EXPECT_EQ(c.Job().state, JobState::kRunning);
}

TEST_F(LeaseTest, CancelEndsTheLeases) {
  Submit(1, 2);
  const auto lease = c.Lease(c.w1)[0];
  ASSERT_TRUE(c.plane->Cancel(1, c.now).ok());
  EXPECT_TRUE(c.plane->Cancel(1, c.now).ok()) << "safe to repeat";
  EXPECT_EQ(c.plane->Cancel(2, c.now).code(), Code::kNotFound);
  EXPECT_EQ(c.Report(c.w1, lease, 1).code(), Code::kCancelled);
  EXPECT_EQ((*c.plane->Inspect("job", "1", c.now))["state"], "cancelled");
  Submit(1, 1);
  const auto other = c.Lease(c.w1)[0];
  EXPECT_EQ(other.job, 2u);
  ASSERT_TRUE(c.Done(c.w1, other).ok());
  EXPECT_EQ(c.plane->Cancel(2, c.now).code(), Code::kFailedPrecondition) << "it is done";
}

TEST_F(LeaseTest, LeasesGoOnOverARestartOfTheScheduler) {
  Submit(1, 2);
  const auto lease = c.Lease(c.w1)[0];
  ASSERT_TRUE(c.Report(c.w1, lease, 4).ok());
  c.Pass(600, All());
  c.Start();
  for (FakeNode* node : All()) ASSERT_TRUE(c.Beat(*node).ok());
  EXPECT_EQ(c.Job().partitions[0].recorded, 4u);
  EXPECT_TRUE(c.Report(c.w1, lease, 5).ok()) << "the same token";
  EXPECT_EQ(c.Lease(c.w2, 5).size(), 1u) << "only the other partition is free";
  EXPECT_TRUE(c.Done(c.w1, lease, 9).ok());
}

TEST_F(LeaseTest, AJobMovesOnAfterARestartBetweenTheLastPartitionAndTheNextPass) {
  Submit(2, 1);
  const auto lease = c.Lease(c.w1)[0];
  ASSERT_TRUE(c.Done(c.w1, lease).ok());
  ASSERT_EQ(c.log.Count("advance_job"), 1u);
  c.log.DropLast();  // the crash came before it was written
  c.Start();
  for (FakeNode* node : All()) ASSERT_TRUE(c.Beat(*node).ok());
  EXPECT_TRUE(c.Lease(c.w1).empty());
  c.Pass(200, All());
  EXPECT_EQ(c.Lease(c.w1)[0].pass, 1u);
}

TEST_F(LeaseTest, AcceptLossRewindsThePassWithANewRewindNumber) {
  Submit(2, 2);
  for (const auto& lease : c.Lease(c.w1, 2)) ASSERT_TRUE(c.Done(c.w1, lease).ok());
  const auto lease = c.Lease(c.w1)[0];
  const auto done = c.Lease(c.w1)[0];
  ASSERT_TRUE(c.Report(c.w1, lease, 5).ok());
  ASSERT_TRUE(c.Done(c.w1, done).ok());
  c.SetLsns(c.s1, 0, 100, 100, 100);
  PassWithReports(1500, c.w1, lease);
  c.SetLsns(c.s1, 0, 50, 50, 50);
  ASSERT_TRUE(c.Register(c.s1).ok());
  EXPECT_TRUE(c.Lease(c.w2).empty()) << "jobs wait while a shard is quarantined";
  ASSERT_TRUE(c.Report(c.w1, lease, 6).ok());
  EXPECT_FALSE(c.plane->state().complete_producers().empty());
  ASSERT_TRUE(c.Beat(c.w1).ok());
  const uint64_t before = c.plane->Wanted(c.w1.id, c.w1.session, c.now)->wanted.rewind;
  EXPECT_EQ(before, 1u);
  ASSERT_TRUE(c.plane->Accept(0, c.now).ok());
  EXPECT_EQ(c.plane->Wanted(c.w1.id, c.w1.session, c.now)->wanted.rewind, 2u) << "workers are told";
  EXPECT_TRUE(c.plane->state().complete_producers().empty()) << "the shard may lack what they pushed";
  EXPECT_EQ(c.Report(c.w1, lease, 7).code(), Code::kFailedPrecondition) << "rewound";
  c.Pass(200, All());
  EXPECT_EQ(c.Entry(0).state, ShardState::kServing) << "it refuses workers that did not hear of it";
  for (const FakeNode* server : {&c.s1, &c.s2}) {
    for (const auto& [shard, grant] : server->grants) EXPECT_EQ(grant.rewind, 2u) << "shard " << shard;
  }
  const auto carried = c.plane->Lease(c.w2.id, c.w2.session, 5, c.now);
  ASSERT_TRUE(carried.ok());
  EXPECT_EQ(carried->rewind, 2u);
  ASSERT_TRUE(c.Register(c.w2).ok());
  const auto again = c.Lease(c.w2, 5);
  ASSERT_EQ(again.size(), 2u) << "the finished one, too";
  EXPECT_EQ(again[0].pass, 1u) << "passes that are over are not repeated";
  EXPECT_EQ(again[0].begin, 0u);
  EXPECT_EQ(again[0].producer, lease.producer);
  EXPECT_EQ(again[1].producer, done.producer);
}

TEST_F(LeaseTest, AnAcceptedLossIsGrantedAfterARestartOfTheScheduler) {
  Submit(1, 1);
  c.Lease(c.w1);
  c.SetLsns(c.s1, 0, 100, 100, 100);
  c.Pass(1200, All());
  c.SetLsns(c.s1, 0, 50, 50, 50);
  ASSERT_TRUE(c.Register(c.s1).ok());
  AcceptAlone();
  c.Start();
  c.Pass(1000, All());
  EXPECT_EQ(c.Entry(0).state, ShardState::kServing);
  EXPECT_EQ(c.s1.grants.at(0).rewind, 2u);
}

TEST_F(LeaseTest, ASecondLossBetweenAcceptanceAndGrantIsSaid) {
  c.SetLsns(c.s1, 0, 100, 100, 100);
  c.Pass(1200, All());
  c.SetLsns(c.s1, 0, 50, 50, 50);
  c.s1.lines[0].damage = "a hole";
  ASSERT_TRUE(c.Register(c.s1).ok());
  AcceptAlone();
  ASSERT_TRUE(c.Register(c.s1).ok());
  c.plane->Tick(c.now);
  c.Pass(200, All());
  EXPECT_EQ(c.Entry(0).state, ShardState::kServing) << "the damage is what was accepted";
  c.SetLsns(c.s1, 0, 100, 100, 100);
  c.Pass(1200, All());
  for (const bool gone : {false, true}) {
    SCOPED_TRACE(gone);
    c.SetLsns(c.s1, 0, 50, 50, 50);
    ASSERT_TRUE(c.Register(c.s1).ok());
    AcceptAlone();
    c.SetLsns(c.s1, 0, 20, 20, 20);
    const ShardLine line = c.s1.lines[0];
    if (gone) c.s1.lines.erase(0);
    ASSERT_TRUE(c.Register(c.s1).ok());
    EXPECT_EQ(c.Entry(0).state, ShardState::kQuarantined);
    EXPECT_THAT(c.Entry(0).detail,
                HasSubstr(gone ? "came back without this shard, of which it had reported lsn 50"
                               : "holds lsn 20, but had reported lsn 50"));
    c.s1.lines[0] = line;
    ASSERT_TRUE(c.Register(c.s1).ok());
    ASSERT_TRUE(c.plane->Accept(0, c.now).ok());
    c.Pass(200, All());
    c.SetLsns(c.s1, 0, 200, 200, 200);
    c.Pass(1200, All());
  }
}

TEST_F(LeaseTest, LossesThatAreNoNumbersAreTaken) {
  Submit(1, 1);
  const auto lease = c.Lease(c.w1)[0];
  ReportedProgress line{.job = lease.job,
                        .token = lease.token,
                        .recorded = 1,
                        .tally = {.examples = 10, .loss_sum = std::numeric_limits<double>::quiet_NaN()}};
  ASSERT_TRUE(c.plane->Report(c.w1.id, c.w1.session, {line}, c.now)->front().ok());
  c.Pass(600, All());
  EXPECT_EQ(c.log.Replay().ToJson(), c.plane->state().ToJson());
  EXPECT_TRUE((*c.plane->Inspect("job", "1", c.now))["loss"].is_null());
}

TEST_F(LeaseTest, ATableOfARunningJobIsNotDropped) {
  Submit(1, 1);
  EXPECT_EQ(c.plane->Drop("job.1/weights", c.now).code(), Code::kFailedPrecondition);
  ASSERT_TRUE(c.plane->Cancel(1, c.now).ok());
  EXPECT_TRUE(c.plane->Drop("job.1/weights", c.now).ok());
}

TEST_F(LeaseTest, WrongSubmissionsNameWhatIsWrong) {
  const auto refused = [&](const std::function<void(nlohmann::json&)>& spoil) {
    nlohmann::json json = nlohmann::json::parse(FakeCluster::JobText(1, 1, 1));
    spoil(json);
    const auto job = c.plane->Submit(json.dump(), c.now);
    EXPECT_EQ(job.status().code(), Code::kInvalidArgument) << json.dump();
    return job.status().message();
  };
  EXPECT_THAT(refused([](auto& j) { j["name"] = "a b"; }), HasSubstr("name is \"a b\""));
  EXPECT_THAT(refused([](auto& j) { j.erase("plan"); }), HasSubstr("plan is missing"));
  EXPECT_THAT(refused([](auto& j) { j["plan"]["train"]["partitions"] = 0; }),
              HasSubstr("plan.train.partitions is 0"));
  EXPECT_THAT(refused([](auto& j) { j["plan"]["test"] = nullptr; }), HasSubstr("plan.test is missing"));
  EXPECT_THAT(refused([](auto& j) { j["passes"] = -1; }), HasSubstr("passes is -1"));
  EXPECT_THAT(refused([](auto& j) { j["consistency"] = "soon"; }), HasSubstr("consistency"));
  EXPECT_THAT(refused([](auto& j) { j["tables"][0]["dim"] = 0; }), HasSubstr("dim is 0"));
  EXPECT_THAT(refused([](auto& j) { j["tables"].push_back(j["tables"][0]); }), HasSubstr("named twice"));
  EXPECT_THAT(refused([](auto& j) { j["evaluate_test"] = 1; }), HasSubstr("evaluate_test is 1"));
  EXPECT_EQ(c.plane->Submit("{", c.now).status().code(), Code::kInvalidArgument);
  EXPECT_EQ(c.plane->data().tables.size(), 0u);
}

}  // namespace
}  // namespace penstock
