// ReplicaShards: the shards of one core, as those look at them who keep their copies.
#pragma once

#include "server/replica/shard_replica.h"

namespace penstock {

class ReplicaShards {
 public:
  // Served, followed or neither; nullptr: nothing of it is here.
  virtual ShardReplica* FindReplica(ShardId shard) const = 0;
  // Counts the folds into the base that the core has heard of.
  virtual uint64_t folds() const = 0;

 protected:
  ~ReplicaShards() = default;
};

// One that is served now; else nullptr.
inline ShardReplica* FindServed(const ReplicaShards& shards, ShardId shard) {
  ShardReplica* replica = shards.FindReplica(shard);
  return replica != nullptr && replica->granted() ? replica : nullptr;
}

}  // namespace penstock
