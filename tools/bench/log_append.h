// RunLogBench: `bench log`: how fast deltas go into the delta log of a server, written (level logged) and
// synced (level synced).
//
// The deltas are those of one shard whose rows are pushed in batches; they are built before the clock starts.
// After each repeat the log is replayed: every delta must be there. One thread; works in a folder of its own.
#pragma once

#include <cstdint>
#include <functional>
#include <nlohmann/json_fwd.hpp>
#include <string>

#include "common/base/status.h"
#include "tools/bench/limit.h"
#include "tools/bench/statistics.h"

namespace penstock {

struct LogOptions {
  uint64_t keys = 10000;  // rows of a delta
  uint32_t dim = 64;
  uint64_t mib = 256;  // of deltas in a repeat
  uint32_t repeats = 5;
};

struct LogFigures {
  Spread logged_bytes_per_second, synced_bytes_per_second;
  uint64_t delta_bytes = 0;
  uint64_t deltas = 0;  // of a repeat
};

// kInvalidArgument names the option.
Status CheckLogOptions(const LogOptions& options);
// `folder` is there and empty.
Result<LogFigures> RunLogBench(const LogOptions& options, const std::string& folder,
                               const std::function<bool()>& interrupted);
nlohmann::json LogResult(const LogOptions& options, const LogFigures& figures);

}  // namespace penstock
