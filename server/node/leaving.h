// Leaving: a server that is to end tells the scheduler so with its heartbeats, and waits until it may.
//
// Wait on the thread that ends the server, the others on the control loop.
#pragma once

#include <glog/logging.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdint>
#include <functional>
#include <string>
#include <thread>
#include <utility>

namespace penstock {

class Leaving {
 public:
  // `name` of the server; heartbeats are answered at least every `heartbeat_ms`.
  Leaving(std::string name, uint64_t heartbeat_ms)
      : name_(std::move(name)), silent_ms_(std::max<uint64_t>(5000, 2 * heartbeat_ms + 1000)) {}

  // Until nothing is left that another server could take, or it cannot wait any longer; which of these, it
  // says in the log. Or until `stops`, of which the caller knows why.
  void Wait(uint64_t grace_ms, const std::function<bool()>& stops) {
    answered_ = Clock::now();
    wanted_ = true;
    LOG(INFO) << name_ << " is to end: what it holds goes to other servers first (server.drain_on_stop)";
    const auto begun = Clock::now();
    while (!stops() && !Ended(begun, grace_ms)) std::this_thread::sleep_for(std::chrono::milliseconds(50));
  }

  bool wanted() const { return wanted_; }
  // What the answer to a heartbeat says.
  void OnHeartbeat(bool may_leave) {
    answered_ = Clock::now();
    may_leave_ = may_leave;
  }

 private:
  using Clock = std::chrono::steady_clock;

  bool Ended(Clock::time_point begun, uint64_t grace_ms) const {
    const auto now = Clock::now();
    if (may_leave_) {
      LOG(INFO) << name_ << " holds nothing that another server could take";
      return true;
    }
    if (now - answered_.load() > std::chrono::milliseconds(silent_ms_)) {
      LOG(WARNING) << name_ << ": the scheduler does not answer: it ends with what it holds";
      return true;
    }
    if (now - begun > std::chrono::milliseconds(grace_ms)) {
      LOG(WARNING) << name_ << ": not everything went to other servers within server.drain_ms = " << grace_ms
                   << ": it ends with what is left";
      return true;
    }
    return false;
  }

  const std::string name_;
  const uint64_t silent_ms_;
  std::atomic<bool> wanted_{false}, may_leave_{false};
  std::atomic<Clock::time_point> answered_{};
};

}  // namespace penstock
