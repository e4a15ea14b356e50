// SeedPace: bounds how many bytes a second of its rows a server sends to copies that are being seeded, all
// of its cores together (server.seed_bytes_per_s).
//
// What was sent is paid for by waiting before the next piece, so that on average the bound is kept exactly.
// Times are milliseconds of the process's steady clock. Thread-safe.
#pragma once

#include <algorithm>
#include <cstdint>
#include <map>
#include <mutex>
#include <optional>

namespace penstock {

class SeedPace {
 public:
  // 0: no bound.
  explicit SeedPace(uint64_t bytes_per_s) : bytes_per_s_(static_cast<double>(bytes_per_s)) {}

  // Whether core `who` may make another piece. Cores that ask take turns.
  bool May(uint32_t who, uint64_t now_ms) {
    if (bytes_per_s_ == 0) return true;
    std::lock_guard lock(mutex_);
    asked_ms_[who] = now_ms;
    if (paid_ms_ > static_cast<double>(now_ms)) return false;
    return who != last_ || std::ranges::none_of(asked_ms_, [&](const auto& other) {
             return other.first != who && other.second + kAsksEveryMs >= now_ms;
           });
  }
  void Sent(uint32_t who, uint64_t bytes, uint64_t now_ms) {
    if (bytes_per_s_ == 0) return;
    std::lock_guard lock(mutex_);
    last_ = who;
    asked_ms_.erase(who);
    // Whoever was asked late may make up for it, but not for a time in which nothing was to be sent.
    const double from = std::max(paid_ms_, static_cast<double>(now_ms) - kLateMs);
    paid_ms_ = from + 1000.0 * static_cast<double>(bytes) / bytes_per_s_;
  }

 private:
  static constexpr double kLateMs = 200;
  static constexpr uint64_t kAsksEveryMs = 150;  // whoever has something to send, or oftener

  const double bytes_per_s_;
  std::mutex mutex_;
  double paid_ms_ = 0;  // until then
  std::optional<uint32_t> last_;
  std::map<uint32_t, uint64_t> asked_ms_;  // since it has sent something
};

}  // namespace penstock
