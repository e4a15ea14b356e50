#include "server/node/server_metrics.h"

namespace penstock {

void ServerMetrics::Declare(MetricsRegistry& registry) {
  const auto read = [&](const char* name, const char* help, const std::atomic<uint64_t>& value) {
    registry.AddCallback(name, help, [&value] { return static_cast<double>(value.load()); });
  };
  read("penstock_server_pull_rows_total", "Rows read by clients.", pull_rows);
  read("penstock_server_push_rows_total", "Rows that pushes were applied to.", push_rows);
  read("penstock_server_push_units_total", "Units applied: one table of one shard in one push.", push_units);
  read("penstock_server_duplicate_units_total", "Units that had been applied before and were dropped.",
       duplicate_units);
  read("penstock_server_refused_units_total", "Units refused: wrong, not finite, or over a limit.",
       refused_units);
  not_finite_rows =
      &registry.AddCounters("penstock_server_not_finite_rows_total",
                            "Steps that left values or optimizer state of a row NaN or infinite.", {"table"});
  read("penstock_server_rounds_total", "Rounds of sync jobs committed: one table of one shard each.", rounds);
  read("penstock_server_expired_rows_total", "Rows deleted by rules of expiry.", expired_rows);
  read("penstock_server_windows_total", "Commit windows closed.", windows);
  read("penstock_server_deltas_total", "Deltas built.", deltas);
  read("penstock_server_log_written_bytes_total", "Bytes of deltas given to the log.", log_bytes_written);
  read("penstock_server_log_failures_total", "Failed writes or syncs of the log.", log_failures);
  read("penstock_server_folds_total", "Folds of the log into the base.", folds);
  read("penstock_server_fold_failures_total", "Folds that failed; they are tried again.", fold_failures);
  read("penstock_server_compactions_total", "Compactions of the base to give back the space of deleted rows.",
       compactions);
  read("penstock_server_early_folds_total",
       "Folds that were asked for to evict rows or to forget deletions, before the log was long.",
       early_folds);
  read("penstock_server_evicted_rows_total", "Rows that left memory and stay in the base.", evicted_rows);
  read("penstock_server_fetched_rows_total", "Rows that were read from the base for a call.", fetched_rows);
  read("penstock_server_absent_rows_total",
       "Rows that were looked for in the base and not there: errors of the filter.", absent_rows);
  read("penstock_server_replicated_bytes_total", "Bytes of deltas and seeds sent to backups.",
       replicated_bytes);
  read("penstock_server_replica_deltas_total", "Deltas and pieces of seeds taken as a backup.",
       replica_deltas);
  read("penstock_server_replica_tail_bytes", "Deltas that are kept for backups.", replica_tail_bytes);
  read("penstock_server_loading_tables",
       "Tables, of each shard, whose rows are still being read from the base after a restart.",
       loading_tables);
  read("penstock_server_waiting_calls", "Pulls and units that wait for rows from the base.", waiting_calls);
  read("penstock_server_log_bytes", "Log that is not folded yet.", log_bytes);
  read("penstock_server_fold_at_bytes", "Length of the log at which it is folded.", fold_at_bytes);
  read("penstock_server_trouble", "1 while something keeps the server from its work, which the status names.",
       trouble);
  read("penstock_server_damaged_bytes", "Damaged files that were put aside and wait to be looked at.",
       damaged_bytes);
  read("penstock_server_resident_bytes", "Memory of rows, indexes and marks.", resident_bytes);
  rpc.Declare("penstock_server", registry);
  read("penstock_server_marks_bytes", "Of these: marks of what was applied.", marks_bytes);
}

}  // namespace penstock
