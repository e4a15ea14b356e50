// GroupRetry: every code that a server can answer has one reaction, and what may have been applied is
// remembered.
#include "client/retry_policy.h"

#include <gtest/gtest.h>

namespace penstock {
namespace {

GroupOutcome Of(Code code, uint32_t retry_after_ms = 0, Epoch epoch = 0) {
  GroupOutcome outcome;
  outcome.code = code;
  outcome.retry_after_ms = retry_after_ms;
  outcome.epoch = epoch;
  outcome.message = "because";
  return outcome;
}

GroupOutcome Unanswered(Code code) {
  GroupOutcome outcome = Of(code);
  outcome.unanswered = true;
  return outcome;
}

TEST(GroupRetry, EachCodeHasItsReaction) {
  const std::pair<Code, RetryAction> kExpected[] = {
      {Code::kOk, RetryAction::kDone},
      {Code::kInvalidArgument, RetryAction::kFail},
      {Code::kNotFound, RetryAction::kFail},
      {Code::kAlreadyExists, RetryAction::kFail},
      {Code::kPermissionDenied, RetryAction::kFail},
      {Code::kUnavailable, RetryAction::kBackOff},
      {Code::kWrongEpoch, RetryAction::kRefreshMap},
      {Code::kOverloaded, RetryAction::kBackOff},
      {Code::kNotEnoughCopies, RetryAction::kBackOff},
      {Code::kUnknownProducer, RetryAction::kFail},
      {Code::kDeadlineExceeded, RetryAction::kBackOff},
      {Code::kOutcomeUnknown, RetryAction::kBackOff},
      {Code::kDataLoss, RetryAction::kFail},
      {Code::kFailedPrecondition, RetryAction::kFail},
      {Code::kCancelled, RetryAction::kFail},
      {Code::kInternal, RetryAction::kFail},
  };
  for (const auto& [code, action] : kExpected) {
    GroupRetry retry;
    EXPECT_EQ(retry.OnOutcome(Of(code), 3).action, action) << CodeName(code);
    EXPECT_EQ(retry.last().code(), code);
    EXPECT_EQ(retry.open(), code == Code::kOutcomeUnknown) << CodeName(code);
    EXPECT_EQ(retry.ok(), code == Code::kOk);
    EXPECT_EQ(retry.attempts(), 1u);
  }
}

TEST(GroupRetry, AHigherEpochIsTriedAtOnceAndALowerOneWaits) {
  GroupRetry retry;
  EXPECT_EQ(retry.OnOutcome(Of(Code::kWrongEpoch, 0, 4), 3).action, RetryAction::kResend);
  EXPECT_EQ(retry.OnOutcome(Of(Code::kWrongEpoch, 0, 4), 4).action, RetryAction::kRefreshMap);
  EXPECT_EQ(retry.OnOutcome(Of(Code::kWrongEpoch, 0, 2), 4).action, RetryAction::kRefreshMap);
}

TEST(GroupRetry, BacksOffAsAskedAndLongerWhenThatGoesOn) {
  GroupRetry retry;
  EXPECT_EQ(retry.OnOutcome(Of(Code::kOverloaded, 50), 1).wait_ms, 50u);
  EXPECT_EQ(retry.OnOutcome(Of(Code::kOverloaded, 50), 1).wait_ms, 50u);
  uint32_t last = 50;
  for (int i = 0; i < 20; ++i) {
    const uint32_t wait = retry.OnOutcome(Of(Code::kOverloaded, 50), 1).wait_ms;
    EXPECT_GE(wait, last);
    last = wait;
  }
  EXPECT_EQ(last, GroupRetry::kMaxBackOffMs);
  EXPECT_GE(GroupRetry().OnOutcome(Of(Code::kUnavailable, 0), 1).wait_ms, GroupRetry::kMinBackOffMs);
}

TEST(GroupRetry, RemembersThatAnAttemptMayHaveBeenApplied) {
  GroupRetry retry;
  EXPECT_EQ(retry.OnOutcome(Unanswered(Code::kUnavailable), 1).action, RetryAction::kRefreshMap);
  EXPECT_TRUE(retry.open());
  (void)retry.OnOutcome(Of(Code::kOverloaded), 1);
  EXPECT_TRUE(retry.open()) << "the refusal is about the second attempt";
  (void)retry.OnOutcome(Of(Code::kOk), 1);
  EXPECT_FALSE(retry.open());

  GroupRetry timeout;
  EXPECT_EQ(timeout.OnOutcome(Unanswered(Code::kDeadlineExceeded), 1).action, RetryAction::kRefreshMap);
  EXPECT_TRUE(timeout.open());
}

TEST(GroupRetry, AnAttemptThatWasNotSentLeavesNothingOpen) {
  GroupRetry retry;
  retry.OnNotSent(Unavailable("refused"));
  EXPECT_FALSE(retry.open());
  EXPECT_EQ(retry.attempts(), 0u);
  EXPECT_EQ(retry.last().message(), "refused");
}

}  // namespace
}  // namespace penstock
