// WaitingRoom: calls whose answer waits for something to change. Lives on the scheduler's loop.
#pragma once

#include <kj/async.h>
#include <kj/debug.h>

#include <utility>
#include <vector>

#include "common/net/kj_loop.h"

namespace penstock {

class WaitingRoom {
 public:
  explicit WaitingRoom(KjLoop& loop) : loop_(loop) {}

  // Resolves at the next Wake, or after `ms`.
  kj::Promise<void> Wait(uint64_t ms) {
    if (closed_) return KJ_EXCEPTION(DISCONNECTED, "the scheduler ends");
    auto paf = kj::newPromiseAndFulfiller<void>();
    waiting_.push_back(kj::mv(paf.fulfiller));
    return paf.promise.exclusiveJoin(loop_.Sleep(ms));
  }
  // Something may have changed: all look again.
  void Wake() {
    for (auto& fulfiller : std::exchange(waiting_, {})) fulfiller->fulfill();
  }
  // Who waits, or would from now on, fails.
  void Close() {
    closed_ = true;
    waiting_.clear();
  }
  uint64_t NowMs() const {
    return static_cast<uint64_t>((loop_.timer().now() - kj::origin<kj::TimePoint>()) / kj::MILLISECONDS);
  }

 private:
  KjLoop& loop_;
  std::vector<kj::Own<kj::PromiseFulfiller<void>>> waiting_;
  bool closed_ = false;
};

}  // namespace penstock
