// Replay: reads the delta log after a restart, gives every delta that counts to its shard, and says what was
// lost (rule 7).
//
// The first bad record ends the log, unless something says that this place had been written for good: a later
// record or segment header by which it was synced; the boot of the machine, where that is still the one of
// the segment and something whole stands behind (the end of a process loses nothing that was written); or
// what was reported to the scheduler. Then it is damage: the shards concerned are named, and reading goes on
// at the next whole record, so that the others are still replayed wholly. What stands behind the end is cut
// off, and kept elsewhere where any of it is whole. On return everything is synced.
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
  std::vector<std::string> put_aside;       // files of it, where they are now
};

// What a shard was reported to have synced, by its owner.
struct ReportedShard {
  Incarnation incarnation = 0;
  Lsn synced = 0;
};
// Asked once at most, in doubt. Empty: nothing is known.
using SyncedReport = std::function<std::map<ShardId, ReportedShard>()>;

// Deltas come in the order of the log. kDataLoss marks the shard as damaged, and no more deltas of it come
// unless an operator accepted the loss; any other error ends the replay.
using ReplayCallback =
    std::function<Status(ShardId, Incarnation, const proto::Delta::Reader&, uint32_t checksum)>;

// `aside`: the folder, made when it is needed, for what stands behind the end of the log; empty: DIR.damaged.
// `reported`: what the scheduler knows; empty: it is not asked. A directory that is not there is an empty
// log. FailedPrecondition: a segment is of another cluster, or of a format that this program does not know;
// nothing was changed.
Result<ReplayReport> Replay(FileLayer& files, const std::string& dir, uint64_t cluster,
                            const std::map<ShardId, ShardFolded>& folded, const ReplayCallback& apply,
                            const std::string& aside = "", const SyncedReport& reported = nullptr);

}  // namespace penstock
