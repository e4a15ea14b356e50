// RunStoreBench: `bench store`: how many rows a second the code of a server pulls and pushes when there is no
// network, no log and no other thread: shards as servers have them, with units of the rows that a batch has
// for each.
//
// Every row's value is checked at the end (RowOracle). One thread.
#pragma once

#include <cstdint>
#include <functional>
#include <nlohmann/json_fwd.hpp>

#include "common/base/status.h"
#include "tools/bench/limit.h"
#include "tools/bench/statistics.h"
#include "tools/bench/workload.h"

namespace penstock {

struct StoreFigures {
  Spread pull_rows_per_second, push_rows_per_second;
};

// Of the options: keys, rows, dim, optimizer, batches, seconds, repeats, seed. `shards` is the cluster's
// number, a power of two.
Result<StoreFigures> RunStoreBench(const WorkloadOptions& options, uint32_t shards,
                                   const std::function<bool()>& interrupted);
nlohmann::json StoreResult(const WorkloadOptions& options, uint32_t shards, const StoreFigures& figures,
                           const Limit& limit);

}  // namespace penstock
