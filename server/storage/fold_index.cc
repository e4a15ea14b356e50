// Sorting and deduplicating row images.
#include "server/storage/fold_index.h"

#include <absl/container/flat_hash_set.h>

#include <algorithm>
#include <limits>

namespace penstock {

// By a quarter: what an array leaves behind when it grows is memory that was touched for nothing.
void FoldIndex::MakeRoom(std::vector<Entry>* entries, size_t more) {
  const size_t size = entries->size() + more;
  if (size > entries->capacity()) entries->reserve(std::max(size, entries->size() + entries->size() / 4));
}

void FoldIndex::Add(GroupKey group, uint32_t piece, std::span<const Key> keys,
                    std::span<const Key> deletions) {
  std::vector<Entry>& entries = groups_[group];
  MakeRoom(&entries, keys.size() + deletions.size());
  uint32_t row = 0;
  for (const Key key : keys) entries.push_back({key, piece, row++});
  for (const Key key : deletions) entries.push_back({key, piece, row++});
}

void FoldIndex::RemoveIncarnation(Incarnation incarnation) {
  groups_.erase(groups_.lower_bound({incarnation, 0}),
                groups_.upper_bound({incarnation, std::numeric_limits<TableId>::max()}));
}

void FoldIndex::Clear(size_t most_bytes) {
  std::erase_if(groups_, [](const auto& group) { return group.second.empty(); });
  size_t bytes = 0;
  for (auto& [key, entries] : groups_) {
    entries.clear();
    bytes += entries.capacity() * sizeof(Entry);
  }
  if (bytes > most_bytes) groups_.clear();
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
  for (const auto& [key, entries] : groups_) bytes += entries.size() * sizeof(Entry);
  return bytes;
}

}  // namespace penstock
