// GroupRetry: one reaction to each code.
#include "client/retry_policy.h"

#include <algorithm>

namespace penstock {

uint32_t GroupRetry::BackOff(uint32_t asked_ms) {
  // What the server asks for at first; doubled while it goes on refusing, so that a crowd of clients thins
  // out.
  const uint32_t base = std::clamp(asked_ms, kMinBackOffMs, kMaxBackOffMs);
  const uint32_t shift = std::min<uint32_t>(refusals_ > 2 ? refusals_ - 2 : 0, 6);
  ++refusals_;
  return std::max(base, std::min(base << shift, kMaxBackOffMs));
}

RetryDecision GroupRetry::OnOutcome(const GroupOutcome& outcome, Epoch sent_epoch) {
  ++attempts_;
  last_ =
      outcome.code == Code::kOk ? Status() : Status(outcome.code, outcome.message, outcome.retry_after_ms);
  if (outcome.unanswered || outcome.code == Code::kOutcomeUnknown) open_ = true;
  switch (outcome.code) {
    case Code::kOk:
      ok_ = true;
      return {RetryAction::kDone};
    case Code::kWrongEpoch:
      // A higher epoch from the server itself: it may well own the shard in that one. A lower or the same
      // one: wait for the map.
      if (outcome.epoch > sent_epoch) return {RetryAction::kResend};
      return {RetryAction::kRefreshMap};
    case Code::kUnavailable:
    case Code::kDeadlineExceeded:
      if (outcome.unanswered) return {RetryAction::kRefreshMap};
      return {RetryAction::kBackOff, BackOff(outcome.retry_after_ms)};
    case Code::kOverloaded:
    case Code::kNotEnoughCopies:
    case Code::kOutcomeUnknown:
      return {RetryAction::kBackOff, BackOff(outcome.retry_after_ms)};
    case Code::kInvalidArgument:
    case Code::kNotFound:
    case Code::kAlreadyExists:
    case Code::kPermissionDenied:
    case Code::kUnknownProducer:
    case Code::kDataLoss:
    case Code::kFailedPrecondition:
    case Code::kCancelled:
    case Code::kInternal:
      return {RetryAction::kFail};
  }
  return {RetryAction::kFail};
}

}  // namespace penstock
