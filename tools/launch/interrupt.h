// InterruptSignals: SIGINT, SIGTERM and SIGHUP as something to wait for, instead of something that ends the
// process.
//
// Make it in main before any other thread exists: it blocks the signals for the calling thread and all that
// are started later. One thread.
#pragma once

#include <cstdint>

namespace penstock {

class InterruptSignals {
 public:
  InterruptSignals();
  ~InterruptSignals();
  InterruptSignals(const InterruptSignals&) = delete;
  InterruptSignals& operator=(const InterruptSignals&) = delete;

  // Waits at most so long; true when a signal came, now or in an earlier call.
  bool Wait(uint64_t ms);
  bool Received() { return Wait(0); }
  // The first one that came, 0: none yet.
  int signal() const { return signal_; }
  // Takes up waiting afresh after a signal was acted on: the next Wait is about the next signal.
  void Clear() { signal_ = 0; }
  // Readable when a signal waits, for a poll together with others.
  int fd() const { return fd_; }

 private:
  int fd_ = -1;
  int signal_ = 0;
};

}  // namespace penstock
