#include "server/node/memory_account.h"

#include <algorithm>
#include <string>

namespace penstock {
namespace {

constexpr uint32_t kPushesBetweenLooks = 512;  // how stale the account may be
constexpr size_t kEvictedShare = 16;           // of a table's rows at a time
constexpr size_t kCompactBytes = 64 << 10;     // less than this in free rows is not worth moving rows
constexpr int kEvictions = 3;                  // tries to make room for one unit

}  // namespace

uint64_t MemoryAccount::ResidentBytes() {
  if (pushes_since_look_++ % kPushesBetweenLooks == 0) {
    resident_bytes_ = 0;
    for (const auto& [id, slot] : slots_) resident_bytes_ += slot->shard->ResidentBytes();
  }
  return resident_bytes_;
}

uint64_t MemoryAccount::GrowthLeft() {
  const uint64_t resident = ResidentBytes();
  return budget_bytes_ > resident ? budget_bytes_ - resident : 0;
}

Result<PushOutcome> MemoryAccount::Push(Shard& shard, Shard::TableHandle table, const UnitContext& unit,
                                        std::span<const Key> keys, const float* values) {
  for (int evictions = 0;; ++evictions) {
    auto outcome = shard.PushUnit(unit, table, keys, values, GrowthLeft());
    if (!outcome.ok()) return outcome;
    resident_bytes_ += outcome->grown_bytes;
    if (outcome->lacks_bytes == 0) return outcome;
    const std::string budget = "the memory budget of " + std::to_string(budget_bytes_) + " bytes a core";
    if (outcome->lacks_bytes > budget_bytes_) {
      return InvalidArgument("a unit of " + std::to_string(keys.size()) + " rows needs " +
                             std::to_string(outcome->lacks_bytes) + " bytes, which is over " + budget +
                             "; push fewer rows at once");
    }
    if (few_clean_rows_ || evictions == kEvictions) {
      if (evictable_rows_ > 0) want_fold_();
      return Overloaded(budget + " is reached by rows that cannot leave memory now", kRetrySoonMs);
    }
    Evict(shard.id(), table.spec().id, outcome->lacks_bytes / shard.row_bytes(table.spec().id));
  }
}

// Every table gives a share of its rows, and the one that needs room at least as many as it needs. What a
// table got free the last time and has no use for goes back to the system, and so to the others; all of it
// does when the budget is exceeded.
void MemoryAccount::Evict(ShardId needs_room, TableId needy, size_t needed) {
  const bool over = ResidentBytes() > budget_bytes_ + budget_bytes_ / kEvictedShare;
  size_t wanted = 0, evicted = 0;
  evictable_rows_ = 0;
  for (auto& [id, slot] : slots_) {
    Shard& shard = *slot->shard;
    for (const TableId table : shard.TableIds()) {
      const size_t rows = shard.rows_in_memory(table);
      const bool needs = id == needs_room && table == needy;
      size_t share = (rows + kEvictedShare - 1) / kEvictedShare;
      const size_t free = shard.free_rows(table);
      if (free * shard.row_bytes(table) >= kCompactBytes && (over ? !needs : 2 * free >= share))
        shard.Compact(table);
      if (rows == 0) continue;
      if (needs) share = std::min(rows, std::max(share, needed));
      wanted += share;
      evicted += shard.EvictRows(table, share);
      evictable_rows_ += rows;
    }
  }
  metrics_.evicted_rows += evicted;
  if (2 * evicted < wanted) want_fold_();
  few_clean_rows_ = 4 * evicted < wanted;
  pushes_since_look_ = 0;
}

void MemoryAccount::MakeRoom(Shard& shard, proto::Delta::Reader delta) {
  for (const auto entry : delta.getTables()) {
    const size_t rows = entry.getKeys().size() / sizeof(Key);
    const size_t bytes = shard.GrowthBytes(entry.getTable(), rows);
    if (bytes > GrowthLeft()) {
      if (few_clean_rows_) {
        want_fold_();
      } else {
        Evict(shard.id(), entry.getTable(), rows);
      }
    }
    resident_bytes_ += bytes;
  }
}

void MemoryAccount::MakeRoom(Shard& shard, TableId table, size_t rows, bool* evict_all) {
  if (shard.GrowthBytes(table, rows) > GrowthLeft()) {
    if (*evict_all) {
      Evict(shard.id(), table, rows);
    } else {
      metrics_.evicted_rows += shard.EvictRows(table, rows);
    }
    *evict_all = false;
  }
  resident_bytes_ += shard.GrowthBytes(table, rows);
}

bool MemoryAccount::TakeRoom(const Shard& shard, TableId table, size_t rows) {
  const size_t bytes = shard.GrowthBytes(table, rows);
  if (bytes > GrowthLeft()) return false;
  resident_bytes_ += bytes;
  return true;
}

}  // namespace penstock
