// ReplicaHost: what a core does for those who keep copies of its shards: the Replicator, as their primary,
// and the ReplicaService, as a backup. The core stands above this folder, which does not know it.
//
// Everything here happens on the core's loop.
#pragma once

#include <kj/async.h>

#include "common/base/status.h"
#include "server/replica/replica_shards.h"
#include "server/storage/base_store.h"

namespace penstock {

class ReplicaHost : public ReplicaShards {
 public:
  // --- As the primary.
  // Closes a window that takes everything of the shard.
  virtual void CloseWhole(ShardId shard) = 0;
  // Closes a window with a delta of the shard, empty perhaps, that its copies are told to sync.
  virtual void SyncCopies(ShardId shard) = 0;
  // BaseStore::Scan, where it may wait for the disk.
  virtual kj::Promise<Result<StoredRows>> ScanBase(Incarnation incarnation, TableId table, Key first,
                                                   size_t rows) = 0;

  // --- As a backup: a primary asks where the copy stands, and brings the next delta or piece of a seed. It
  // is applied at once, and logged with the window that is open now (Reached). kUnavailable: not told to
  // follow yet; kDataLoss: it does not follow what is here, and nothing has changed.
  virtual ReplicaAnswer Standing(const ReplicaRef& ref) = 0;
  virtual ReplicaAnswer TakeSection(const ReplicaRef& ref, DeltaWords words, uint32_t checksum) = 0;
  // Resolves when everything applied on this core before the call has reached the level here. kMemory: at
  // once.
  virtual kj::Promise<Status> Reached(Durability level) = 0;
  // What the shard holds, served or followed; as far as nothing changes meanwhile.
  virtual kj::Promise<Result<ContentHash>> Digest(ShardId shard) = 0;

 protected:
  ~ReplicaHost() = default;
};

}  // namespace penstock
