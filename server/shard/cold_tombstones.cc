#include "server/shard/cold_tombstones.h"

namespace penstock {

void ColdTombstones::Add(Key key) {
  if (!deleted_in_.try_emplace(key, 0).second) return;
  fresh_.push_back(key);
}

std::span<const Key> ColdTombstones::Fresh() {
  std::erase_if(fresh_, [this](Key key) {
    const auto found = deleted_in_.find(key);
    return found == deleted_in_.end() || found->second != 0;
  });
  return fresh_;
}

void ColdTombstones::ClearFresh(Lsn lsn) {
  for (const Key key : Fresh()) deleted_in_[key] = lsn;
  fresh_ = std::vector<Key>();
}

void ColdTombstones::Relog(Lsn from) {
  for (auto& [key, lsn] : deleted_in_) {
    if (lsn <= from) continue;
    lsn = 0;
    fresh_.push_back(key);
  }
}

void ColdTombstones::Forget(Lsn folded) {
  absl::erase_if(deleted_in_,
                 [folded](const auto& entry) { return entry.second != 0 && entry.second <= folded; });
  if (deleted_in_.empty()) deleted_in_ = absl::flat_hash_map<Key, Lsn>();
}

size_t ColdTombstones::ResidentBytes() const {
  return deleted_in_.capacity() * (sizeof(std::pair<Key, Lsn>) + 1) + fresh_.capacity() * sizeof(Key);
}

}  // namespace penstock
