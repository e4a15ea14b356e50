// ShardProbe: pushes one row of one shard again and again, each push after the answer to the one before, and
// notes how long there was none.
//
// It has a thread and a table of its own, which is dropped at its end.
#pragma once

#include <atomic>
#include <chrono>
#include <memory>
#include <mutex>
#include <thread>

#include "client/client.h"

namespace penstock {

class ShardProbe {
 public:
  // When a first push is answered. `shards`: of the cluster.
  static Result<std::unique_ptr<ShardProbe>> Start(Client& client, ShardId shard, uint32_t shards,
                                                   Durability durability);
  ~ShardProbe();

  // The longest time between two answers, in ms, until the answer to a push that was begun after this was
  // called. The error of a push ends it; kDeadlineExceeded: there is no answer.
  Result<double> TakeLongestMs();

 private:
  using Clock = std::chrono::steady_clock;

  ShardProbe(Client& client, TableSpec table, std::shared_ptr<Producer> producer, Key key);
  void Run();

  Client& client_;
  const TableSpec table_;
  const std::shared_ptr<Producer> producer_;
  const Key key_;
  std::atomic<bool> ends_{false};
  std::mutex mutex_;
  Status failed_;
  Clock::time_point answered_ = Clock::now();
  Clock::duration longest_{};
  uint64_t answers_ = 0;
  std::thread thread_;  // last: it uses all of the above
};

}  // namespace penstock
