// StepLoop: pulls, pushes, or steps (pull then push of the same rows, as a training loop has them) of a
// table's rows, with some in flight.
//
// Shared by the benchmarks. Belongs to one thread.
#pragma once

#include <chrono>
#include <functional>
#include <future>
#include <memory>
#include <span>
#include <vector>

#include "client/client.h"

namespace penstock {

enum class Work { kPull, kPush, kStep };

class StepLoop {
 public:
  using Clock = std::chrono::steady_clock;
  struct Options {
    Work work = Work::kStep;
    TableId table = 0;
    size_t inflight = 1;
    bool combine = true;       // of PushOptions
    uint64_t deadline_ms = 0;  // of each call; 0: the client's
  };
  struct Hooks {
    // Asked between two waits: the run ends with kCancelled.
    std::function<bool()> interrupted = [] { return false; };
    // A pull's values, [keys of the batch, dim].
    std::function<Status(size_t batch, std::span<const float> values)> pulled;
    // The work of a batch is done; what it took from its first call to its last answer.
    std::function<Status(size_t batch, Clock::duration took)> done;
  };

  // Every row that is pushed gets `gradient`, [dim] of the table.
  StepLoop(Client& client, const Options& options, std::shared_ptr<Producer> producer,
           std::vector<float> gradient);
  void SetGradient(std::vector<float> gradient);
  // Begins batches no faster than that; 0: as fast as they are answered.
  void SetRate(double rows_per_second) { rows_per_second_ = rows_per_second; }

  // Goes round the batches of `pool` from `begin` for so long, and then until all that was begun is answered.
  // Returns rows a second of the batches that were done in that time. The first error of a call or of a hook
  // ends it.
  Result<double> Run(const std::vector<std::vector<Key>>& pool, Clock::time_point begin, double seconds,
                     const Hooks& hooks);

 private:
  struct Flight {
    size_t batch = 0;
    Clock::time_point begun;
    std::vector<float> values;             // what it pulls
    std::future<Status> pull;              // valid while it pulls
    std::future<Result<PushResult>> push;  // valid while it pushes
    bool flies() const { return pull.valid() || push.valid(); }
    ~Flight() {
      if (pull.valid()) pull.wait();  // for `values`
    }
  };

  void Begin(const std::vector<std::vector<Key>>& pool, Flight& flight);
  void Push(const std::vector<Key>& keys, std::span<const float> values, Flight& flight);
  // Waits for what the flight waits for, and begins what comes after it.
  Status Advance(const std::vector<std::vector<Key>>& pool, Flight& flight, const Hooks& hooks);

  Client& client_;
  const Options options_;
  const std::shared_ptr<Producer> producer_;
  std::vector<float> gradient_;
  std::vector<float> filled_;  // push: what a whole batch is pushed
  double rows_per_second_ = 0;
  size_t next_batch_ = 0;  // goes on from run to run
};

}  // namespace penstock
