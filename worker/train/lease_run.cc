#include "worker/train/lease_run.h"

#include <algorithm>

#include "common/base/strings.h"

namespace penstock {

bool LeaseRun::Passes(Code code) {
  switch (code) {
    case Code::kUnavailable:
    case Code::kWrongEpoch:
    case Code::kOverloaded:
    case Code::kNotEnoughCopies:
    case Code::kDeadlineExceeded:
    case Code::kOutcomeUnknown:
    case Code::kDataLoss:
    case Code::kFailedPrecondition:
      return true;
    default:
      return false;
  }
}

// --- The lease.

void LeaseRun::Renew(uint64_t sent_ms) { renewed_ms_ = std::max(renewed_ms_, sent_ms); }

void LeaseRun::OnRewindNumber(uint64_t number) {
  if (terms_.rewind != 0 && number > terms_.rewind) {
    End(StrCat("the job was rewound: the cluster's rewind number is ", number, ", the lease's is ",
               terms_.rewind));
  }
}

void LeaseRun::End(const std::string& why) {
  if (ended_.ok()) ended_ = Cancelled(why);
}

// The scheduler counts from when a report arrives, this from when it was sent, and a tenth earlier: what was
// pushed just before mostly arrives before another worker begins.
Status LeaseRun::MayPush(uint64_t now_ms) {
  const uint64_t give_up_ms = terms_.lease_ms - terms_.lease_ms / 10;
  if (now_ms >= renewed_ms_ + give_up_ms)
    End(StrCat("no report of it was taken for ", now_ms - renewed_ms_, " ms"));
  return ended_;
}

// --- The minibatches.

void LeaseRun::Plan(uint64_t count, size_t limit) {
  count_ = count;
  limit_ = std::max<size_t>(limit, 1);
}

LeaseStep LeaseRun::Next(const LeaseWindow& window, uint64_t now_ms) {
  const bool over = !MayPush(now_ms).ok() || (!failure_.ok() && !Passes(failure_.code()));
  const bool again = !failure_.ok() || window.rewound;
  if (!over && !again && window.next < count_)
    return window.in_flight < limit_ ? LeaseStep::kMinibatch : LeaseStep::kAwait;
  if (window.in_flight > 0) return LeaseStep::kAwait;
  if (over) return LeaseStep::kEnd;
  if (again) return LeaseStep::kRewind;
  return window.recorded < count_ ? LeaseStep::kFlush : LeaseStep::kEnd;
}

void LeaseRun::Note(const Status& status) {
  if (failure_.ok()) failure_ = status;
}

LeaseReport LeaseRun::Report(const LeaseWindow& window) const {
  LeaseReport report{.recorded = std::min(window.recorded, count_)};
  report.answered =
      std::max(report.recorded, window.next - std::min<uint64_t>(window.next, window.in_flight));
  if (window.in_flight > 0 || !ended_.ok()) return report;
  if (!failure_.ok()) {
    if (!Passes(failure_.code())) report.error = failure_;
    return report;
  }
  report.pushed = window.next >= count_ && !window.rewound;
  report.done = report.pushed && window.recorded >= count_;
  return report;
}

}  // namespace penstock
