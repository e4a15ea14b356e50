// The rules of what may follow what.
#include "server/storage/delta_chain.h"

#include "common/base/mutant.h"

namespace penstock {

ShardFolded FoldedOf(proto::ShardMeta::Reader meta) {
  return {.incarnation = meta.getIncarnation(),
          .epoch = meta.getEpoch(),
          .lsn = meta.getLsn(),
          .checksum = meta.getChecksum(),
          .pieces = meta.getPieces()};
}

DeltaChain::DeltaChain(ShardId shard, const ShardFolded& folded)
    : shard_(shard),
      folded_(folded),
      in_base_(folded.incarnation != 0),
      last_(folded),
      before_last_(folded) {}

// Whether the base holds it.
bool DeltaChain::Folded(proto::Delta::Reader delta) const {
  if (delta.getPiece() == 0) return delta.getLsn() <= folded_.lsn;
  return in_base_ && (folded_.pieces == 0 || delta.getPiece() <= folded_.pieces);
}

std::string DeltaChain::WhyNotPiece(proto::Delta::Reader piece) const {
  const std::string name = "piece " + std::to_string(piece.getPiece()) + " of a seed, at delta " +
                           std::to_string(piece.getLsn()) + ",";
  if (piece.getPiece() == 1 && last_.epoch == 0 && last_.lsn == 0) return "";
  if (!broken_.empty()) return broken_;
  if (piece.getPiece() != last_.pieces + 1 || piece.getPiece() == 1) {
    return name + " does not follow the " + std::to_string(last_.pieces) + " before it";
  }
  if (piece.getEpoch() < last_.epoch || piece.getLsn() != last_.lsn ||
      piece.getPreviousChecksum() != last_.checksum) {
    return name + " does not follow delta " + std::to_string(last_.lsn) + " (epoch " +
           std::to_string(last_.epoch) + ")";
  }
  return "";
}

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
  if (Defended(Defence::kContentChain) && previous == last_.lsn &&
      delta.getPreviousChecksum() != last_.checksum) {
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

DeltaChain::Verdict DeltaChain::Offer(proto::Delta::Reader delta, Incarnation incarnation, uint32_t checksum,
                                      uint64_t cluster, bool may_lack) {
  const bool piece = delta.getPiece() != 0;
  std::string why;
  if (delta.getFormat() != proto::DELTA_FORMAT || delta.getCluster() != cluster ||
      delta.getShard() != shard_) {
    why = "a delta of format " + std::to_string(delta.getFormat()) + ", cluster " +
          std::to_string(delta.getCluster()) + ", shard " + std::to_string(delta.getShard()) +
          " stands among those of cluster " + std::to_string(cluster);
  } else if (incarnation < last_.incarnation) {
    return Verdict::kSkip;
  } else if (incarnation > last_.incarnation) {
    // A new life; what became of the one before does not matter any more.
    folded_ = last_ = ShardFolded{.incarnation = incarnation};
    in_base_ = false;
    broken_.clear();
    why = piece ? WhyNotPiece(delta) : WhyNot(delta);
  } else if (Folded(delta)) {
    return Verdict::kSkip;
  } else {
    why = piece ? WhyNotPiece(delta) : WhyNot(delta);
  }
  if (!why.empty()) {
    if (!may_lack && broken_.empty()) broken_ = std::move(why);
    return Verdict::kGap;
  }
  before_last_ = last_;
  last_ = {.incarnation = incarnation,
           .epoch = delta.getEpoch(),
           .lsn = delta.getLsn(),
           .checksum = piece ? delta.getPreviousChecksum() : checksum,
           .pieces = piece ? delta.getPiece() : last_.pieces};
  if (piece && delta.getSeeded()) last_.pieces = 0;
  broken_.clear();
  return Verdict::kTake;
}

void DeltaChain::Refuse(std::string reason) {
  last_ = before_last_;
  broken_ = std::move(reason);
}

}  // namespace penstock
