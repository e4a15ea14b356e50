// DeltaTail: the latest deltas of one shard, from which its backups are served: those that some of them have
// not confirmed, and a few more, from which a copy that comes back resumes.
//
// A backup keeps some as well: when it is promoted, the other backups resume from them.
//
// Pure, not thread-safe. Deltas are added in the order in which they were built or received.
#pragma once

#include <algorithm>
#include <cstdint>
#include <deque>
#include <iterator>
#include <optional>

#include "common/base/ids.h"
#include "common/base/mutant.h"
#include "server/storage/delta_words.h"

namespace penstock {

// Where a copy of a shard stands: its last delta.
struct ReplicaPoint {
  Lsn lsn = 0;
  uint32_t checksum = 0;
  bool operator==(const ReplicaPoint&) const = default;
};

// Of a backup's tail: about what can be on its way to the others at a time.
inline constexpr uint64_t kKeptTailBytes = 64 << 10;

struct TailDelta {
  Lsn lsn = 0;
  uint32_t checksum = 0;
  DeltaWords words;
  bool sync = false;  // somebody waits until it is synced
  uint64_t end = 0;   // of the tail: bytes that were ever added to it, with this one
};

class DeltaTail {
 public:
  explicit DeltaTail(const ReplicaPoint& begin) : before_(begin) {}

  void Add(TailDelta delta) {
    bytes_ += delta.words.bytes();
    added_ += delta.words.bytes();
    delta.end = added_;
    deltas_.push_back(std::move(delta));
  }
  // The last one.
  ReplicaPoint End() const {
    return deltas_.empty() ? before_ : ReplicaPoint{deltas_.back().lsn, deltas_.back().checksum};
  }
  // Whether a copy that stands there can go on from here.
  bool Holds(const ReplicaPoint& point) const {
    if (point == before_) return true;
    const auto found = Find(point.lsn);
    return found != deltas_.end() && found->lsn == point.lsn &&
           (found->checksum == point.checksum || !Defended(Defence::kContentChain));
  }
  // The first delta above the lsn; nullptr: there is none.
  const TailDelta* After(Lsn lsn) const {
    const auto next = Find(lsn + 1);
    return next == deltas_.end() ? nullptr : &*next;
  }
  // Drops the oldest deltas up to the lsn, as long as more than `keep_bytes` are left.
  void Trim(Lsn confirmed, uint64_t keep_bytes) {
    while (!deltas_.empty() && deltas_.front().lsn <= confirmed && bytes_ > keep_bytes) {
      before_ = {deltas_.front().lsn, deltas_.front().checksum};
      bytes_ -= deltas_.front().words.bytes();
      deltas_.pop_front();
    }
  }
  uint64_t bytes() const { return bytes_; }
  // Of the deltas above the lsn.
  uint64_t BytesAfter(Lsn lsn) const {
    const auto next = Find(lsn + 1);
    return next == deltas_.begin() ? bytes_ : added_ - std::prev(next)->end;
  }
  // Of the two latest deltas: what can be on its way whatever a copy takes.
  uint64_t LatestBytes() const {
    uint64_t bytes = 0;
    for (size_t i = 0; i < std::min<size_t>(2, deltas_.size()); ++i)
      bytes += deltas_[deltas_.size() - 1 - i].words.bytes();
    return bytes;
  }

 private:
  // The first one at or above the lsn.
  std::deque<TailDelta>::const_iterator Find(Lsn lsn) const {
    return std::lower_bound(deltas_.begin(), deltas_.end(), lsn,
                            [](const TailDelta& delta, Lsn wanted) { return delta.lsn < wanted; });
  }

  ReplicaPoint before_;  // what the first one follows
  std::deque<TailDelta> deltas_;
  uint64_t bytes_ = 0;
  uint64_t added_ = 0;  // ever
};

}  // namespace penstock
