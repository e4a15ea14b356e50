// StepLoop: steps of a table as a training loop has them, pull then push of the same rows, with some in
// flight.
//
// Shared by the benchmarks. Belongs to one thread.
#pragma once

#include <functional>
#include <future>
#include <memory>
#include <vector>

#include "worker/client/client.h"

namespace penstock {

class StepLoop {
 public:
  // Every row of a step is pushed `gradient`, [dim] of the table. deadline_ms of each call: 0 is the
  // client's.
  StepLoop(Client& client, TableId table, std::shared_ptr<Producer> producer, std::vector<float> gradient,
           size_t inflight, uint64_t deadline_ms = 0);

  // Goes round the batches of `pool` for so long and until the last step is acknowledged, and says so of each
  // by its place in the pool. Returns rows a second. The first error of a call or of `acknowledged` ends it;
  // kCancelled when `interrupted` says so.
  Result<double> Run(const std::vector<std::vector<Key>>& pool, double seconds,
                     const std::function<bool()>& interrupted,
                     const std::function<Status(size_t batch)>& acknowledged);

 private:
  struct Flight {
    size_t batch = 0;
    bool pulling = false;
    bool pushing = false;
    std::future<Result<PullResult>> pull;
    std::future<Result<PushResult>> push;
  };

  void Pull(const std::vector<std::vector<Key>>& pool, Flight& flight);
  // Waits for what the flight waits for, and begins what comes after it; true when its step is acknowledged.
  Result<bool> Advance(const std::vector<std::vector<Key>>& pool, Flight& flight);

  Client& client_;
  const TableId table_;
  const std::shared_ptr<Producer> producer_;
  const std::vector<float> gradient_;
  const size_t inflight_;
  const uint64_t deadline_ms_;
  size_t next_batch_ = 0;  // goes on from run to run
};

}  // namespace penstock
