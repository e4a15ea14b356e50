// Index probing, growth and slab addressing of RowTable.
#include "server/shard/row_table.h"

#ifdef __SSE2__
#include <emmintrin.h>
#endif

#include <algorithm>
#include <bit>
#include <cstring>
#include <string>

namespace penstock {
namespace {

constexpr size_t kLine = 8;  // entries of a cache line
constexpr size_t kMinPositions = kLine;
constexpr size_t kFirstSlabBytes = 4096;
// Slabs and indexes from this size on lie on huge pages.
constexpr size_t kPooledBytes = 32 << 10;
constexpr size_t kSparse = 8;  // an index with so many times the positions it needs is made smaller
constexpr uint64_t kPrefetchBytes = 1024;
constexpr size_t kKeptDirtyRows = 1 << 12;  // capacity that the dirty list keeps between deltas
constexpr size_t kMaxRows = 0xfffffffeu;    // row number + 1 must fit an entry, and kNoRow is taken

constexpr uint64_t Entry(uint32_t tag, RowNumber row) { return uint64_t{tag} << 32 | (row + 1); }

constexpr uint32_t TagOf(uint64_t entry) { return static_cast<uint32_t>(entry >> 32); }
constexpr RowNumber RowOf(uint64_t entry) { return static_cast<uint32_t>(entry) - 1; }

// At most 3/4 full.
constexpr size_t RowsFor(size_t positions) { return positions / 4 * 3; }

void Place(uint64_t* entries, size_t mask, uint64_t entry) {
  size_t position = TagOf(entry) & mask;
  while (entries[position] != 0) position = (position + 1) & mask;
  entries[position] = entry;
}

}  // namespace

RowTable::RowTable(TableId table, uint32_t dim, uint32_t slots, bool accumulates)
    : table_(table), dim_(dim), slots_(slots), accumulator_(accumulates ? dim : 0) {
  stride_ = (sizeof(RowHeader) + sizeof(float) * (uint64_t{dim} + slots + accumulator_) + 7) / 8 * 8;
  value_bytes_ = static_cast<uint32_t>(
      std::min<uint64_t>(sizeof(RowHeader) + sizeof(float) * uint64_t{dim}, kPrefetchBytes));
  whole_bytes_ = static_cast<uint32_t>(std::min<uint64_t>(stride_, kPrefetchBytes));
  const size_t first_rows = std::max<size_t>(1, kFirstSlabBytes / stride_);
  first_slab_shift_ = std::bit_width(first_rows) - 1;
  chunk_shift_ = std::max<int>(first_slab_shift_, std::bit_width(kChunkBytes / stride_) - 1);
  small_rows_ = (RowNumber{1} << (chunk_shift_ - first_slab_shift_)) - 1;
}

RowNumber RowTable::FindFrom(Key key, uint32_t tag, size_t position) const {
  const uint64_t* index = entries();
  const size_t mask = positions_ - 1;
  for (;; position = (position + 1) & mask) {
    const uint64_t entry = index[position];
    if (entry == 0) return kNoRow;
    if (TagOf(entry) == tag && Header(RowOf(entry))->key == key) return RowOf(entry);
  }
}

RowNumber RowTable::Find(Key key) const {
  if (positions_ == 0) return kNoRow;
  const uint32_t tag = Tag(key);
  return FindFrom(key, tag, tag & (positions_ - 1));
}

// The first of the line's entries that has the tag; kLine: none.
inline size_t FirstInLine(const uint64_t* line, uint32_t tag) {
#ifdef __SSE2__
  const __m128i wanted = _mm_set1_epi32(static_cast<int>(tag));
  __m128i equal[2];
  for (int half = 0; half < 2; ++half) {
    const auto* pairs = reinterpret_cast<const __m128*>(line + half * 4);
    const __m128i tags = _mm_castps_si128(_mm_shuffle_ps(pairs[0], pairs[1], _MM_SHUFFLE(3, 1, 3, 1)));
    equal[half] = _mm_cmpeq_epi32(tags, wanted);
  }
  const __m128i all = _mm_packs_epi32(equal[0], equal[1]);
  const auto match = static_cast<uint32_t>(_mm_movemask_epi8(_mm_packs_epi16(all, _mm_setzero_si128())));
#else
  uint32_t match = 0;
  for (size_t i = 0; i < kLine; ++i) match |= uint32_t{TagOf(line[i]) == tag} << i;
#endif
  return static_cast<size_t>(std::countr_zero(match | 1u << kLine));
}

// Three short loops, so that the cache misses of a whole block are under way at once: first those of the
// index, then those of the rows that it names by tag alone; the keys are compared last. Which entry of its
// line is the key's is random, and so not decided by branches: entries with its tag have its home, and stand
// behind it in the line or in the next ones.
template <bool kWithValues>
size_t RowTable::FindBlock(const Key* keys, size_t count, RowNumber* rows, RowHeader** headers) const {
  if (positions_ == 0) {
    std::fill_n(rows, count, kNoRow);
    std::fill_n(headers, count, nullptr);
    return count;
  }
  const uint64_t* index = entries();
  const size_t mask = positions_ - 1;
  uint32_t tags[kBlock];
  size_t at[kBlock];
  for (size_t i = 0; i < count; ++i) {
    tags[i] = Tag(keys[i]);
    __builtin_prefetch(index + (tags[i] & mask), 0, 2);
  }
  auto found = [&](size_t i, size_t position) {
    at[i] = position;
    rows[i] = RowOf(index[position]);
    headers[i] = Header(rows[i]);
    if constexpr (kWithValues) {
      Prefetch(headers[i]);
    } else {
      PrefetchWhole(headers[i]);
    }
  };
  uint32_t later[kBlock];
  size_t later_count = 0;
  for (size_t i = 0; i < count; ++i) {
    const size_t line = tags[i] & mask & ~(kLine - 1);
    const size_t first = FirstInLine(index + line, tags[i]);
    // An empty entry looks like one of tag 0.
    if (first < kLine && index[line + first] != 0) [[likely]] {
      found(i, line + first);
    } else {
      __builtin_prefetch(index + ((line + kLine) & mask), 0, 2);
      later[later_count++] = static_cast<uint32_t>(i);
    }
  }
  for (size_t l = 0; l < later_count; ++l) {
    const size_t i = later[l];
    size_t position = tags[i] & mask;
    while (index[position] != 0 && TagOf(index[position]) != tags[i]) position = (position + 1) & mask;
    if (index[position] != 0) {
      found(i, position);
    } else {
      rows[i] = kNoRow;
      headers[i] = nullptr;
    }
  }
  size_t missing = 0;
  for (size_t i = 0; i < count; ++i) {
    if (headers[i] != nullptr && headers[i]->key != keys[i]) {
      rows[i] = FindFrom(keys[i], tags[i], (at[i] + 1) & mask);
      headers[i] = rows[i] == kNoRow ? nullptr : Header(rows[i]);
    }
    missing += headers[i] == nullptr;
  }
  return missing;
}

template size_t RowTable::FindBlock<true>(const Key*, size_t, RowNumber*, RowHeader**) const;

size_t RowTable::FindBatch(std::span<const Key> keys, RowNumber* rows) const {
  size_t missing = 0;
  RowHeader* headers[kBlock];
  for (size_t first = 0; first < keys.size(); first += kBlock) {
    missing +=
        FindBlock<false>(keys.data() + first, std::min(kBlock, keys.size() - first), rows + first, headers);
  }
  return missing;
}

Status RowTable::Reserve(size_t rows) {
  if (rows == 0) return Status::Ok();
  if (rows > kMaxRows - used_rows()) {
    return Overloaded("table " + std::to_string(table_) + " has " + std::to_string(used_rows()) +
                      " rows in one shard and needs " + std::to_string(rows) + " more, allowed are " +
                      std::to_string(kMaxRows));
  }
  PENSTOCK_RETURN_IF_ERROR(GrowIndex(used_rows() + rows));
  return GrowSlabs(size_ + rows - std::min(rows, free_));
}

size_t RowTable::GrowthBytes(size_t rows) const {
  const size_t positions = PositionsFor(used_rows() + rows, positions_);
  return (positions - positions_) * sizeof(uint64_t) + (rows - std::min(rows, free_)) * stride_;
}

size_t RowTable::PositionsFor(size_t rows, size_t at_least) {
  size_t positions = std::max(at_least, kMinPositions);
  while (rows > RowsFor(positions)) positions *= 2;
  return positions;
}

Status RowTable::GrowIndex(size_t rows) {
  if (rows <= RowsFor(positions_)) return Status::Ok();
  const size_t positions = PositionsFor(rows, positions_);
  if (MakeIndex(positions)) return Status::Ok();
  return Overloaded("no memory for an index of " + std::to_string(positions) + " positions of table " +
                    std::to_string(table_));
}

bool RowTable::MakeIndex(size_t positions) {
  ZeroedMemory made(positions * sizeof(uint64_t), kPooledBytes);
  if (made.data() == nullptr) return false;
  auto* to = reinterpret_cast<uint64_t*>(made.data());
  for (size_t i = 0; i < positions_; ++i) {
    if (entries()[i] != 0) Place(to, positions - 1, entries()[i]);
  }
  index_ = std::move(made);
  positions_ = positions;
  return true;
}

Status RowTable::GrowSlabs(size_t rows) {
  while (rows > capacity_) {
    const size_t slab_rows = SlabRows(slabs_.size());
    ZeroedMemory slab(slab_rows * stride_, kPooledBytes);
    if (slab.data() == nullptr) {
      return Overloaded("no memory for a slab of " + std::to_string(slab_rows) + " rows of table " +
                        std::to_string(table_));
    }
    slab_origin_.push_back(reinterpret_cast<uintptr_t>(slab.data()) - capacity_ * stride_);
    slabs_.push_back(std::move(slab));
    capacity_ += slab_rows;
  }
  return Status::Ok();
}

RowNumber RowTable::Insert(Key key) {
  RowNumber row = first_free_;
  if (row == kNoRow) {
    row = static_cast<RowNumber>(size_++);
  } else {
    first_free_ = static_cast<RowNumber>(Header(row)->key);
    --free_;
  }
  std::memset(Header(row), 0, stride_);  // another row may have been there
  Header(row)->key = key;
  Place(entries(), positions_ - 1, Entry(Tag(key), row));
  return row;
}

size_t RowTable::PositionOf(RowNumber row) const {
  const uint32_t tag = Tag(Header(row)->key);
  size_t position = tag & (positions_ - 1);
  while (entries()[position] != Entry(tag, row)) position = (position + 1) & (positions_ - 1);
  return position;
}

// Entries behind the gap that may not be found across it move into it, so that probing needs no markers.
void RowTable::Unlink(RowNumber row) {
  uint64_t* index = entries();
  const size_t mask = positions_ - 1;
  size_t gap = PositionOf(row);
  for (size_t at = (gap + 1) & mask; index[at] != 0; at = (at + 1) & mask) {
    const size_t home = TagOf(index[at]) & mask;
    if (((at - home) & mask) < ((at - gap) & mask)) continue;
    index[gap] = index[at];
    gap = at;
  }
  index[gap] = 0;
}

void RowTable::Erase(RowNumber row) {
  Unlink(row);
  RowHeader* header = Header(row);
  deleted_ -= header->deleted();
  *header = {.key = first_free_, .lsn = 0, .push_count = 0, .flags = kRowFree};
  first_free_ = row;
  ++free_;
}

RowTable::Moves RowTable::Compact() {
  Moves moves{.size = used_rows(), .to = {}};
  moves.to.assign(size_ - moves.size, kNoRow);
  RowNumber to = 0;
  for (auto from = static_cast<RowNumber>(moves.size); from < size_; ++from) {
    if (Header(from)->free()) continue;
    while (!Header(to)->free()) ++to;  // as many are free below the new size as are in use behind it
    entries()[PositionOf(from)] = Entry(Tag(Header(from)->key), to);
    std::memcpy(Header(to), Header(from), stride_);
    moves.to[from - moves.size] = to;
  }
  for (RowNumber& row : dirty_) row = moves.Of(row);
  for (RowNumber& row : tombstones_) row = moves.Of(row);
  std::erase(tombstones_, kNoRow);
  size_ = moves.size;
  free_ = 0;
  first_free_ = kNoRow;
  TrimSlabs();
  const size_t positions = PositionsFor(size_, kMinPositions);
  if (positions * kSparse <= positions_) MakeIndex(positions);
  return moves;
}

void RowTable::TrimSlabs() {
  while (!slabs_.empty() && capacity_ - SlabRows(slabs_.size() - 1) >= size_) {
    capacity_ -= SlabRows(slabs_.size() - 1);
    slabs_.pop_back();
    slab_origin_.pop_back();
  }
  if (slabs_.empty()) return;
  const size_t used = size_ - (capacity_ - SlabRows(slabs_.size() - 1));
  slabs_.back().Trim(used * stride_);
}

void RowTable::EraseTombstones(Lsn folded) {
  std::erase_if(tombstones_, [&](RowNumber row) {
    const RowHeader& header = *Header(row);
    if (!header.deleted()) return true;  // revived, or erased at an earlier place of the list
    if (header.dirty() || header.lsn > folded) return false;
    Erase(row);
    return true;
  });
  if (tombstones_.empty()) tombstones_.shrink_to_fit();
}

void RowTable::ClearDirty(Lsn lsn) {
  for (size_t i = 0; i < dirty_.size(); ++i) {
    if (i + 16 < dirty_.size()) __builtin_prefetch(Header(dirty_[i + 16]), 1, 2);
    RowHeader* header = Header(dirty_[i]);
    header->lsn = lsn;
    header->flags &= ~kRowDirty;
  }
  dirty_.clear();
  if (dirty_.capacity() > kKeptDirtyRows) dirty_.shrink_to_fit();
}

void RowTable::OpenRowsFirst() {
  std::partition(dirty_.begin(), dirty_.end(), [this](RowNumber row) { return Header(row)->open(); });
}

void RowTable::MarkDeleted(RowNumber row) {
  RowHeader* header = Header(row);
  if (header->deleted()) return;
  header->flags |= kRowDeleted;
  header->flags &= ~kRowOpen;
  header->push_count = 0;
  std::memset(Values(row), 0, sizeof(float) * all_floats());
  tombstones_.push_back(row);
  ++deleted_;
}

void RowTable::Revive(RowNumber row) {
  RowHeader* header = Header(row);
  if (!header->deleted()) return;
  header->flags &= ~kRowDeleted;
  --deleted_;
}

size_t RowTable::ResidentBytes() const {
  size_t bytes =
      index_.ResidentBytes(index_.bytes()) + (dirty_.capacity() + tombstones_.capacity()) * sizeof(RowNumber);
  size_t before = 0;
  for (size_t slab = 0; slab < slabs_.size(); ++slab) {
    const size_t used = size_ > before ? std::min(size_ - before, SlabRows(slab)) : 0;
    bytes += slabs_[slab].ResidentBytes(used * stride_);
    before += SlabRows(slab);
  }
  return bytes;
}

}  // namespace penstock
