// Fold: moves the sealed segments of the delta log into the base: base = fold(base, segments).
//
// The segments are synced and read through for an index of each row's last image. Then those images are
// copied in the order of their keys, buffer by buffer, into sorted files: deltas that hold some are read once
// more. These are ingested with every touched shard's meta (marks, folded lsn and checksum, forget floor,
// shapes of tables) in one atomic and durable step; then the segments are removed, oldest first. Stopped
// anywhere, it is harmless: until the ingest nothing has changed, and afterwards the deltas left over are at
// or below their shard's folded lsn, so the next fold and replay skip them. It never looks at live rows. Rule
// 5 of docs/protocol.md.
//
// A segment with deltas of a quarantined shard, or of one whose deltas do not follow each other, is set aside
// and not removed before that shard goes on: behind a loss that was accepted, or in a new life.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "common/base/ids.h"
#include "common/base/status.h"
#include "server/storage/base_store.h"
#include "server/storage/delta_chain.h"
#include "server/storage/delta_log.h"

namespace penstock {

class FoldRows;

using DiscardedLives = std::map<ShardId, Incarnation>;

struct FoldOptions {
  // Row images in memory at a time.
  size_t image_buffer_bytes = size_t{256} << 20;
  // When the index of row images outgrows this, the fold ends with the segment it has come to.
  size_t index_limit_bytes = size_t{512} << 20;
  // Where this becomes true the fold ends soon with kCancelled; nullptr: never.
  const std::atomic<bool>* stop = nullptr;
  // Of each shard: its lives up to this one are removed.
  DiscardedLives discarded{};
};

// Of each quarantined shard: its lives up to this one are not folded. A later one, seeded from another copy,
// is a new beginning.
using QuarantinedLives = std::map<ShardId, Incarnation>;

struct FoldReport {
  std::vector<std::pair<ShardId, ShardFolded>> folded;  // shards whose folded lsn rose, ascending
  std::map<ShardId, std::string> broken;  // shards with deltas that do not follow: folded up to there
  uint64_t rows = 0;                      // written to the base
  uint64_t deletions = 0;
  uint64_t log_bytes = 0;   // of the segments
  uint64_t base_bytes = 0;  // of the files written
  uint32_t removed = 0;     // segments
  uint32_t set_aside = 0;   // segments that still hold deltas of quarantined or broken shards
  double seconds = 0;
  // What went wrong after the ingest: the folded lsns above hold, and the next fold removes the segments.
  Status removal;
};

// What a fold allocates, for the next one. At most about the sum of the options' limits.
class FoldMemory {
 public:
  FoldMemory();
  ~FoldMemory();
  void Release();

 private:
  friend class Folder;
  std::unique_ptr<FoldRows> rows_;
};

// Folds all sealed segments (fewer when the index outgrows its limit, at least one). Beside appends; one fold
// at a time. Errors come with the base unchanged: DataLoss for damage in a segment or the base, Overloaded
// for a full disk.
Result<FoldReport> Fold(FileLayer& files, const std::string& log_dir, DeltaLog& log, BaseStore& base,
                        uint64_t cluster, const QuarantinedLives& quarantined,
                        const FoldOptions& options = {}, FoldMemory* memory = nullptr);

}  // namespace penstock
