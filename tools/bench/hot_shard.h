// HotShard: steps over rows of one shard alone, as fast as they are answered.
//
// It has a thread and a table of its own, which is dropped at its end.
#pragma once

#include <atomic>
#include <memory>
#include <mutex>
#include <thread>
#include <vector>

#include "tools/bench/step_loop.h"
#include "tools/bench/workload.h"

namespace penstock {

class HotShard {
 public:
  // Of `options` it takes what says how rows and steps are. `shards`: of the cluster.
  static Result<std::unique_ptr<HotShard>> Start(Client& client, const WorkloadOptions& options,
                                                 ShardId shard, uint32_t shards);
  ~HotShard();

  // Rows a second since it was asked last, or began. The error of a step ends it.
  Result<double> TakeRate();

 private:
  using Clock = StepLoop::Clock;

  HotShard(Client& client, const WorkloadOptions& options, TableSpec table,
           std::shared_ptr<Producer> producer, std::vector<Key> keys);
  void Run();

  Client& client_;
  const TableSpec table_;
  StepLoop loop_;
  const std::vector<std::vector<Key>> pool_;
  std::atomic<bool> ends_{false};
  std::atomic<uint64_t> rows_{0};
  Clock::time_point since_ = Clock::now();
  std::mutex mutex_;
  Status failed_;
  std::thread thread_;  // last: it uses all of the above
};

}  // namespace penstock
