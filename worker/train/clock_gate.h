// ClockGate: lets a worker of an ssp job go on only while it is not too far ahead of the slowest (rule 29).
//
// The step that takes the worker to clock n may begin (with the pull of its rows) when the slowest worker of
// the job, itself included, has reached n - staleness. The gate tells the scheduler the newest clock that was
// reached and remembers the minimum that it answers; one call is in flight at a time, and what is reached
// meanwhile goes with the next. Without a scheduler the worker goes on to its bound and waits there, which is
// said once.
//
// The training thread's; its calls run on the client's loop.
#pragma once

#include <cstdint>
#include <memory>

#include "client/client.h"
#include "worker/train/lease_task.h"

namespace penstock {

class ClockGate {
 public:
  // Goes on from `reached`.
  ClockGate(Client& client, LeaseTask& task, uint32_t staleness, uint64_t reached);
  ~ClockGate();
  ClockGate(const ClockGate&) = delete;
  ClockGate& operator=(const ClockGate&) = delete;

  uint64_t reached() const { return reached_; }
  uint32_t staleness() const { return staleness_; }
  // The push with this clock was answered.
  void Reach(uint64_t clock);
  // Whether the step to `clock` may begin now, as far as is known here.
  bool Open(uint64_t clock) const;
  // Waits until it may. kCancelled: the lease was taken away. Own pushes count: those with clocks at or below
  // clock - staleness must have been answered before.
  Status Wait(uint64_t clock);

 private:
  struct Shared;

  Client& client_;
  LeaseTask& task_;
  const uint32_t staleness_;
  uint64_t reached_;
  std::shared_ptr<Shared> shared_;  // with the loop
};

}  // namespace penstock
