// ColdRows: what a table of a shard knows of its rows that are in the base and not in memory.
//
// A row becomes cold when it is evicted, or at a restart. A filter remembers the keys, so that a row that was
// never stored is known as such without a look at the disk. While a restarted server still reads its base, in
// the order of the keys, every key that it has not come to may be there. Fetches are kept account of by key:
// one at a time for each row, and whatever puts the row into memory in another way (a deletion's tombstone)
// voids the fetch under way, whose image may be of the past. Keys that the filter was wrong about are
// remembered too, until there are many. Waiting units pin the rows that they need.
//
// Rules 5, 6, 12 and 31 of docs/protocol.md. Not thread-safe; pure logic.
#pragma once

#include <absl/container/flat_hash_map.h>
#include <absl/container/flat_hash_set.h>

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>

#include "common/base/hash.h"
#include "common/base/ids.h"
#include "server/shard/cold_filter.h"
#include "server/shard/cold_tombstones.h"

namespace penstock {

class ColdRows {
 public:
  explicit ColdRows(TableId table) : table_(table) {}

  // Rows of the base that are neither in memory nor deleted, as far as it has been read.
  uint64_t count() const { return count_; }
  // Rows may be cold, or were at some time.
  bool ever() const { return unread_ || !filter_.empty(); }
  // The keys of the base that have not been read: those from this one on; nullopt: none.
  const std::optional<Key>& unread() const { return unread_; }
  void SetUnread(std::optional<Key> from) { unread_ = from; }
  // Whether a row that is not in memory may be in the base, and was not deleted there.
  bool MayHold(Key key) const {
    return (Unread(key) || (!filter_.empty() && filter_.MayContain(Hash(key)))) && !absent_.contains(key) &&
           !tombstones_.Contains(key);
  }
  // The cold row is deleted: a tombstone hides it until its deletion is folded.
  void Delete(Key key);
  ColdTombstones& tombstones() { return tombstones_; }
  const ColdTombstones& tombstones() const { return tombstones_; }
  // The base was read up to this row, which is not in memory.
  void Add(Key key) {
    filter_.Add(Hash(key));
    ++count_;
  }
  // The row leaves memory, and is in the base.
  void Evict(Key key) {
    if (!Unread(key)) Add(key);
  }
  // A row with this key comes into memory in another way than by a fetch.
  void Replace(Key key);

  // False when a fetch of it is under way already. `number` tells it from those before and after it.
  bool BeginFetch(Key key, uint64_t* number);
  // False when that fetch was voided, and what it brings may not be used.
  bool EndFetch(Key key, uint64_t number);
  // After EndFetch: the row is in memory now, or the base has none.
  void NoteInstalled(Key key) { count_ -= count_ > 0 && !Unread(key); }
  void NoteAbsent(Key key);

  // Pins count.
  void Pin(std::span<const Key> keys);
  void Unpin(std::span<const Key> keys);
  bool Pinned(Key key) const { return !pins_.empty() && pins_.contains(key); }

  size_t ResidentBytes() const;

 private:
  bool Unread(Key key) const { return unread_ && key >= *unread_; }
  // Not the bits that the index and the shard's number are made of.
  uint64_t Hash(Key key) const { return Mix64(RowHash(key, table_) ^ 0x9e3779b97f4a7c15ULL); }

  TableId table_;
  std::optional<Key> unread_;
  ColdFilter filter_;
  ColdTombstones tombstones_;
  uint64_t count_ = 0;
  uint64_t last_fetch_ = 0;
  absl::flat_hash_map<Key, uint64_t> fetching_;
  absl::flat_hash_set<Key> absent_;
  size_t absent_limit_ = 0;
  absl::flat_hash_map<Key, uint32_t> pins_;
};

}  // namespace penstock
