// Sorting and deduplicating row images.
#include "server/storage/fold_index.h"

#include <algorithm>
#include <limits>
#include <tuple>

namespace penstock {

void FoldIndex::Add(GroupKey group, uint32_t piece, std::span<const Key> keys,
                    std::span<const Key> deletions) {
  std::vector<Entry>& entries = groups_[group];
  uint32_t row = 0;
  for (const Key key : keys) entries.push_back({key, piece, row++});
  for (const Key key : deletions) entries.push_back({key, piece, row++});
}

void FoldIndex::RemoveIncarnation(Incarnation incarnation) {
  groups_.erase(groups_.lower_bound({incarnation, 0}),
                groups_.upper_bound({incarnation, std::numeric_limits<TableId>::max()}));
}

void FoldIndex::Compact() {
  for (auto& [key, entries] : groups_) {
    std::sort(entries.begin(), entries.end(), [](const Entry& a, const Entry& b) {
      return std::tie(a.key, a.piece, a.row) < std::tie(b.key, b.piece, b.row);
    });
    size_t kept = 0;
    for (size_t i = 0; i < entries.size(); ++i) {
      if (i + 1 < entries.size() && entries[i + 1].key == entries[i].key) continue;
      entries[kept++] = entries[i];
    }
    entries.resize(kept);
  }
}

size_t FoldIndex::Bytes() const {
  size_t bytes = 0;
  for (const auto& [key, entries] : groups_) bytes += entries.capacity() * sizeof(Entry);
  return bytes;
}

}  // namespace penstock
