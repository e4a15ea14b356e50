// Named fault points: steps at which a test, or an operator of a test cluster, can make a process fail or
// die.
//
//   PENSTOCK_RETURN_IF_ERROR(PENSTOCK_FAULT("log.append.before"));
//
// While nothing is armed a point costs one relaxed load. Points are armed by the environment
// (ArmFaultsFromEnvironment, called by a program's main before it starts threads) or by a test (ArmFault).
// The list is one per process on purpose: a point must be reachable in code that no test wires up. Any thread
// may hit a point; hits are counted while anything is armed.
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <string>
#include <string_view>

#include "common/base/status.h"

namespace penstock {

// Called at each hit with its number (the first is 1). What it returns is what the point evaluates to.
using FaultCallback = std::function<Status(uint64_t hit)>;

void ArmFault(std::string name, FaultCallback callback);
// Arms what a specification says, a comma-separated list of NAME=ACTION[WHEN]:
//   ACTION  kill          SIGKILL to the process
//           error:ERRNO   the point fails with that error: a name such as ENOSPC or a number
//           delay:MS      the thread sleeps for so many milliseconds
//   WHEN    @N            at the Nth hit alone (the first is 1)
//           %P            at each hit with probability P, 0 < P <= 1
//           nothing       at each hit
// InvalidArgument names the part that is wrong, and nothing of the specification is armed.
Status ArmFaults(std::string_view specification, uint64_t seed);
// ArmFaults of PENSTOCK_FAULT_POINTS with the seed PENSTOCK_FAULT_SEED (default 1). Ok when the variable is
// not set.
Status ArmFaultsFromEnvironment();
// Nothing is armed any more, and all hits are forgotten.
void DisarmAll();
// How often the point was reached since something was first armed.
uint64_t FaultHits(std::string_view name);

namespace fault_internal {
inline std::atomic<bool> any_armed{false};
Status Hit(const char* name);
bool Armed(const char* name);
}  // namespace fault_internal

#if defined(PENSTOCK_FAULTS)
#define PENSTOCK_FAULT(name)                                             \
  (::penstock::fault_internal::any_armed.load(std::memory_order_relaxed) \
       ? ::penstock::fault_internal::Hit(name)                           \
       : ::penstock::Status())
// Whether the point is armed: for code that must take another way to reach it. Counts no hit.
#define PENSTOCK_FAULT_ARMED(name)                                          \
  (::penstock::fault_internal::any_armed.load(std::memory_order_relaxed) && \
   ::penstock::fault_internal::Armed(name))
#else
#define PENSTOCK_FAULT(name) (::penstock::Status())
#define PENSTOCK_FAULT_ARMED(name) (false)
#endif

}  // namespace penstock
