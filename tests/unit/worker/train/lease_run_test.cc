// What the holder of a lease may do, and when it may do nothing any more.
#include "worker/train/lease_run.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace penstock {
namespace {

using ::testing::HasSubstr;

constexpr uint64_t kLeaseMs = 1000;
constexpr uint64_t kAskedMs = 5000;

class LeaseRunTest : public ::testing::Test {
 protected:
  LeaseRunTest() { run_.Plan(3, 2); }
  LeaseStep Next(uint64_t now_ms = kAskedMs) { return run_.Next(window_, now_ms); }

  LeaseRun run_{{.rewind = 4, .lease_ms = kLeaseMs}, kAskedMs};
  LeaseWindow window_;
};

TEST_F(LeaseRunTest, PushesUpToItsLimitAndEndsWhenAllIsRecorded) {
  EXPECT_EQ(Next(), LeaseStep::kMinibatch);
  window_ = {.next = 1, .in_flight = 1};
  EXPECT_EQ(Next(), LeaseStep::kMinibatch);
  window_ = {.next = 2, .in_flight = 2};
  EXPECT_EQ(Next(), LeaseStep::kAwait);
  window_ = {.next = 3, .in_flight = 1};
  EXPECT_EQ(Next(), LeaseStep::kAwait);
  EXPECT_FALSE(run_.Report(window_).pushed);
  EXPECT_EQ(run_.Report(window_).answered, 2u);
  window_ = {.next = 3, .recorded = 1};
  EXPECT_EQ(Next(), LeaseStep::kFlush);
  EXPECT_FALSE(run_.Report(window_).done);
  EXPECT_TRUE(run_.Report(window_).pushed);
  EXPECT_EQ(run_.Report(window_).recorded, 1u);
  window_.recorded = 3;
  EXPECT_EQ(Next(), LeaseStep::kEnd);
  EXPECT_TRUE(run_.Report(window_).done);
  EXPECT_TRUE(run_.Report(window_).error.ok());
}

TEST_F(LeaseRunTest, GoesBackWhenNothingIsInFlight) {
  window_ = {.next = 2, .in_flight = 2};
  run_.Note(Unavailable("server-1 is gone"));
  run_.Note(Overloaded("a later one"));
  EXPECT_EQ(Next(), LeaseStep::kAwait);
  window_.in_flight = 0;
  EXPECT_EQ(Next(), LeaseStep::kRewind);
  EXPECT_THAT(run_.failure().message(), HasSubstr("server-1"));
  EXPECT_TRUE(run_.Report(window_).error.ok()) << "it goes on";
  run_.Rewound();
  window_.next = 0;
  EXPECT_EQ(Next(), LeaseStep::kMinibatch);
  window_ = {.next = 3, .recorded = 3, .rewound = true};
  EXPECT_EQ(Next(), LeaseStep::kRewind);
  EXPECT_FALSE(run_.Report(window_).pushed);
  EXPECT_FALSE(run_.Report(window_).done);
}

TEST_F(LeaseRunTest, IsGivenBackWithWhatDoesNotPass) {
  window_ = {.next = 2, .recorded = 1, .in_flight = 1};
  run_.Note(InvalidArgument("line 7 is wrong"));
  EXPECT_EQ(Next(), LeaseStep::kAwait);
  EXPECT_TRUE(run_.Report(window_).error.ok()) << "not while anything of it is in flight";
  window_.in_flight = 0;
  EXPECT_EQ(Next(), LeaseStep::kEnd);
  EXPECT_THAT(run_.Report(window_).error.message(), HasSubstr("line 7"));
  EXPECT_FALSE(run_.Report(window_).done);
  EXPECT_EQ(run_.Report(window_).recorded, 1u);
}

TEST_F(LeaseRunTest, ARewindNumberAboveItsOwnEndsIt) {
  run_.OnRewindNumber(4);
  run_.OnRewindNumber(3);
  EXPECT_TRUE(run_.MayPush(kAskedMs).ok());
  run_.OnRewindNumber(5);
  const Status may = run_.MayPush(kAskedMs);
  EXPECT_EQ(may.code(), Code::kCancelled);
  EXPECT_THAT(may.message(), HasSubstr("the cluster's rewind number is 5, the lease's is 4"));
  window_ = {.next = 1, .in_flight = 1};
  EXPECT_EQ(Next(), LeaseStep::kAwait) << "nothing of it outlives it";
  window_.in_flight = 0;
  EXPECT_EQ(Next(), LeaseStep::kEnd);
  window_ = {.next = 3, .recorded = 3};
  EXPECT_FALSE(run_.Report(window_).done);
  EXPECT_TRUE(run_.Report(window_).error.ok());
}

TEST_F(LeaseRunTest, WhatPushesNothingIsNotRewound) {
  LeaseRun evaluation({.rewind = 0, .lease_ms = kLeaseMs}, kAskedMs);
  evaluation.OnRewindNumber(5);
  EXPECT_TRUE(evaluation.MayPush(kAskedMs).ok());
}

TEST_F(LeaseRunTest, EndsByItselfBeforeTheSchedulerGivesItToAnother) {
  EXPECT_TRUE(run_.MayPush(kAskedMs + 899).ok());
  run_.Renew(kAskedMs + 500);
  run_.Renew(kAskedMs + 400);  // its answer came later
  EXPECT_TRUE(run_.MayPush(kAskedMs + 1399).ok());
  const Status may = run_.MayPush(kAskedMs + 1400);
  EXPECT_EQ(may.code(), Code::kCancelled);
  EXPECT_THAT(may.message(), HasSubstr("no report of it was taken for 900 ms"));
  run_.Renew(kAskedMs + 1300);
  EXPECT_FALSE(run_.MayPush(kAskedMs + 1400).ok()) << "it does not come back";
  EXPECT_EQ(Next(kAskedMs + 1400), LeaseStep::kEnd);
}

}  // namespace
}  // namespace penstock
