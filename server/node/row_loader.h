// RowLoader: reads the rows of the base into one core's memory after a restart, while its shards are served.
//
// Lives on the core's loop. It goes through the tables that are Shard::Loading, some rows at a time, read on
// the core's thread for the disk; what calls need meanwhile they fetch. As many rows as fit into each shard's
// part of the memory stay there, and of the others it becomes known which there are. What it has read counts
// if no fold has ended since it was asked for: a row that is not in memory then can have left it only as it
// was read. Damage is the core's to report (BaseScan::NoteBase), and so is a disk that cannot be read for
// some seconds.
#pragma once

#include <kj/async.h>

#include <chrono>
#include <cstdint>
#include <deque>
#include <functional>
#include <optional>

#include "common/net/kj_loop.h"
#include "server/node/core.h"
#include "server/node/server_metrics.h"

namespace penstock {

// Gives the next rows of a table to its shard. `has_room` says whether so many more may stay in memory.
Status LoadRows(Shard& shard, TableId table, const StoredRows& rows,
                const std::function<bool(size_t)>& has_room);

class RowLoader : private kj::TaskSet::ErrorHandler {
 public:
  // `memory_bytes`: what rows, indexes and marks of the core may take for it.
  RowLoader(KjLoop& loop, ServerCore& core, ServerMetrics& metrics, uint64_t memory_bytes);
  ~RowLoader() { metrics_.loading_tables -= places_.size(); }

  // Once the core has its shards.
  void Begin();

 private:
  struct Place {
    ShardId shard = 0;
    Incarnation incarnation = 0;
    TableId table = 0;
  };

  void Next();
  void Take(uint64_t folds, const Result<StoredRows>& rows);
  Status Load(const Place& place, const StoredRows& rows);
  void Retry(const Status& failed);
  Shard* Find(const Place& place) const;
  void taskFailed(kj::Exception&& e) override;

  KjLoop& loop_;
  ServerCore& core_;
  ServerMetrics& metrics_;
  const uint64_t memory_bytes_;
  uint64_t shard_bytes_ = 0;  // its part of them
  std::chrono::steady_clock::time_point begun_;
  std::deque<Place> places_;  // the present one first
  Key next_ = 0;              // of it
  int failures_ = 0;          // since something was read
  kj::TaskSet tasks_;         // last: its promises use all of the above
};

}  // namespace penstock
