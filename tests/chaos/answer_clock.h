// AnswerClock: when pushes were answered, as seen from the last fault on.
//
// Any thread.
#pragma once

#include <algorithm>
#include <chrono>
#include <mutex>
#include <optional>

#include "common/base/status.h"

namespace penstock {

class AnswerClock {
 public:
  using Clock = std::chrono::steady_clock;

  // An answer later than `deadline` and some slack after its push was begun is overdue.
  explicit AnswerClock(std::chrono::milliseconds deadline) : latest_(deadline + std::chrono::seconds(2)) {}

  // The load begins: what was before is forgotten.
  void Begin() {
    std::lock_guard lock(mutex_);
    last_ = fault_ = Clock::now();
    longest_ = {};
    recovery_.reset();
    overdue_ = 0;
  }
  // A fault comes now.
  void Fault() {
    std::lock_guard lock(mutex_);
    fault_ = Clock::now();
    longest_ = {};
    recovery_.reset();
  }
  void OnAnswer(Clock::time_point begun, const Status& answer) {
    std::lock_guard lock(mutex_);
    const auto now = Clock::now();
    if (now - begun > latest_) ++overdue_;
    if (!answer.ok()) return;
    longest_ = std::max(longest_, now - last_);
    last_ = now;
    if (!recovery_ && begun > fault_) recovery_ = now - fault_;
  }

  // A push that was begun after the fault has been acknowledged.
  bool Recovered() const {
    std::lock_guard lock(mutex_);
    return recovery_.has_value();
  }
  double RecoveryMs() const {
    std::lock_guard lock(mutex_);
    return recovery_ ? Ms(*recovery_) : -1;
  }
  double LongestGapMs() const {
    std::lock_guard lock(mutex_);
    return Ms(longest_);
  }
  uint64_t overdue() const {
    std::lock_guard lock(mutex_);
    return overdue_;
  }

 private:
  static double Ms(Clock::duration time) { return std::chrono::duration<double, std::milli>(time).count(); }

  const Clock::duration latest_;
  mutable std::mutex mutex_;  // guards all below
  Clock::time_point last_, fault_;
  Clock::duration longest_{};
  std::optional<Clock::duration> recovery_;
  uint64_t overdue_ = 0;
};

}  // namespace penstock
