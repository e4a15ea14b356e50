// PushDelay: for how long answers to pushes of a shard are held back, so that a copy of it catches up.
//
// A copy that takes less than is pushed would fall behind until it is given up, and a move to it would never
// end. Those who push have so many calls open at a time and no more: answers that come later make them push
// less, and what they have pushed is applied all the same. When a copy has been too far behind for a while,
// which a single large delta is not, the delay grows by a quarter each time; when it is not, it shrinks by
// half.
//
// Pure: times (milliseconds of a clock that only rises) are passed in.
#pragma once

#include <algorithm>
#include <cstdint>

namespace penstock {

class PushDelay {
 public:
  // What happens to all of it, to be said once.
  enum class Change { kNone, kBegins, kEnds };

  // Call it about every kEveryMs. `behind`: a copy that takes what it gets has too much of it still to get.
  Change Update(bool behind, uint64_t now_ms) {
    if (updated_ms_ != 0 && now_ms < updated_ms_ + kEveryMs) return Change::kNone;
    updated_ms_ = now_ms;
    if (behind) behind_ms_ = now_ms;
    if (!behind) since_ms_ = 0;
    if (behind && since_ms_ == 0) since_ms_ = now_ms;
    const bool grows = behind && now_ms >= since_ms_ + kPatienceMs;
    ms_ = grows ? std::min(kMostMs, ms_ + 1 + ms_ / 4) : behind ? ms_ : ms_ / 2;
    most_ms_ = std::max(most_ms_, ms_);
    const bool was = holds_;
    holds_ = grows || (was && now_ms < behind_ms_ + kQuietMs);
    if (holds_ == was) return Change::kNone;
    if (holds_) most_ms_ = ms_;
    return holds_ ? Change::kBegins : Change::kEnds;
  }
  uint64_t ms() const { return ms_; }
  // Since it began.
  uint64_t most_ms() const { return most_ms_; }

  static constexpr uint64_t kMostMs = 2000;
  static constexpr uint64_t kPatienceMs = 400;
  static constexpr uint64_t kEveryMs = 40;
  static constexpr uint64_t kQuietMs = 2000;  // without which it has not ended

 private:
  uint64_t ms_ = 0, most_ms_ = 0;
  uint64_t updated_ms_ = 0, behind_ms_ = 0;
  uint64_t since_ms_ = 0;  // it has been behind at every update since then; 0: it was not at the last one
  bool holds_ = false;
};

}  // namespace penstock
