// DeltaLog: the append-only log of a server's deltas, a row of segment files (segment_format.h).
//
// Replay (replay.h) reads it at a start; Open then goes on in a new segment. Append, Seal and
// StartFreshSegment are called by one thread, the appender's; everything else by any. Sync runs beside Append
// and does not delay it.
//
// After a failed write or sync the log is failed: Append and Sync answer with that first error until
// StartFreshSegment, after which the caller logs again, for every shard, everything that the base does not
// hold (rule 8). What was appended before and not synced is then read at a restart as far as it is whole, but
// nothing depends on it.
#pragma once

#include <cstdint>
#include <memory>
#include <mutex>
#include <random>
#include <span>
#include <string>
#include <vector>

#include "common/base/ids.h"
#include "common/base/status.h"
#include "server/storage/file_layer.h"
#include "server/storage/log_record.h"
#include "server/storage/segment_format.h"

namespace penstock {

struct DeltaLogOptions {
  uint64_t cluster = 0;
  NodeId node = 0;
  uint64_t segment_bytes = uint64_t{256}
                           << 20;  // a segment is sealed before a write that would make it larger
  // Files of removed segments that are kept to be written over, until KeepSpares: pages of a new file cost
  // several times as much. One of them is kept for the day on which the disk is full: then all are given
  // back.
  uint32_t spare_segments = 0;
};

class DeltaLog {
 public:
  // Makes the directory and the first new segment. `tail` is what Replay reported (a default one for an empty
  // directory).
  static Result<std::unique_ptr<DeltaLog>> Open(FileLayer& files, std::string dir,
                                                const DeltaLogOptions& options, const LogTail& tail);

  // Writes the records, in this order, by one write; returns when they would survive the end of the process.
  // kOverloaded, naming file and directory: the disk is full. After any error none of the records counts as
  // logged, and the log is failed.
  Status Append(std::span<const LogRecord> records);
  // Returns when everything appended before the call would survive a loss of power.
  Status Sync();
  // Ends the open segment, unless it is empty, and starts the next. On error the log is failed.
  Status Seal();
  // Keeps at most so many spare files from now on.
  void KeepSpares(uint32_t count);
  // Nothing is appended any more: gives back the spare files, and what the open segment has in reserve.
  void Close();
  // A new segment for a log that failed; synced on return. On error the log stays failed, and it may be tried
  // again.
  Status StartFreshSegment();

  bool failed() const;
  Status failure() const;
  // All but the open segment, oldest first. One that is not yet synced must be synced before it is folded.
  std::vector<SegmentInfo> Sealed() const;
  // Of all segments that are not set aside.
  uint64_t Bytes() const;
  Position synced() const;
  uint64_t spares() const;
  const std::string& dir() const { return dir_; }
  FileLayer& files() { return files_; }

  // Gives up a segment whose deltas are all in the base; durable on return. Oldest first: FailedPrecondition
  // when an older one is there that is not set aside. NotFound when it is not sealed.
  Status Remove(uint64_t number);
  // Everything in the segment is in the base except deltas of quarantined shards: it no longer counts in
  // Bytes() and no longer holds up Remove, and replay still reads it.
  Status SetAside(uint64_t number);

 private:
  struct OpenSegment {
    uint64_t number = 0;
    uint32_t use = 0;    // of the file
    uint64_t bytes = 0;  // end of the last good append
    std::shared_ptr<File> file;
  };

  DeltaLog(FileLayer& files, std::string dir, const DeltaLogOptions& options, const LogTail& tail);
  std::string PathOf(uint64_t number, bool aside = false) const;
  Status AppendUnlessFailed(std::span<const LogRecord> records);
  Status Roll();
  Result<OpenSegment> MakeSegment(const SegmentHeader& header);
  Result<std::unique_ptr<File>> MakeFile(const std::string& path, std::string* spare);
  std::string SparePath(uint64_t number) const { return dir_ + "/" + SpareFileName(number); }
  Status FindSpares();
  std::string TakeSpare();
  void TrimSpares(size_t keep);
  void RemoveSpare(uint64_t number);
  bool KeepAsSpare(uint64_t number);
  SegmentHeader NextHeader();
  Status Fail(const Status& status, std::unique_lock<std::mutex> lock);
  Status WriteRecords(File& file, std::span<const iovec> parts, uint64_t offset, uint64_t bytes);
  std::vector<SegmentInfo>::iterator FindSealed(uint64_t number);

  FileLayer& files_;
  const std::string dir_;
  const DeltaLogOptions options_;
  const uint32_t boot_;    // of the machine
  uint64_t next_segment_;  // the appender's thread alone
  uint64_t next_window_;   // as above
  std::random_device random_;

  std::mutex sync_mutex_;  // held by Sync from its first to its last step
  mutable std::mutex mutex_;
  // Guarded by mutex_:
  OpenSegment open_;
  std::vector<SegmentInfo> sealed_;
  std::vector<OpenSegment> unsynced_;  // sealed with data that no sync has covered yet
  bool dir_changed_ = false;           // a segment was made since the directory was synced
  Position synced_;
  Status failure_;
  std::vector<uint64_t> spares_;  // the numbers of their files
  uint32_t spares_wanted_;        // at most
  uint64_t generation_ = 0;       // rises with every fresh segment
#if defined(PENSTOCK_MUTANTS)
  std::vector<LogRecord> late_;  // a mutant's: said to be written, but not yet
#endif
};

}  // namespace penstock
