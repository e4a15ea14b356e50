// MapKeeper: the shard map that the client goes by, and its single-flight refreshing with back-off.
//
// Lives on the client's loop, but for snapshot functions that say otherwise.
#pragma once

#include <kj/async.h>

#include <functional>
#include <memory>
#include <mutex>
#include <vector>

#include "client/bucketer.h"
#include "common/cluster/scheduler_link.h"
#include "common/cluster/shard_map.h"
#include "common/net/kj_loop.h"

namespace penstock {

struct MapKeeperOptions {
  uint64_t min_back_off_ms = 10;
  uint64_t max_back_off_ms = 500;
  uint64_t call_timeout_ms = 2000;  // of one question to the scheduler
};

class MapKeeper : private kj::TaskSet::ErrorHandler {
 public:
  using EpochSeen = std::function<void(ShardId, Epoch)>;

  // epoch_seen is called for every shard that a map names in a later epoch than was known.
  MapKeeper(KjLoop& loop, SchedulerLink& scheduler, MapKeeperOptions options, EpochSeen epoch_seen);
  ~MapKeeper();

  // Resolves after the next look at the scheduler's map, successful or not. Those who ask while one is under
  // way share the one after the back-off: looks that change nothing follow each other after 10 ms at first
  // and 500 ms in the end.
  kj::Promise<void> Refresh();
  // One look at once, without retry: the first one, whose failure the caller wants to know.
  kj::Promise<Status> Load();
  // A server said that it knows this epoch of the shard. Lower ones than ours are ignored.
  void Adopt(ShardId shard, Epoch epoch);

  const ShardMap& map() const { return map_; }
  const ShardEntry& entry(ShardId shard) const { return map_.shards[shard]; }
  // Why the last look failed; ok if it did not.
  const Status& last_error() const { return last_error_; }

  // Any thread. Null before the first map.
  std::shared_ptr<const ShardLayout> layout() const;

 private:
  void Look();
  void Take(ShardMap map);
  void taskFailed(kj::Exception&& e) override;

  KjLoop& loop_;
  SchedulerLink& scheduler_;
  const MapKeeperOptions options_;
  const EpochSeen epoch_seen_;
  ShardMap map_;
  Status last_error_;
  bool looking_ = false;
  uint64_t back_off_ms_ = 0;
  kj::TimePoint last_look_ = kj::origin<kj::TimePoint>();
  std::vector<kj::Own<kj::PromiseFulfiller<void>>> waiting_;
  mutable std::mutex mutex_;
  std::shared_ptr<const ShardLayout> layout_;  // guarded by mutex_
  kj::TaskSet tasks_;                          // last: its promises use all of the above
};

}  // namespace penstock
