// ColdFetch: brings rows back from the base that calls name and that are not in memory; such a call waits,
// others do not.
//
// What calls want that have arrived together is asked of the base together. Lives on the core's loop.
#pragma once

#include <kj/async.h>

#include <deque>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "server/node/base_scan.h"
#include "server/node/memory_account.h"

namespace penstock {

class ColdFetch : private kj::TaskSet::ErrorHandler {
 public:
  ColdFetch(const ShardSlots& slots, MemoryAccount& memory, BaseScan& scan, ServerMetrics& metrics,
            std::string node)
      : slots_(slots),
        memory_(memory),
        scan_(scan),
        metrics_(metrics),
        node_(std::move(node)),
        tasks_(*this) {}

  // What a call holds that waits for cold rows: bytes of the budget, and rows that are not evicted.
  class ColdWait {
   public:
    ColdWait(ColdFetch& fetch, uint64_t bytes);
    ~ColdWait();
    void Pin(Shard& shard, TableId table, std::span<const Key> keys);

   private:
    ColdFetch& fetch_;
    const uint64_t bytes_;
    ShardId shard_ = 0;
    Incarnation incarnation_ = 0;
    TableId table_ = 0;
    std::span<const Key> pinned_;
  };
  // kOverloaded when calls that wait hold half of the budget.
  Result<kj::Own<ColdWait>> WaitForRows(uint64_t bytes);
  // Resolves when each of these rows has been looked for in the base; those that it has are then in memory,
  // though perhaps not for long. Not ok: the base could not be read.
  kj::Promise<Status> Fetch(ShardId shard, TableId table, std::span<const Key> keys);

 private:
  // Rows that are asked of the base together, and who waits for them.
  struct FetchBatch {
    struct Row {
      RowPlace place;
      ShardId shard = 0;
      uint64_t number = 0;  // RowFetch's
      auto operator<=>(const Row&) const = default;
    };
    struct Waiter {
      ShardId shard;
      TableId table;
      kj::Own<kj::PromiseFulfiller<Status>> done;
    };
    std::vector<Row> rows;
    std::vector<Waiter> waiters;
  };

  void SubmitFetches();
  void OnFetched(FetchBatch* fetched, Result<StoredRows> rows);
  void Install(const FetchBatch& batch, const StoredRows& rows,
               std::map<std::pair<ShardId, TableId>, Status>* failed);
  void taskFailed(kj::Exception&& e) override;

  const ShardSlots& slots_;
  MemoryAccount& memory_;
  BaseScan& scan_;
  ServerMetrics& metrics_;
  const std::string node_;
  uint64_t waiting_bytes_ = 0;  // of ColdWaits
  std::unique_ptr<FetchBatch> collecting_;
  std::deque<std::unique_ptr<FetchBatch>> fetching_;  // oldest first
  kj::TaskSet tasks_;                                 // last: its promises use all of the above
};

}  // namespace penstock
