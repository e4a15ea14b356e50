// FoldPolicy: how long the delta log may become before it is folded into the base.
//
// The log is about as long as what it protects: rows that are pushed again and again are folded once for many
// deltas, and a small model has a small log. It stays within what a start replays in the time that an
// operator allows, within a share of the disk, and within what rows may be ahead of the base by: only clean
// rows leave memory. Pure.
#pragma once

#include <algorithm>
#include <cstdint>

namespace penstock {

struct FoldBounds {
  uint64_t fold_bytes = 0;  // an operator's word, in place of what follows from live rows, replay and disk
  uint64_t log_limit_bytes = 0;
  uint64_t segment_bytes = 0;
  uint64_t memory_budget_bytes = 0;
  uint64_t recovery_seconds = 0;
};

struct FoldFacts {
  uint64_t live_bytes = 0;    // of rows, indexes and marks in memory
  uint64_t log_bytes = 0;     // not folded yet
  uint64_t free_bytes = 0;    // of the disk
  uint64_t replay_speed = 0;  // bytes of log a second, as a start has shown; 0: not known
};

constexpr uint64_t kLeastFoldBytes = uint64_t{64} << 20;
// Where no start has shown another: below what one core replays of small rows.
constexpr uint64_t kReplaySpeed = uint64_t{100} << 20;

// The length of the log at which it is folded.
inline uint64_t FoldAt(const FoldBounds& bounds, const FoldFacts& facts) {
  const uint64_t budget = bounds.memory_budget_bytes;
  const uint64_t unused = budget - std::min(budget, facts.live_bytes);
  uint64_t at = bounds.fold_bytes;
  if (at == 0) {
    const uint64_t speed = facts.replay_speed == 0 ? kReplaySpeed : facts.replay_speed;
    at = std::max(kLeastFoldBytes, 2 * facts.live_bytes);
    at = std::min(at, bounds.recovery_seconds * speed);
    at = std::min(at,
                  (facts.free_bytes + facts.log_bytes) / 8);  // base, folds and other servers need some too
  }
  at = std::min(at, std::max(budget / 4, unused));
  at = std::min(at, bounds.log_limit_bytes / 2);
  return std::max(at, bounds.segment_bytes);
}

}  // namespace penstock
