#include "server/shard/expiry.h"

#include <algorithm>

namespace penstock {
namespace {

using std::chrono::sys_days;

// A clock that is set back by less than this makes rows young, not due.
constexpr uint32_t kSetBackSeconds = 1u << 22;

double SumSquares(std::span<const float> values) {
  double sum = 0;
  for (const float value : values) sum += static_cast<double>(value) * value;
  return sum;
}

}  // namespace

uint32_t SecondsNow(std::chrono::system_clock::time_point now) {
  const auto begin = sys_days(std::chrono::year(2026) / 1 / 1);
  const auto seconds = std::chrono::duration_cast<std::chrono::seconds>(now - begin).count();
  return static_cast<uint32_t>(std::clamp<int64_t>(seconds, 1, UINT32_MAX));
}

uint32_t TouchOfSeconds(uint32_t seconds) {
  return seconds == 0 ? 0 : std::max<uint32_t>(1, seconds & kMaxTouch);
}

uint32_t TouchAge(const ExpirySpec& rules, uint32_t touch, uint32_t now) {
  if (rules.unused_passes > 0) return now > touch ? now - touch : 0;
  const uint32_t age = (now - touch) & kMaxTouch;
  return age > kMaxTouch - kSetBackSeconds ? 0 : age;
}

RowExpiry DecideExpiry(const ExpirySpec& rules, const ExpiryMoment& moment, uint32_t touch,
                       std::span<const float> values) {
  const uint32_t age = TouchAge(rules, touch == 0 ? moment.first_seen : touch, moment.now);
  RowExpiry row;
  const auto check = [&](ExpiryRule rule, uint32_t due) {
    if (row.rule != ExpiryRule::kNone) return;
    if (age >= due) row.rule = rule;
    row.wait = std::min(row.wait, age >= due ? 0 : due - age);
  };
  if (rules.ttl_seconds > 0) check(ExpiryRule::kTtl, rules.ttl_seconds);
  // The passes between its own and the present one are whole.
  if (rules.unused_passes > 0 && rules.unused_passes < kMaxTouch)
    check(ExpiryRule::kUnusedPasses, rules.unused_passes + 1);
  if (rules.min_norm > 0 && row.rule == ExpiryRule::kNone &&
      SumSquares(values) < static_cast<double>(rules.min_norm) * rules.min_norm) {
    check(ExpiryRule::kMinNorm, moment.grace);
  }
  return row;
}

void ExpiryTally::Count(ExpiryRule rule) {
  ttl += rule == ExpiryRule::kTtl;
  unused_passes += rule == ExpiryRule::kUnusedPasses;
  min_norm += rule == ExpiryRule::kMinNorm;
}

void ExpiryTally::Add(const RowExpiry& row) {
  ++rows;
  Count(row.rule);
  if (row.rule == ExpiryRule::kNone) wait = std::min(wait, row.wait);
}

void ExpiryTally::Add(const ExpiryTally& other) {
  rows += other.rows;
  ttl += other.ttl;
  unused_passes += other.unused_passes;
  min_norm += other.min_norm;
  wait = std::min(wait, other.wait);
}

}  // namespace penstock
