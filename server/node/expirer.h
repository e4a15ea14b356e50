// Expirer: lets the rows of one core's tables expire (TableSpec.expiry): scans its shards every interval, or
// at once when an operator asks, in small slices between the core's other work.
//
// Lives on the core's loop. A scan looks at one table of one shard, first at the rows in memory, then at
// those that only the base has: these are read on the core's thread for the disk, and what is due comes back
// as keys. There is one scan at a time, and between two slices the loop does what else there is. Who asked
// goes before the interval. A table is passed over while the last scan has shown that nothing can be due yet.
// Deletions are logged as pushes of the table are; the tombstones of rows that were not in memory are kept
// within an eighth of the memory budget: at the bound the scan asks for a fold and waits for it. While the
// core refuses pushes nothing is deleted.
#pragma once

#include <kj/async.h>

#include <cstdint>
#include <deque>
#include <map>
#include <memory>
#include <optional>
#include <utility>
#include <vector>

#include "common/net/kj_loop.h"
#include "server/node/core.h"
#include "server/node/due_rows.h"
#include "server/node/server_metrics.h"

namespace penstock {

class Expirer : private kj::TaskSet::ErrorHandler {
 public:
  struct Scan {
    ShardId shard = 0;
    TableId table = 0;
    bool dry_run = false;
    bool done = false;
    Status status;      // kWrongEpoch: the shard went away before the end
    ExpiryTally tally;  // so far

   private:
    friend class Expirer;
    Incarnation incarnation = 0;
    std::optional<ExpiryMoment> moment;  // once it has begun
    Shard::RowCursor row;                // in memory
    bool cold = false;                   // those in memory are done
    penstock::Key key = 0;               // then: the next one of the base
    std::vector<kj::Own<kj::PromiseFulfiller<void>>> waiters;
  };

  Expirer(KjLoop& loop, ServerCore& core, ServerMetrics& metrics, uint64_t interval_ms);

  // An operator's scan. `run` is a number of the caller's own: a call that repeats it gets the scan that was
  // begun under it, finished or not. Only those of the latest run are kept once they have finished.
  std::shared_ptr<Scan> Ask(uint64_t run, ShardId shard, TableId table, bool dry_run);
  // Resolves when all of them are done, or after so long.
  kj::Promise<void> Wait(const std::vector<std::shared_ptr<Scan>>& scans, uint64_t at_most_ms);

 private:
  using Place = std::pair<ShardId, TableId>;
  // What the last scan of a table has shown.
  struct Last {
    uint32_t touch = 0;  // of its moment
    uint32_t wait = 0;   // from then on nothing can be due for so long
  };
  enum class Next { kSlice, kLater, kEnd };

  void Tick();
  // nullptr: it is not served here now.
  ShardSlot* FindServed(ShardId shard) const;
  bool MayBeDue(ShardId shard, const TableSpec& spec);
  void Wake();
  void Turn();
  void After(const std::shared_ptr<Scan>& scan, Next next);
  kj::Promise<Next> Slice(const std::shared_ptr<Scan>& scan);
  Next SliceMemory(Scan& scan, Shard& shard);
  kj::Promise<Next> SliceBase(const std::shared_ptr<Scan>& scan, Shard& shard);
  Next TakeDue(Scan& scan, Lsn folded, const Result<DueRows>& due);
  void NoteDeleted(const Scan& scan, uint64_t before);
  void Finish(Scan& scan);
  void FoldIfWorth();
  // An interval at least, though touches are whole seconds.
  uint32_t grace_seconds() const { return static_cast<uint32_t>((interval_ms_ + 999) / 1000 + 1); }
  void taskFailed(kj::Exception&& e) override;

  KjLoop& loop_;
  ServerCore& core_;
  ServerMetrics& metrics_;
  const uint64_t interval_ms_;
  std::deque<std::shared_ptr<Scan>> asked_, routine_;  // not finished
  uint64_t run_ = 0;                                   // the latest
  std::map<Place, std::shared_ptr<Scan>> run_scans_;   // of it
  std::map<Place, Last> last_;
  uint64_t deleted_bytes_ = 0;  // of the base, since a fold was asked for
  bool fold_waits_ = false;     // for the one under way
  bool turning_ = false;
  kj::TaskSet tasks_;  // last: its promises use all of the above
};

}  // namespace penstock
