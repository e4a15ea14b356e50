// MoveDecision: what the move of one shard needs next, from the journal and from what nodes said last (rules
// 24 and 36). Pure.
//
// A copy on the target is seeded and becomes in-sync as any other (copy_decision.h). Where the primary moves:
//
//   fence     the primary takes nothing new, and puts all that it has into a last delta, synced everywhere
//   hand over when both say that they hold just that
//   give up   when that takes too long, or one of them cannot: in an epoch of its own, so that no late word
//             can be taken for another; it is tried again after a pause, twice as long each time
#pragma once

#include <string>

#include "scheduler/copies/copy_health.h"

namespace penstock {

// A fence holds pushes up, so it stands for so long at most; twice as long each time after one that was given
// up, so that slow disks do not keep a shard where it is.
inline constexpr int64_t kMostFencedMs = 400;
inline constexpr uint32_t kMostDoublings = 4;
// A copy of which nothing has arrived for so long will not be: the target cannot be reached, say.
inline constexpr int64_t kArrivesMs = 60'000;

struct MoveStep {
  enum class Kind {
    kNone,      // nothing moves, or it waits for copies
    kFence,     // FenceShards
    kWait,      // fenced; a sign of either may decide
    kHandOver,  // ChangeCopies to the target
    kGiveUp,    // fenced: ChangeCopies to the same primary
    kEnd,       // EndMoves
    kLeave,     // of a backup: it leaves the in-sync set
  };
  Kind kind = Kind::kNone;
  std::string why{};  // of kGiveUp and kEnd; of kNone and kWait what it waits for
};

// Of a shard whose primary is not lost. `settled`: its epoch is served and confirmed. `wall_ms`: since 1970.
MoveStep NextMoveStep(const CopyHealth& health, ShardId shard, bool settled, int64_t wall_ms);

}  // namespace penstock
