// Rows of a Shard that leave memory for the base and come back.
#include <algorithm>
#include <cstring>
#include <string>

#include "server/shard/shard.h"

namespace penstock {

size_t Shard::EvictRows(TableId id, size_t rows) {
  Table* table = FindTable(id);
  if (table == nullptr) return 0;
  RowTable& all = table->rows;
  size_t evicted = 0;
  // Twice around: a row that was used gets a second chance.
  for (size_t looks = 2 * all.size(); looks > 0 && evicted < rows; --looks) {
    if (table->hand >= all.size()) table->hand = 0;
    const RowNumber row = table->hand++;
    RowHeader* header = all.Header(row);
    constexpr uint32_t kStays = kRowDirty | kRowDeleted | kRowOpen | kRowFree;
    if ((header->flags & kStays) != 0 || header->lsn > folded_lsn_) continue;
    if ((header->flags & kRowReferenced) != 0) {
      header->flags &= ~kRowReferenced;
      continue;
    }
    if (table->cold.Pinned(header->key)) continue;
    table->cold.Evict(header->key);
    all.Erase(row);
    ++evicted;
  }
  return evicted;
}

void Shard::Compact(TableId id) {
  Table* table = FindTable(id);
  if (table == nullptr || seeds_ > 0) return;  // a seed knows its place by row numbers
  const RowTable::Moves moves = table->rows.Compact();
  for (RowNumber& row : table->opened) row = moves.Of(row);
  std::erase(table->opened, kNoRow);
}

size_t Shard::rows_in_memory(TableId id) const {
  const Table* table = FindTable(id);
  return table == nullptr ? 0 : table->rows.used_rows();
}

size_t Shard::free_rows(TableId id) const {
  const Table* table = FindTable(id);
  return table == nullptr ? 0 : table->rows.free_rows();
}

size_t Shard::row_bytes(TableId id) const {
  const Table* table = FindTable(id);
  return table == nullptr ? 0 : table->rows.row_bytes();
}

size_t Shard::GrowthBytes(TableId id, size_t rows) const {
  const Table* table = FindTable(id);
  return table == nullptr ? 0 : table->rows.GrowthBytes(rows);
}

uint64_t Shard::cold_rows(TableId id) const {
  const Table* table = FindTable(id);
  return table == nullptr ? 0 : table->cold.count();
}

// --- Fetches.

std::vector<RowFetch> Shard::BeginFetch(TableId id, std::span<const Key> keys) {
  std::vector<RowFetch> wanted;
  Table* table = FindTable(id);
  if (table == nullptr) return wanted;
  for (const Key key : keys) {
    RowFetch fetch{.key = key};
    if (MayBeCold(*table, key) && table->cold.BeginFetch(key, &fetch.number)) wanted.push_back(fetch);
  }
  return wanted;
}

Status Shard::InstallRow(TableId id, RowFetch fetch, Lsn lsn, ImageHeader header,
                         std::span<const float> floats) {
  Table* table = FindTable(id);
  if (table == nullptr || !table->cold.EndFetch(fetch.key, fetch.number)) return Status::Ok();
  PENSTOCK_ASSIGN_OR_RETURN(const bool open, CheckShape(table, id, fetch.key, floats.size()));
  PENSTOCK_RETURN_IF_ERROR(Place(*table, fetch.key, lsn, header, floats, open));
  table->cold.NoteInstalled(fetch.key);
  return Status::Ok();
}

void Shard::InstallAbsent(TableId id, RowFetch fetch) {
  Table* table = FindTable(id);
  if (table != nullptr && table->cold.EndFetch(fetch.key, fetch.number)) table->cold.NoteAbsent(fetch.key);
}

void Shard::AbandonFetch(TableId id, RowFetch fetch) {
  if (Table* table = FindTable(id)) table->cold.EndFetch(fetch.key, fetch.number);
}

void Shard::Pin(TableId id, std::span<const Key> keys) {
  if (Table* table = FindTable(id)) table->cold.Pin(keys);
}

void Shard::Unpin(TableId id, std::span<const Key> keys) {
  if (Table* table = FindTable(id)) table->cold.Unpin(keys);
}

}  // namespace penstock
