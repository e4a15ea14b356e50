// Sorting and deduplicating row images.
#include "server/storage/fold_index.h"

#include <algorithm>
#include <boost/sort/spreadsort/integer_sort.hpp>
#include <limits>

namespace penstock {
namespace {

struct KeyBits {
  Key operator()(const FoldIndex::Entry& entry, unsigned offset) const { return entry.key >> offset; }
};
struct ByKey {
  bool operator()(const FoldIndex::Entry& a, const FoldIndex::Entry& b) const { return a.key < b.key; }
};

bool Later(const FoldIndex::Entry& a, const FoldIndex::Entry& b) {
  return std::pair(a.piece, a.row) > std::pair(b.piece, b.row);
}

}  // namespace

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
  for (auto& [group, entries] : groups_) {
    boost::sort::spreadsort::integer_sort(entries.begin(), entries.end(), KeyBits(), ByKey());
    size_t kept = 0;
    for (const Entry& entry : entries) {
      if (kept == 0 || entries[kept - 1].key != entry.key) {
        entries[kept++] = entry;
      } else if (Later(entry, entries[kept - 1])) {
        entries[kept - 1] = entry;
      }
    }
    entries.resize(kept);
  }
}

size_t FoldIndex::Bytes() const {
  size_t bytes = 0;
  for (const auto& [key, entries] : groups_) bytes += entries.size() * sizeof(Entry);
  return bytes;
}

}  // namespace penstock
