// Replay: reads the delta log after a restart, gives every delta that counts to its shard, and says what was
// lost (rule 7).
//
// The first bad record ends the log, and what follows is discarded, unless something says that this place had
// been synced: a later record or segment header, or what was reported to the scheduler. Then it is damage:
// the shards concerned are named, and reading goes on at the next whole record, so that the others are still
// replayed wholly. On return the tail is cut off and everything is synced.
#pragma once

#include <functional>
#include <map>
#include <string>
#include <vector>

#include "common/base/ids.h"
#include "common/base/status.h"
#include "proto/delta.capnp.h"
#include "server/storage/delta_chain.h"
#include "server/storage/file_layer.h"
#include "server/storage/segment_format.h"

namespace penstock {

struct ReplayReport {
  LogTail tail;                           // for DeltaLog::Open
  std::map<ShardId, ShardFolded> shards;  // up to where each shard was replayed (those of `folded` too)
  std::map<ShardId, std::string>
      damaged;  // shards that may not be served before an operator accepts the loss, and why
  std::vector<std::string> damaged_places;  // file, offset and what is wrong there
  uint64_t deltas = 0;                      // given to the callback
  uint64_t skipped = 0;                     // in the base already, or of an earlier incarnation
  uint64_t discarded_bytes = 0;             // of the tail that was never synced
};

// Deltas come in the order of the log. kDataLoss marks the shard as damaged, and no more deltas of it come
// unless an operator accepted the loss; any other error ends the replay.
using ReplayCallback =
    std::function<Status(ShardId, Incarnation, const proto::Delta::Reader&, uint32_t checksum)>;

// `reported_synced`: per shard the lsn that the scheduler knows as synced; nullptr when nothing is known.
// A directory that is not there is an empty log. FailedPrecondition: a segment is of another cluster, or of a
// format from the future; nothing was changed.
Result<ReplayReport> Replay(FileLayer& files, const std::string& dir, uint64_t cluster,
                            const std::map<ShardId, ShardFolded>& folded, const ReplayCallback& apply,
                            const std::map<ShardId, Lsn>* reported_synced = nullptr);

}  // namespace penstock
