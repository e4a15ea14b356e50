// DeltaChain: decides which deltas of one shard follow one another. Pure logic, used by replay and by the
// fold.
//
// Offered in the order of the log, deltas at or below the folded lsn are skipped, and others must name their
// predecessor's lsn and checksum without a gap. The first delta of an epoch may skip lsns; it may also name
// an older delta than the last one, as it then repeats everything since (written after a failed write, rule
// 8). Behind a gap nothing is taken until a first-of-epoch delta continues what was taken so far: an operator
// accepted that loss. A copy's chain begins with the first piece of its seed (proto/delta.capnp), and the
// pieces, numbered, stand between the deltas.
#pragma once

#include <cstdint>
#include <string>

#include "common/base/ids.h"
#include "proto/delta.capnp.h"

namespace penstock {

// Up to where the base holds a shard; all 0 when it holds nothing.
struct ShardFolded {
  Incarnation incarnation = 0;
  Epoch epoch = 0;
  Lsn lsn = 0;
  uint32_t checksum = 0;
  uint64_t pieces = 0;  // of a seed that has not ended: so many are held; 0: the copy is complete
};
// What the base's meta says.
ShardFolded FoldedOf(proto::ShardMeta::Reader meta);

class DeltaChain {
 public:
  enum class Verdict {
    kTake,  // it is the next one
    kSkip,  // the base holds it, or it is of an earlier incarnation
    kGap,   // it does not follow; broken() says why
  };

  DeltaChain(ShardId shard, const ShardFolded& folded);

  // `checksum` is of the delta's serialized bytes. `may_lack`: deltas may be missing here, so that a gap does
  // not break the chain (a segment that was abandoned, whose rows are logged again later). Throws
  // kj::Exception for a malformed message.
  Verdict Offer(proto::Delta::Reader delta, Incarnation incarnation, uint32_t checksum, uint64_t cluster,
                bool may_lack = false);
  // Whoever applies the deltas refused the one just taken.
  void Refuse(std::string reason);

  // The last delta taken, or the folded one.
  const ShardFolded& last() const { return last_; }
  // Why the chain is broken; empty while it is not.
  const std::string& broken() const { return broken_; }

 private:
  std::string WhyNot(proto::Delta::Reader delta) const;
  std::string WhyNotPiece(proto::Delta::Reader piece) const;
  bool Folded(proto::Delta::Reader delta) const;

  const ShardId shard_;
  ShardFolded folded_;
  bool in_base_;  // the base knows this life of the shard
  ShardFolded last_, before_last_;
  std::string broken_;
};

}  // namespace penstock
