// SpinGet: the value of a future, for whom waking up takes too long.
//
// A thread that sleeps in std::future::get is woken some ten microseconds after the answer has come, on many
// machines more. With ClientOptions::spin_us the client's loop does not sleep between the messages of calls
// that follow each other; a caller that waits by SpinGet does not either:
//
//   auto rows = SpinGet(client->Pull(tables), client->options().spin_us);
#pragma once

#include <sched.h>

#include <chrono>
#include <cstdint>
#include <future>
#include <utility>

namespace penstock {

// Looks for the value again and again for up to `spin_us` microseconds, then sleeps. 0: sleeps at once.
template <typename T>
T SpinGet(std::future<T> future, uint64_t spin_us) {
  using Clock = std::chrono::steady_clock;
  if (spin_us > 0) {
    const auto end = Clock::now() + std::chrono::microseconds(spin_us);
    while (future.wait_for(std::chrono::seconds(0)) == std::future_status::timeout && Clock::now() < end)
      sched_yield();  // the client's loop may be waiting for this processor
  }
  return future.get();
}

}  // namespace penstock
