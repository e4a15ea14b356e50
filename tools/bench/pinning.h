// Pinning: keeping the processes of a measurement on processors of their own.
#pragma once

#include <sched.h>
#include <sys/types.h>

#include <cstddef>

#include "common/base/status.h"

namespace penstock {

// The i-th of the processors that this process may run on, counted around.
int ProcessorAt(size_t i);
// All threads of the process, and those that they start from then on, run on this processor alone.
Status PinProcess(pid_t pid, int processor);

// The calling thread, on this processor for as long as the object lives.
class PinnedThread {
 public:
  explicit PinnedThread(int processor);
  ~PinnedThread();
  PinnedThread(const PinnedThread&) = delete;
  PinnedThread& operator=(const PinnedThread&) = delete;

 private:
  cpu_set_t before_;
};

}  // namespace penstock
