// When a row is due to leave its table by the rules of TableSpec.expiry, and the touch that this is decided
// by. Pure.
//
// A row's touch says when it was pushed last: in tables with unused_passes the pass of the job, in all others
// with rules the second, modulo 2^26. It stands in bits 6 to 31 of RowHeader.flags, and from there in
// ImageHeader.flags and BaseRow.flags, so it outlives a restart; the bits below belong to the row's state in
// one memory and are never stored. 0: never given.
//
// min_norm is asked of rows that nobody has pushed for a while only (ExpiryMoment.grace): a row that begins
// at zero, or passes through it, shall not go while it is being trained.
#pragma once

#include <chrono>
#include <cstdint>
#include <span>

#include "common/cluster/table_spec.h"

namespace penstock {

inline constexpr uint32_t kTouchShift = 6;
inline constexpr uint32_t kMaxTouch = (1u << (32 - kTouchShift)) - 1;
inline constexpr uint32_t kTouchMask = kMaxTouch << kTouchShift;  // of the flags; all of them that is stored

constexpr uint32_t TouchOf(uint32_t flags) { return flags >> kTouchShift; }
constexpr uint32_t WithTouch(uint32_t flags, uint32_t touch) {
  return (flags & ~kTouchMask) | touch << kTouchShift;
}

// Seconds since the beginning of 2026 (UTC), at least 1.
uint32_t SecondsNow(std::chrono::system_clock::time_point now = std::chrono::system_clock::now());
// 0, where no clock was given, stays 0.
uint32_t TouchOfSeconds(uint32_t seconds);

// What a scan compares the rows of one table of one shard with, in the unit of the table's touches.
struct ExpiryMoment {
  uint32_t now = 0;         // a touch of this moment
  uint32_t first_seen = 0;  // the same of the first scan since the start: rows without a touch count from it
  uint32_t grace = 0;       // min_norm: so long after the last push; 1 where touches are passes
};

enum class ExpiryRule : uint8_t { kNone, kTtl, kUnusedPasses, kMinNorm };

// How long before `now` this touch was, in its unit.
uint32_t TouchAge(const ExpirySpec& rules, uint32_t touch, uint32_t now);

struct RowExpiry {
  ExpiryRule rule = ExpiryRule::kNone;  // by which it is due
  uint32_t wait = UINT32_MAX;  // if by none: it can be due after so long at the earliest, unless it is pushed
};
RowExpiry DecideExpiry(const ExpirySpec& rules, const ExpiryMoment& moment, uint32_t touch,
                       std::span<const float> values);

// What a scan found.
struct ExpiryTally {
  uint64_t rows = 0;                                  // looked at
  uint64_t ttl = 0, unused_passes = 0, min_norm = 0;  // due, by the first rule that says so
  uint32_t wait = UINT32_MAX;  // of those that stay: until the first of them can be due

  uint64_t expired() const { return ttl + unused_passes + min_norm; }
  void Count(ExpiryRule rule);
  void Add(const RowExpiry& row);
  void Add(const ExpiryTally& other);
};

}  // namespace penstock
