// MapKeeper: drives MapFsm: asks the scheduler for the shard map when somebody wants a look.
//
// Lives on the client's loop, but for snapshot functions that say otherwise.
#pragma once

#include <kj/async.h>

#include <memory>
#include <mutex>
#include <vector>

#include "client/bucketer.h"
#include "client/map_fsm.h"
#include "common/cluster/scheduler_link.h"
#include "common/net/kj_loop.h"

namespace penstock {

class MapKeeper : private kj::TaskSet::ErrorHandler {
 public:
  // `call_timeout_ms`: of one question to the scheduler.
  MapKeeper(KjLoop& loop, SchedulerLink& scheduler, const MapFsmOptions& options, uint64_t call_timeout_ms);
  ~MapKeeper();

  // Resolves after the next look at the scheduler's map, successful or not. Those who ask while one is under
  // way share the one after it.
  kj::Promise<void> Refresh();
  // One look at once, without retry: the first one, whose failure the caller wants to know.
  kj::Promise<Status> Load();

  MapFsm& fsm() { return fsm_; }
  const ShardMap& map() const { return fsm_.map(); }

  // Any thread. Null before the first map.
  std::shared_ptr<const ShardLayout> layout() const;

 private:
  void LookAfter(uint64_t pause_ms);
  Status Take(ShardMap map);
  void taskFailed(kj::Exception&& e) override;

  KjLoop& loop_;
  SchedulerLink& scheduler_;
  const uint64_t call_timeout_ms_;
  MapFsm fsm_;
  std::vector<kj::Own<kj::PromiseFulfiller<void>>> waiting_;
  mutable std::mutex mutex_;
  std::shared_ptr<const ShardLayout> layout_;  // guarded by mutex_
  kj::TaskSet tasks_;                          // last: its promises use all of the above
};

}  // namespace penstock
