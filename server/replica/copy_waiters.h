// CopyWaiters: who waits until every in-sync backup has what was applied, and what they are told (rule 37).
//
// Pure, not thread-safe: the shards are looked at whenever something may have changed, and times
// (milliseconds of a clock that only rises) are passed in.
#pragma once

#include <absl/functional/any_invocable.h>

#include <functional>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "server/replica/replica_shards.h"

namespace penstock {

class CopyWaiters {
 public:
  using Done = absl::AnyInvocable<void(Status)>;
  // Shall call it, after what it is doing.
  using Wake = std::function<void(Done, Status)>;

  // `node` names the server in errors.
  CopyWaiters(const ReplicaShards& shards, std::string node, uint64_t wait_ms)
      : shards_(shards), node_(std::move(node)), wait_ms_(wait_ms) {}

  // Ok: every in-sync backup has these deltas at the level; the primary itself has them, which the caller has
  // waited for. kWrongEpoch: a shard is not served any more in the life and epoch that the delta names, so
  // that what copies say now is not about it. nullopt: not yet. Deltas that are reached leave the list, so
  // that each is looked at seldom.
  std::optional<Status> Look(std::vector<DeltaRef>* deltas, Durability level) const;
  // Wakes with what Look says once it does, or with kOutcomeUnknown after `wait_ms`.
  void Add(std::vector<DeltaRef> deltas, Durability level, uint64_t now_ms, Done done);
  void Check(uint64_t now_ms, const Wake& wake);
  void EndAll(const Status& status, const Wake& wake);
  // Shards of which some waiter's delta is logged by all copies, but will not be synced by itself
  // (CopySet::OwesSync).
  std::set<ShardId> Owed() const;

 private:
  struct Waiter {
    std::vector<DeltaRef> deltas;
    Durability level;
    uint64_t deadline_ms;
    Done done;
  };

  // In the delta's life and epoch; else nullptr.
  const ShardReplica* FindServed(const DeltaRef& delta) const;
  Status Overtaken(const DeltaRef& delta) const;
  Status Late(const DeltaRef& delta) const;

  const ReplicaShards& shards_;
  const std::string node_;
  const uint64_t wait_ms_;
  std::vector<Waiter> waiters_;
};

}  // namespace penstock
