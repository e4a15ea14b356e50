// OpenStorage: what a server has on disk, when it starts: its base, its log, and its shards as these leave
// them.
//
//   base -> what it knows of each shard -> the log replayed after it -> those rows that are needed at once
//
// The other rows of the base are left to row_loader.h. Damage of the log concerns single shards, which are
// named; without the base nothing can be told. Where other servers have copies of all shards
// (NodeState.copied) a damaged base is put aside with its log, and the server begins with nothing; where they
// have none it is kDataLoss with the file's name. What is put aside, the end of a log included, is in the
// DamagedFolder.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <string>

#include "common/base/ids.h"
#include "common/base/status.h"
#include "server/node/core.h"
#include "server/node/damaged_folder.h"
#include "server/node/node_file.h"
#include "server/shard/shard.h"
#include "server/storage/base_store.h"
#include "server/storage/delta_log.h"
#include "server/storage/file_layer.h"
#include "server/storage/replay.h"

namespace penstock {

struct StorageOptions {
  std::string name;  // of the server, for the log
  std::string data_dir;
  uint64_t segment_bytes = 0;
  uint64_t fold_bytes = 0;  // about the size of a fold's file; 0: BaseStore's own
  uint64_t block_cache_bytes = 0;
  uint64_t loaded_bytes = 0;  // what rows may take that are read now
  SyncedReport reported;      // for replay
};

struct Damage {
  std::string reason;
  Incarnation incarnation = 0;  // of the shard, as far as the log tells; 0: it does not
};

struct Storage {
  uint64_t replay_speed = 0;  // bytes of log a second; 0: there was too little to tell
  std::unique_ptr<BaseStore> base;
  std::unique_ptr<DeltaLog> log;
  std::map<ShardId, std::unique_ptr<Shard>> shards;  // also those whose seed had not ended
  std::map<ShardId, FoldedPoint> folded;             // absent: the base does not have that life of it
  std::map<ShardId, Damage> damaged;
};

// `files` must outlive it. All rows are read where the state says that the base is suspect.
Result<Storage> OpenStorage(FileLayer& files, const StorageOptions& options, const NodeState& state,
                            DamagedFolder& damaged);

}  // namespace penstock
