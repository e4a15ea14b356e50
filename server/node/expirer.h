// Expirer: lets the rows of one core's tables expire (TableSpec.expiry): scans its shards every interval, or
// at once when an operator asks, in small slices between the core's other work.
//
// Lives on the core's loop. A scan looks at one table of one shard; there is one at a time, and between two
// slices the loop does what else there is. Who asked goes before the interval. A table is passed over while
// the last scan has shown that nothing can be due yet. Deletions are logged as pushes of the table are.
// While the core refuses pushes nothing is deleted.
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
    std::optional<ExpiryMoment> moment;  // once it has begun
    RowNumber row = 0;
    std::vector<kj::Own<kj::PromiseFulfiller<void>>> waiters;
  };

  Expirer(KjLoop& loop, ServerCore& core, ServerMetrics& metrics, uint64_t interval_ms);

  // An operator's scan. `run` is a number of the caller's own: a call that repeats it gets the scan that was
  // begun under it, finished or not. Only those of the latest run are kept once they have finished.
  std::shared_ptr<Scan> Ask(uint64_t run, ShardId shard, TableId table, bool dry_run);
  // Resolves when all of them are done, or after so long.
  kj::Promise<void> Wait(const std::vector<std::shared_ptr<Scan>>& scans, uint64_t at_most_ms);

 private:
  using Key = std::pair<ShardId, TableId>;
  // What the last scan of a table has shown.
  struct Last {
    uint32_t touch = 0;  // of its moment
    uint32_t wait = 0;   // from then on nothing can be due for so long
  };

  void Tick();
  bool MayBeDue(ShardId shard, const TableSpec& spec);
  void Wake();
  void Turn();
  // True when the scan has ended.
  bool Slice(Scan& scan);
  void Finish(Scan& scan);
  // An interval at least, though touches are whole seconds.
  uint32_t grace_seconds() const { return static_cast<uint32_t>((interval_ms_ + 999) / 1000 + 1); }
  void taskFailed(kj::Exception&& e) override;

  KjLoop& loop_;
  ServerCore& core_;
  ServerMetrics& metrics_;
  const uint64_t interval_ms_;
  std::deque<std::shared_ptr<Scan>> asked_, routine_;  // not finished
  uint64_t run_ = 0;                                   // the latest
  std::map<Key, std::shared_ptr<Scan>> run_scans_;     // of it
  std::map<Key, Last> last_;
  bool turning_ = false;
  kj::TaskSet tasks_;  // last: its promises use all of the above
};

}  // namespace penstock
