// The bookkeeping of ColdRows.
#include "server/shard/cold_rows.h"

#include <algorithm>

namespace penstock {
namespace {
constexpr size_t kMinAbsent = 1 << 14;  // kept at least
}

void ColdRows::Replace(Key key) {
  tombstones_.Remove(key);
  fetching_.erase(key);
  absent_.erase(key);
}

void ColdRows::Delete(Key key) {
  tombstones_.Add(key);
  fetching_.erase(key);
  NoteInstalled(key);
}

bool ColdRows::BeginFetch(Key key, uint64_t* number) {
  if (!fetching_.emplace(key, last_fetch_ + 1).second) return false;
  *number = ++last_fetch_;
  return true;
}

bool ColdRows::EndFetch(Key key, uint64_t number) {
  const auto fetch = fetching_.find(key);
  if (fetch == fetching_.end() || fetch->second != number) return false;
  fetching_.erase(fetch);
  return true;
}

void ColdRows::NoteAbsent(Key key) {
  if (absent_.size() >= std::max(kMinAbsent, absent_limit_)) {
    // A unit waits for the pinned ones, and would find them cold again.
    absl::erase_if(absent_, [this](Key absent) { return !Pinned(absent); });
    absent_limit_ = 2 * absent_.size();
  }
  absent_.insert(key);
}

void ColdRows::Pin(std::span<const Key> keys) {
  for (const Key key : keys) ++pins_[key];
}

void ColdRows::Unpin(std::span<const Key> keys) {
  for (const Key key : keys) {
    const auto pin = pins_.find(key);
    if (pin != pins_.end() && --pin->second == 0) pins_.erase(pin);
  }
}

size_t ColdRows::ResidentBytes() const {
  return filter_.ResidentBytes() + tombstones_.ResidentBytes() + absent_.capacity() * (sizeof(Key) + 1) +
         (fetching_.capacity() + pins_.capacity()) * (2 * sizeof(Key) + 1);
}

}  // namespace penstock
