// SeedPace: bounds how many bytes a second of its rows a server sends to copies that are being seeded, all
// of its cores together (server.seed_bytes_per_s).
//
// What was sent is paid for by waiting before the next piece, so that on average the bound is kept exactly.
// Times are milliseconds of the process's steady clock. Thread-safe.
#pragma once

#include <algorithm>
#include <cstdint>
#include <mutex>

namespace penstock {

class SeedPace {
 public:
  // 0: no bound.
  explicit SeedPace(uint64_t bytes_per_s) : bytes_per_s_(static_cast<double>(bytes_per_s)) {}

  // Whether another piece may be made.
  bool May(uint64_t now_ms) const {
    std::lock_guard lock(mutex_);
    return paid_ms_ <= static_cast<double>(now_ms);
  }
  void Sent(uint64_t bytes, uint64_t now_ms) {
    if (bytes_per_s_ == 0) return;
    std::lock_guard lock(mutex_);
    // Whoever was asked late may make up for it, but not for a time in which nothing was to be sent.
    const double from = std::max(paid_ms_, static_cast<double>(now_ms) - kLateMs);
    paid_ms_ = from + 1000.0 * static_cast<double>(bytes) / bytes_per_s_;
  }

 private:
  static constexpr double kLateMs = 200;

  const double bytes_per_s_;
  mutable std::mutex mutex_;
  double paid_ms_ = 0;  // until then
};

}  // namespace penstock
