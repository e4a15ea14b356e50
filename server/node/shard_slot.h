// ShardSlot: one shard that a core holds, with all that the core knows of it beside its rows.
//
// Owned by the core's thread. A slot is of one life of the shard on this node: another incarnation gets
// another slot.
#pragma once

#include <algorithm>
#include <memory>
#include <string>

#include "server/replica/shard_replica.h"
#include "server/shard/shard.h"

namespace penstock {

// Up to where the base holds a shard.
struct FoldedPoint {
  Incarnation incarnation = 0;
  Lsn lsn = 0;
  uint32_t checksum = 0;
};

struct ShardSlot {
  // `node` names the server in errors.
  ShardSlot(std::unique_ptr<Shard> held, const std::string& node)
      : replica(std::move(held), node), shard(&replica.shard()) {}

  ShardId id() const { return shard->id(); }
  Incarnation incarnation() const { return shard->incarnation(); }
  // Every unit that was told an lsn up to here is logged on all in-sync copies. A unit of a `memory` table
  // was told the lsn of the window it fell in, whose delta may have left it out: until the delta that takes
  // it is logged on all of them, nothing at or above that lsn is said to be.
  Lsn Logged() const {
    const Lsn all_have = replica.Logged();
    Lsn logged = all_have;
    if (memory_told != 0) logged = std::min(logged, memory_told - 1);
    if (memory_taken != 0 && all_have < memory_taken_in) logged = std::min(logged, memory_taken - 1);
    return logged;
  }

  ShardReplica replica;
  Shard* const shard;  // the replica's
  FoldedPoint folded;
  uint64_t served_rows = 0;  // that were pushed and pulled

  // --- What CommitWindow knows of it.
  bool dirty = false;          // the next window takes a delta of it
  bool memory_due = false;     // which takes `memory` tables too
  uint64_t memory_due_ms = 0;  // 0: no `memory` table is dirty
  Lsn memory_told = 0;         // lowest lsn told to a `memory` unit that no delta has taken yet; 0: none
  Lsn memory_taken = 0;        // the same of units in deltas that not all copies had logged at the last one
  Lsn memory_taken_in = 0;     // the last delta that took such units
};

}  // namespace penstock
