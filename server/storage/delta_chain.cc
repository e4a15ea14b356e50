// The rules of what may follow what.
#include "server/storage/delta_chain.h"

namespace penstock {

DeltaChain::DeltaChain(ShardId shard, const ShardFolded& folded)
    : shard_(shard), folded_(folded), last_(folded), before_last_(folded) {}

std::string DeltaChain::WhyNot(proto::Delta::Reader delta) const {
  const Lsn lsn = delta.getLsn(), previous = delta.getPreviousLsn();
  const std::string name =
      "delta " + std::to_string(lsn) + " (epoch " + std::to_string(delta.getEpoch()) + ")";
  const std::string last = "the last one before it is " + std::to_string(last_.lsn);
  if (delta.getEpoch() < last_.epoch)
    return name + " is of an older epoch than the last one, " + std::to_string(last_.epoch);
  if (lsn <= last_.lsn || lsn <= previous)
    return name + " does not rise: it follows " + std::to_string(previous) + ", " + last;
  if (previous > last_.lsn) return name + " follows " + std::to_string(previous) + ", " + last;
  if (previous == last_.lsn && delta.getPreviousChecksum() != last_.checksum) {
    return name + " follows another delta " + std::to_string(previous) + " than the one before it";
  }
  if (delta.getFirstOfEpoch()) {
    // An older predecessor: it repeats everything since. The folded one may have moved on since it was
    // written.
    if (previous == folded_.lsn && delta.getPreviousChecksum() != folded_.checksum) {
      return name + " follows another delta " + std::to_string(previous) + " than the base holds";
    }
    return "";
  }
  if (!broken_.empty()) return broken_;
  if (previous != last_.lsn || lsn != previous + 1)
    return name + " follows " + std::to_string(previous) + ", " + last;
  return "";
}

DeltaChain::Verdict DeltaChain::Offer(proto::Delta::Reader delta, uint32_t checksum, uint64_t cluster,
                                      bool may_lack) {
  std::string why;
  if (delta.getFormat() != proto::DELTA_FORMAT || delta.getCluster() != cluster ||
      delta.getShard() != shard_) {
    why = "a delta of format " + std::to_string(delta.getFormat()) + ", cluster " +
          std::to_string(delta.getCluster()) + ", shard " + std::to_string(delta.getShard()) +
          " stands among those of cluster " + std::to_string(cluster);
  } else if (delta.getIncarnation() < last_.incarnation) {
    return Verdict::kSkip;
  } else if (delta.getIncarnation() > last_.incarnation) {
    // A new life; what became of the one before does not matter any more.
    folded_ = last_ = ShardFolded{.incarnation = delta.getIncarnation()};
    broken_.clear();
    why = WhyNot(delta);
  } else if (delta.getLsn() <= folded_.lsn) {
    return Verdict::kSkip;
  } else {
    why = WhyNot(delta);
  }
  if (!why.empty()) {
    if (!may_lack && broken_.empty()) broken_ = std::move(why);
    return Verdict::kGap;
  }
  before_last_ = last_;
  last_ = {.incarnation = delta.getIncarnation(),
           .epoch = delta.getEpoch(),
           .lsn = delta.getLsn(),
           .checksum = checksum};
  broken_.clear();
  return Verdict::kTake;
}

void DeltaChain::Refuse(std::string reason) {
  last_ = before_last_;
  broken_ = std::move(reason);
}

}  // namespace penstock
