// Leaving: a server that is to end tells the scheduler so with its heartbeats, and waits until it may.
//
// Begin and Ended on the thread that ends the server, the others on the control loop.
#pragma once

#include <glog/logging.h>

#include <atomic>
#include <chrono>
#include <string>
#include <utility>

namespace penstock {

class Leaving {
 public:
  // `name` of the server.
  explicit Leaving(std::string name) : name_(std::move(name)) {}

  void Begin() {
    begun_ = Clock::now();
    answered_ = begun_.load();
    wanted_ = true;
    LOG(INFO) << name_ << " is to end: what it holds goes to other servers first (server.drain_on_stop)";
  }
  // Whether it need not, or cannot, wait any longer; says why in the log.
  bool Ended(uint64_t grace_ms) const {
    const auto now = Clock::now();
    if (may_leave_) {
      LOG(INFO) << name_ << " holds nothing that another server could take";
      return true;
    }
    if (now - answered_.load() > kSilent) {
      LOG(WARNING) << name_ << ": the scheduler does not answer: it ends with what it holds";
      return true;
    }
    if (now - begun_.load() > std::chrono::milliseconds(grace_ms)) {
      LOG(WARNING) << name_ << ": not everything went to other servers within server.drain_ms = " << grace_ms
                   << ": it ends with what is left";
      return true;
    }
    return false;
  }

  bool wanted() const { return wanted_; }
  // What the answer to a heartbeat says.
  void OnHeartbeat(bool may_leave) {
    answered_ = Clock::now();
    may_leave_ = may_leave;
  }

 private:
  using Clock = std::chrono::steady_clock;
  static constexpr auto kSilent = std::chrono::seconds(5);

  const std::string name_;
  std::atomic<bool> wanted_{false}, may_leave_{false};
  std::atomic<Clock::time_point> begun_{}, answered_{};
};

}  // namespace penstock
