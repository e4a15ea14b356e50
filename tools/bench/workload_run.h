// WorkloadRun: `bench pull|push|step|latency` against a cluster that runs: a table that is filled, worker
// processes that pull and push its rows, and the proof that no update was lost.
//
// A repeat ends with every row read back: what it holds must be what all workers were told is applied. Where
// sums are exact, every second repeat takes back, so that they stay exact however long it goes on.
//
// One thread. The table is made for the run and dropped at its end.
#pragma once

#include <functional>
#include <future>
#include <memory>
#include <vector>

#include "client/client.h"
#include "tools/bench/row_oracle.h"
#include "tools/bench/workers.h"
#include "tools/bench/workload.h"

namespace penstock {

class WorkloadRun {
 public:
  struct Repeat {
    double rows_per_second = 0;  // of all workers
    double p50_us = 0, p99_us = 0, p999_us = 0;
    uint64_t calls = 0;
  };

  // Makes the table and fills it, and has the workers (options.workers of them) prepare.
  static Result<std::unique_ptr<WorkloadRun>> Start(Client& client, const WorkloadOptions& options,
                                                    WorkersOptions workers,
                                                    const std::function<bool()>& interrupted);
  ~WorkloadRun();

  // Measures once, and checks. `fold`: the servers are asked for a fold a quarter in. `rate`: no worker
  // begins more rows a second; 0: as fast as it goes. `worked`
  // is called when the workers are done, before the check. kDataLoss: the table does not hold what was
  // acknowledged.
  Result<Repeat> Measure(
      double seconds, bool fold, double rate = 0, const std::function<void()>& worked = [] {});
  // What the two of them do by themselves, for other measurements. Every row is pushed, one to three times.
  Status Fill();
  // Every row against what was acknowledged.
  Status Check();
  // Rows from all over the table, as soon as it is served, at most a minute from now.
  std::future<Result<PullResult>> PullSome();

 private:
  WorkloadRun(Client& client, const WorkloadOptions& options, const WorkersOptions& workers, TableSpec table,
              const std::function<bool()>& interrupted);

  Client& client_;
  const WorkloadOptions options_;
  const TableSpec table_;
  const std::function<bool()> interrupted_;
  RowOracle oracle_;
  Workers workers_;
  std::vector<std::vector<std::vector<Key>>> pools_;  // of each worker
  std::vector<int64_t> pushes_;                       // of each row, those of negative sign taken away
  int sign_ = 1;
};

// A warm-up and the repeats; `folds` false: the cluster neither logs nor folds while it is measured, and is
// not asked to.
Result<WorkloadFigures> RunWorkload(Client& client, const WorkloadOptions& options,
                                    const WorkersOptions& workers, bool folds,
                                    const std::function<bool()>& interrupted);

// Two workloads over tables of the same cluster, measured in turn, so that whatever else the machine does
// touches both: the ratio of each pair, and the rates.
struct PairFigures {
  Spread ratio;  // first over second
  Spread first_rows_per_second, second_rows_per_second;
};
Result<PairFigures> RunPairs(Client& client, const WorkloadOptions& first, const WorkloadOptions& second,
                             const WorkersOptions& workers, uint32_t pairs,
                             const std::function<bool()>& interrupted);

}  // namespace penstock
