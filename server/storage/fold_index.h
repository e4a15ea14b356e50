// FoldIndex: which image of each row is the last one among the deltas that a fold takes.
//
// A flat array per table of a shard's life, of which Compact keeps the last entry of each key. 16 bytes a row
// image, no pointers. Images are numbered by the pieces they come in: a piece is one TableDelta of one delta,
// and pieces are numbered in the order of the log. Pure logic, not thread-safe.
#pragma once

#include <cstdint>
#include <map>
#include <span>
#include <utility>
#include <vector>

#include "common/base/ids.h"

namespace penstock {

class FoldIndex {
 public:
  struct Entry {
    Key key;
    uint32_t piece;
    uint32_t row;  // within the piece: its images in their order, then its deletions
  };
  using GroupKey = std::pair<Incarnation, TableId>;
  // In the order of the base's row keys. Some may be empty.
  using Groups = std::map<GroupKey, std::vector<Entry>>;

  // Pieces come in rising order. A deletion in a piece comes after its images.
  void Add(GroupKey group, uint32_t piece, std::span<const Key> keys, std::span<const Key> deletions);
  void RemoveTable(GroupKey group) { groups_.erase(group); }
  // For the next fold, which will mostly have as much of the same groups: their memory stays, unless it is
  // more than that.
  void Clear(size_t most_bytes);
  void RemoveIncarnation(Incarnation incarnation);
  // Sorts each group by key (by radix, in place) and keeps the last entry of each key.
  void Compact();
  // After Compact.
  const Groups& groups() const { return groups_; }
  // Of the entries; the memory is at most a quarter more, or what an earlier fold took.
  size_t Bytes() const;

 private:
  static void MakeRoom(std::vector<Entry>* entries, size_t more);

  Groups groups_;
};

}  // namespace penstock
