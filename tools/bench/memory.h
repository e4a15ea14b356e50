// RunMemoryBench: a table several times larger than the server's memory budget: does it read back, how fast
// are steps over it, and how much memory does the server take.
//
// Every row is written once with values of its own and read back. Then steps are measured, a pull of `keys`
// rows and a push to each of them: over rows drawn uniformly, and over rows drawn from a Zipf distribution,
// with repetition in both. Values are whole numbers, so that every row's value is known exactly at any time:
// at the end all rows are read back again, bit for bit, and one that is not what was acknowledged fails the
// run.
//
// One thread drives it. The table is made for the run and dropped after it.
#pragma once

#include <cstdint>
#include <functional>
#include <nlohmann/json_fwd.hpp>
#include <string>

#include "client/client.h"
#include "common/base/status.h"
#include "tools/bench/statistics.h"

namespace penstock {

struct MemoryOptions {
  uint64_t budget_bytes = 512 << 20;  // of the server
  uint64_t rows = 16'000'000;
  uint32_t dim = 64;
  uint64_t keys = 10000;  // of a step
  double zipf = 1.05;     // exponent
  std::string durability = "memory";
  uint32_t inflight = 4;  // steps
  double seconds = 5;     // of a repeat
  uint32_t repeats = 5;
  uint64_t seed = 1;
};

struct MemoryFigures {
  double load_rows_per_second = 0;
  double read_rows_per_second = 0;  // all rows in order, right after the load
  Spread random_rows_per_second, zipf_rows_per_second;
  uint64_t steps = 0;
};

// kInvalidArgument names the option.
Status CheckMemoryOptions(const MemoryOptions& options);
// `say` gets a line when a part is done. kDataLoss: a row is not what was acknowledged. kCancelled:
// interrupted.
Result<MemoryFigures> RunMemoryBench(Client& client, const MemoryOptions& options,
                                     const std::function<void(const std::string&)>& say,
                                     const std::function<bool()>& interrupted);
// What memory a running process has resident, and the most that it has had so far.
Result<uint64_t> ResidentBytes(int pid);
Result<uint64_t> PeakResidentBytes(int pid);
nlohmann::json MemoryJson(const MemoryOptions& options, const MemoryFigures& figures,
                          uint64_t peak_resident_bytes);

}  // namespace penstock
