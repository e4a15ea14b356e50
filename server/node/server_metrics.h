// The counters of one server process: plain atomics that cores add to and the HTTP page reads.
#pragma once

#include <atomic>
#include <cstdint>

#include "common/base/metrics.h"
#include "common/net/rpc_server.h"

namespace penstock {

struct ServerMetrics {
  std::atomic<uint64_t> pull_rows{0};
  std::atomic<uint64_t> push_rows{0};
  std::atomic<uint64_t> push_units{0};
  std::atomic<uint64_t> duplicate_units{0};
  std::atomic<uint64_t> refused_units{0};
  MetricFamily<Counter>* not_finite_rows = nullptr;  // by table; made by Declare
  std::atomic<uint64_t> rounds{0};
  std::atomic<uint64_t> expired_rows{0};
  std::atomic<uint64_t> windows{0};
  std::atomic<uint64_t> deltas{0};
  std::atomic<uint64_t> log_bytes_written{0};
  std::atomic<uint64_t> log_failures{0};
  std::atomic<uint64_t> folds{0};
  std::atomic<uint64_t> fold_failures{0};
  std::atomic<uint64_t> compactions{0};  // of the base, for its deletions
  std::atomic<uint64_t> early_folds{0};
  std::atomic<uint64_t> evicted_rows{0};
  std::atomic<uint64_t> fetched_rows{0};
  std::atomic<uint64_t> absent_rows{0};
  std::atomic<uint64_t> replicated_bytes{0};    // sent to backups
  std::atomic<uint64_t> replica_deltas{0};      // taken as a backup, pieces of seeds included
  std::atomic<uint64_t> replica_tail_bytes{0};  // gauge: kept for backups
  std::atomic<uint64_t> loading_tables{0};      // gauge: Shard::Loading, of all shards
  std::atomic<uint64_t> waiting_calls{0};       // gauge: for cold rows
  std::atomic<uint64_t> log_bytes{0};           // gauge: bytes of unfolded segments
  std::atomic<uint64_t> fold_at_bytes{0};       // gauge: FoldAt
  std::atomic<uint64_t> trouble{0};             // gauge: 1 while something keeps the server from its work
  std::atomic<uint64_t> damaged_bytes{0};       // gauge: DamagedFolder
  std::atomic<uint64_t> resident_bytes{0};      // gauge: rows, indexes and marks
  std::atomic<uint64_t> marks_bytes{0};         // gauge
  RpcCounters rpc;

  // As penstock_server_*; this must outlive the registry's last Text().
  void Declare(MetricsRegistry& registry);
  void CountNotFinite(const std::string& table, uint64_t rows) const {
    if (rows > 0 && not_finite_rows != nullptr)
      not_finite_rows->With({table}).Increment(static_cast<double>(rows));
  }
};

}  // namespace penstock
