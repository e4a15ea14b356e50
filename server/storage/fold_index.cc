// Sorting and deduplicating row images.
#include "server/storage/fold_index.h"

#include <absl/container/flat_hash_set.h>

#include <algorithm>
#include <limits>

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
  absl::flat_hash_set<Key> seen;
  for (auto& [group, entries] : groups_) {
    // Entries were added in the order of the log, so the last of a key is the first from behind. The kept
    // ones gather at the end.
    seen.clear();
    size_t first = entries.size();
    for (size_t i = entries.size(); i-- > 0;) {
      if (seen.insert(entries[i].key).second) entries[--first] = entries[i];
    }
    entries.erase(entries.begin(), entries.begin() + static_cast<ptrdiff_t>(first));
    std::sort(entries.begin(), entries.end(), [](const Entry& a, const Entry& b) { return a.key < b.key; });
  }
}

size_t FoldIndex::Bytes() const {
  size_t bytes = 0;
  for (const auto& [key, entries] : groups_) bytes += entries.capacity() * sizeof(Entry);
  return bytes;
}

}  // namespace penstock
