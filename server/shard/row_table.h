// RowTable: the rows of one table of one shard, in memory: an open-addressing index over slabs that never
// move a row.
//
// A row is one block: RowHeader, then values[dim], then slots[slots], and in tables of sync jobs an
// accumulator[dim]. A row's number is its place in the slabs; it and the row's address stay valid until the
// row is erased or the table compacted. Deleted rows keep their number and stay in the index as tombstones
// (kRowDeleted), so that their deletion can still be logged, until EraseTombstones. An erased row's number is
// free (kRowFree) until Insert gives it to another: the numbers in use are some of [0, size()).
//
// The index is an array of uint64 entries, power of two, linear probing, at most 3/4 full: the upper half is
// 32 bits of the key's hash, the lower half the row number + 1 (0: empty). An entry's home position is taken
// from those same 32 bits, so the index grows without touching a single row. The row itself holds the key
// that settles a match. The first slabs double the table each, those behind hold 2^chunk rows each, about
// kChunkBytes. Indexes and slabs of some size lie on huge pages that all tables share (zeroed_memory.h).
//
// Not thread-safe: owned by the thread that owns the shard.
#pragma once

#include <algorithm>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <span>
#include <type_traits>
#include <vector>

#include "common/base/hash.h"
#include "common/base/ids.h"
#include "common/base/status.h"
#include "server/shard/zeroed_memory.h"

namespace penstock {

using RowNumber = uint32_t;
inline constexpr RowNumber kNoRow = 0xffffffffu;

enum RowFlags : uint32_t {
  kRowDirty = 1u << 0,       // changed since its last delta; its number is in the dirty list
  kRowDeleted = 1u << 1,     // a tombstone: to readers the row does not exist
  kRowOpen = 1u << 2,        // its accumulator holds sums of a round that is not committed yet; never erased
  kRowReferenced = 1u << 3,  // used since the eviction's clock last came by
  kRowFree = 1u << 4,        // no row: its number waits on the free list
};

struct RowHeader {
  Key key;
  Lsn lsn;              // of the last delta that holds the row; 0: none
  uint32_t push_count;  // how many pushes changed the row since it was created
  uint32_t flags;       // RowFlags
  bool dirty() const { return flags & kRowDirty; }
  bool deleted() const { return flags & kRowDeleted; }
  bool open() const { return flags & kRowOpen; }
  bool free() const { return flags & kRowFree; }
};
static_assert(sizeof(RowHeader) == 24 && std::is_trivially_copyable_v<RowHeader>);

class RowTable {
 public:
  // `dim` + `slots` floats a row, and another `dim` where it accumulates.
  RowTable(TableId table, uint32_t dim, uint32_t slots, bool accumulates = false);
  RowTable(RowTable&&) = default;
  RowTable& operator=(RowTable&&) = default;

  uint32_t dim() const { return dim_; }
  uint32_t slots() const { return slots_; }
  bool accumulates() const { return accumulator_ > 0; }
  // Of values and slots, and of all that a row has.
  uint32_t row_floats() const { return dim_ + slots_; }
  uint32_t all_floats() const { return dim_ + slots_ + accumulator_; }
  // Row numbers are below it; whoever goes through them leaves out the free ones.
  size_t size() const { return size_; }
  size_t free_rows() const { return free_; }
  size_t row_bytes() const { return stride_; }
  // Tombstones included.
  size_t used_rows() const { return size_ - free_; }
  // Rows that exist to readers.
  size_t live_rows() const { return used_rows() - deleted_; }

  RowHeader* Header(RowNumber row) const {
    return reinterpret_cast<RowHeader*>(slab_origin_[SlabOf(row)] + row * stride_);
  }
  static float* Values(RowHeader* header) { return reinterpret_cast<float*>(header + 1); }
  float* Values(RowNumber row) const { return Values(Header(row)); }
  float* Slots(RowNumber row) const { return Values(row) + dim_; }
  // Only where the table accumulates.
  float* Accumulator(RowNumber row) const { return Slots(row) + slots_; }
  // Asks for the cache lines of header and values, and PrefetchWhole for the slots too (up to a few lines:
  // the rest of a long row is left to the processor's own prefetcher). Into the second level: its queue of
  // misses is several times as long as the first level's, which random rows fill at once.
  void Prefetch(const RowHeader* header) const { PrefetchBytes<2>(header, value_bytes_); }
  void PrefetchWhole(const RowHeader* header) const { PrefetchBytes<2>(header, whole_bytes_); }
  static constexpr size_t kAhead = 8;  // so many rows ahead of the one that is worked on
  // From there into the first level, a few rows ahead of writing: stores wait for their lines one by one.
  void PrefetchNear(const RowHeader* header) const { PrefetchBytes<3>(header, whole_bytes_); }

  // The row with this key (it may be a tombstone), or kNoRow.
  RowNumber Find(Key key) const;
  // rows[i] = Find(keys[i]), with memory accesses overlapped. Returns how many were not found.
  size_t FindBatch(std::span<const Key> keys, RowNumber* rows) const;
  // Calls visit(i, header) for each key in order, with the header of its row or nullptr, while the header and
  // values of found rows are in the cache.
  template <typename Visit>
  void VisitBatch(std::span<const Key> keys, Visit&& visit) const {
    RowNumber rows[kBlock];
    RowHeader* headers[kBlock];
    for (size_t first = 0; first < keys.size(); first += kBlock) {
      const size_t count = std::min(kBlock, keys.size() - first);
      FindBlock<true>(keys.data() + first, count, rows, headers);
      for (size_t i = 0; i < count; ++i) visit(first + i, headers[i]);
    }
  }

  // Makes room for `rows` further rows, so that as many Insert calls cannot fail. Overloaded when memory or
  // row numbers run out.
  Status Reserve(size_t rows);
  // By how much the memory would grow by that, about.
  size_t GrowthBytes(size_t rows) const;
  // Adds a row with zeroed values and slots. The key must not be in the table and room must have been
  // reserved.
  RowNumber Insert(Key key);
  // Takes the row out and its number back. It is not dirty and not open.
  void Erase(RowNumber row);
  // Notes that the row was used.
  static void Touch(RowHeader* header) {
    if ((header->flags & kRowReferenced) == 0) header->flags |= kRowReferenced;
  }

  // Which numbers rows got from Compact.
  struct Moves {
    size_t size = 0;            // numbers below it are as they were
    std::vector<RowNumber> to;  // of the numbers from `size` on; kNoRow: it was free
    RowNumber Of(RowNumber row) const { return row < size ? row : to[row - size]; }
  };
  // Moves the last rows to free numbers, until none is free, and gives back the memory behind them. What
  // holds numbers outside the table must be told.
  Moves Compact();

  // Puts the row on the dirty list, once.
  void MarkDirty(RowNumber row) { MarkDirty(row, Header(row)); }
  void MarkDirty(RowNumber row, RowHeader* header) {
    if (header->dirty()) return;
    header->flags |= kRowDirty;
    // By a quarter: when every row of a large table is dirty, doubling would cost a twentieth of the table.
    if (dirty_.size() == dirty_.capacity()) dirty_.reserve(dirty_.size() + dirty_.size() / 4 + 16);
    dirty_.push_back(row);
  }
  const std::vector<RowNumber>& dirty() const { return dirty_; }
  // Puts the open rows to the front of the dirty list.
  void OpenRowsFirst();
  // Empties the list (and gives back its memory when it was long) and stamps its rows with the delta that
  // took them.
  void ClearDirty(Lsn lsn);

  // Turns the row into a tombstone and zeroes its contents.
  void MarkDeleted(RowNumber row);
  // Makes a tombstone a row again (zeroed).
  void Revive(RowNumber row);
  size_t deleted_rows() const { return deleted_; }
  // Erases the tombstones that are not dirty and whose deltas are at or below `folded`: nothing is left that
  // they would hide.
  void EraseTombstones(Lsn folded);

  // Memory of index, touched slabs and lists.
  size_t ResidentBytes() const;

 private:
  static constexpr size_t kBlock = 128;  // as many rows of a few lines as the first level holds
  static constexpr size_t kChunkBytes = 128 << 10;

  size_t SlabOf(RowNumber row) const {
    // Without a branch: which rows lie in the small slabs is as random as the rows.
    const RowNumber small = std::min(row >> first_slab_shift_, small_rows_);
    return static_cast<size_t>(std::bit_width(small << 1 | 1)) - 1 + (row >> chunk_shift_);
  }
  // Inline by force: GCC takes a function that only prefetches for one without effect and drops its calls.
  template <int kLocality>
  [[gnu::always_inline]] static void PrefetchBytes(const RowHeader* header, uint32_t bytes) {
    const auto* begin = reinterpret_cast<const char*>(header);
    for (uint32_t offset = 0; offset < bytes; offset += 64) __builtin_prefetch(begin + offset, 0, kLocality);
    __builtin_prefetch(begin + bytes - 1, 0, kLocality);
  }
  template <bool kWithValues>
  size_t FindBlock(const Key* keys, size_t count, RowNumber* rows, RowHeader** headers) const;
  RowNumber FindFrom(Key key, uint32_t tag, size_t position) const;
  Status GrowIndex(size_t rows);
  Status GrowSlabs(size_t rows);
  static size_t PositionsFor(size_t rows, size_t at_least);
  // The index gets another size. False, with nothing changed: no memory.
  bool MakeIndex(size_t positions);
  size_t PositionOf(RowNumber row) const;
  void Unlink(RowNumber row);
  void TrimSlabs();
  size_t SlabRows(size_t slab) const {
    if (slab > static_cast<size_t>(std::bit_width(small_rows_))) return size_t{1} << chunk_shift_;
    return size_t{1} << (first_slab_shift_ + (slab == 0 ? 0 : slab - 1));
  }
  uint64_t* entries() const { return reinterpret_cast<uint64_t*>(index_.data()); }
  uint32_t Tag(Key key) const { return static_cast<uint32_t>(RowHash(key, table_)); }

  TableId table_;
  uint32_t dim_;
  uint32_t slots_;
  uint32_t accumulator_;  // floats: dim_ or 0
  uint64_t stride_;       // bytes a row
  uint32_t value_bytes_;  // to prefetch of a row's header and values
  uint32_t whole_bytes_;  // and of the whole row
  int first_slab_shift_;  // slab 0 holds 2^shift rows
  int chunk_shift_;
  RowNumber
      small_rows_;  // in units of slab 0, those of the small slabs, which hold 2^chunk_shift_ rows, less one
  size_t size_ = 0;
  size_t deleted_ = 0;
  size_t free_ = 0;
  RowNumber first_free_ = kNoRow;  // a free row's key is the number of the next one
  size_t capacity_ = 0;            // rows that the slabs hold
  size_t positions_ = 0;           // of the index: 0 or a power of two
  ZeroedMemory index_;
  std::vector<ZeroedMemory> slabs_;
  std::vector<uintptr_t> slab_origin_;  // where row 0 would lie if the slab reached back to it
  std::vector<RowNumber> dirty_;
  std::vector<RowNumber> tombstones_;  // every one, and numbers that are none any more
};

}  // namespace penstock
