// MemoryAccount: how the shards of a core keep within its share of the memory budget: what they take, and
// what leaves memory when there is no room for what comes.
//
// Only clean rows leave it; they are in the base, and are fetched when a call names them (cold_fetch.h).
// Where few are clean, a fold is wanted. Owned by the core's thread; no I/O.
#pragma once

#include <cstdint>
#include <functional>

#include "server/node/server_metrics.h"
#include "server/node/shard_slots.h"

namespace penstock {

class MemoryAccount {
 public:
  // `want_fold` asks for a fold, if none is under way.
  MemoryAccount(const ShardSlots& slots, uint64_t budget_bytes, ServerMetrics& metrics,
                std::function<void()> want_fold)
      : slots_(slots), budget_bytes_(budget_bytes), metrics_(metrics), want_fold_(std::move(want_fold)) {}

  uint64_t budget_bytes() const { return budget_bytes_; }
  // Shard::PushUnit, with room made for it. kOverloaded: there is none. kInvalidArgument: there never will
  // be.
  Result<PushOutcome> Push(Shard& shard, Shard::TableHandle table, const UnitContext& unit,
                           std::span<const Key> keys, const float* values);
  // False: there is no room for so many more rows in memory. Else it counts as taken.
  bool TakeRoom(const Shard& shard, TableId table, size_t rows);
  // For what a delta of a primary brings. What cannot be made room for goes over the budget until the next
  // eviction: a backup that refused would only have to be seeded again.
  void MakeRoom(Shard& shard, proto::Delta::Reader delta);
  // For rows that were fetched, likewise. `evict_all`: from all tables; else from this one.
  void MakeRoom(Shard& shard, TableId table, size_t rows, bool* evict_all);
  // The budget is exceeded, and rows cannot leave memory before a fold.
  bool Full() { return few_clean_rows_ && ResidentBytes() > budget_bytes_; }
  // A fold has ended.
  void OnFolded() { few_clean_rows_ = false; }

 private:
  uint64_t ResidentBytes();
  uint64_t GrowthLeft();
  void Evict(ShardId needs_room, TableId table, size_t rows);

  const ShardSlots& slots_;
  const uint64_t budget_bytes_;
  ServerMetrics& metrics_;
  const std::function<void()> want_fold_;
  uint64_t resident_bytes_ = 0;  // as of the last look, and by how much rows have grown since
  uint32_t pushes_since_look_ = 0;
  bool few_clean_rows_ = false;  // as of the last eviction; until something is folded
  size_t evictable_rows_ = 0;    // as of the last eviction: rows, clean or not
};

}  // namespace penstock
