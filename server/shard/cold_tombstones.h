// ColdTombstones: keys of one table of one shard whose rows were deleted without being in memory. The base
// still has them, and this hides them, until a fold has taken their deletions.
//
// A row that is in memory becomes a tombstone in its place (RowTable::MarkDeleted); deleting a row that is
// not must not need the memory of one. Costs 17 bytes a key of the hash table's capacity, 20 to 39 a key.
//
// Not thread-safe: owned by the thread that owns the shard.
#pragma once

#include <absl/container/flat_hash_map.h>

#include <cstddef>
#include <span>
#include <vector>

#include "common/base/ids.h"

namespace penstock {

class ColdTombstones {
 public:
  bool Contains(Key key) const { return !deleted_in_.empty() && deleted_in_.contains(key); }
  size_t size() const { return deleted_in_.size(); }

  // The row is deleted; the next delta must say so.
  void Add(Key key);
  // The same, as a delta that was replayed says.
  void Replay(Key key, Lsn lsn) { deleted_in_[key] = lsn; }
  // The key has a row in memory again, which takes the place of the base's.
  void Remove(Key key) {
    if (!deleted_in_.empty()) deleted_in_.erase(key);
  }

  // Deleted since the last delta. Any other call may move them.
  std::span<const Key> Fresh();
  bool HasFresh() const { return !fresh_.empty(); }
  // They are in delta `lsn`.
  void ClearFresh(Lsn lsn);
  // Those of deltas above `from` are in none.
  void Relog(Lsn from);
  // The base holds every delta up to this one.
  void Forget(Lsn folded);

  size_t ResidentBytes() const;

 private:
  absl::flat_hash_map<Key, Lsn> deleted_in_;  // 0: in no delta yet
  std::vector<Key> fresh_;                    // all of those, and keys that are none any more
};

}  // namespace penstock
