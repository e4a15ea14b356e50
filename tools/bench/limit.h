// MeasureLimit: what the machine itself can do, which every other figure is compared with.
//
//   tcp        best bandwidth of a plain TCP connection on loopback between two processes, over several sizes
//              of buffer
//   ping-pong  64 bytes there and back between two processes that sleep while they wait; the median
//   spinning   the same between two processes that ask again and again instead
//   memcpy     copying 64 MiB that no cache holds
//   first touch  writing to 64 MiB of pages that the process has never touched
//
// Forks, so it must be called before the process has other threads. Takes about five seconds.
#pragma once

#include <cstddef>
#include <nlohmann/json_fwd.hpp>

#include "common/base/status.h"
#include "tools/bench/statistics.h"

namespace penstock {

struct LimitOptions {
  int repeats = 5;
  double seconds = 0.15;  // of each bandwidth measurement and of each ping-pong
  bool pin = false;       // the two processes to the first two processors; those that spin always are
};

struct Limit {
  double tcp_bytes_per_second = 0;  // median of the repeats at the best size
  size_t tcp_buffer_bytes = 0;
  Spread tcp;
  Spread pingpong_us;  // of the repeats' medians
  Spread pingpong_spin_us;
  double memcpy_bytes_per_second = 0;
  double first_touch_bytes_per_second = 0;
};

Result<Limit> MeasureLimit(const LimitOptions& options);
// {"tcp_bytes_per_second", "pingpong_p50_us", "pingpong_spin_p50_us", "memcpy_bytes_per_second",
// "tcp_buffer_bytes", ...}
nlohmann::json LimitJson(const Limit& limit);
// {"processor", "cpus", "memory_bytes", "kernel"}
nlohmann::json DescribeMachine();

}  // namespace penstock
