#include "scheduler/copies/move_decision.h"

#include <algorithm>

#include "common/base/mutant.h"
#include "common/base/strings.h"

namespace penstock {
namespace {

using Kind = MoveStep::Kind;

// Empty: it can go on.
std::string WhyEnd(const CopyHealth& health, ShardId id, int64_t wall_ms) {
  const ShardRecord& shard = health.Shard(id);
  const MoveRecord& move = shard.move;
  if (!IsMember(shard, move.from)) return StrCat("the copy on ", health.NodeName(move.from), " is gone");
  const NodeRecord* to = health.state().FindNode(move.to);
  if (to == nullptr || to->role != NodeRole::kServer) return StrCat("node ", move.to, " is gone");
  // What it says of itself is known with its first heartbeat.
  if (move.drains && health.nodes().Beating(move.from) && !health.Drained(move.from))
    return health.NodeName(move.from) + " is drained no more";
  if (health.Dead(move.to)) return health.NodeName(move.to) + " does not answer";
  if (health.Drained(move.to) && !IsMember(shard, move.to)) return health.NodeName(move.to) + " is drained";
  const CopyRecord* copy = FindCopy(shard.backups, move.to);
  if (!move.adds && copy == nullptr) return StrCat("the copy on ", health.NodeName(move.to), " is gone");
  const ShardLine* line = health.nodes().Line(move.to, id);
  const bool arrives = line != nullptr && (line->complete || line->rows > 0);
  if (move.adds && (copy == nullptr || !copy->in_sync) && !arrives && move.begun_ms != 0 &&
      wall_ms - move.begun_ms > kArrivesMs) {
    return StrCat("nothing has come to ", health.NodeName(move.to), " within ", kArrivesMs / 1000, " s: can ",
                  health.NodeName(shard.node), " reach it at ", to->endpoints.front(), "?");
  }
  return "";
}

// The target could lead as it stands.
bool Able(const CopyHealth& health, ShardId id, const CopyRecord* target) {
  return target != nullptr && IsPromotable(health.Shard(id), *target) && health.CaughtUp(id, *target) &&
         health.Judgement(id, *target)->failed.empty();
}

// After so many fences that took too long.
int64_t PauseMs(uint32_t given_up) {
  return given_up == 0 ? 0 : int64_t{1000} << std::min<uint32_t>(given_up - 1, 6);
}

// Empty: the fenced primary and the target hold the same, and the target has it on its disk.
std::string WhyNotEqual(const CopyHealth& health, ShardId id, const CopyRecord* target) {
  const MoveRecord& move = health.Shard(id).move;
  const ShardLine* from = health.Served(id);
  if (from == nullptr || from->fenced != move.fence)
    return health.NodeName(move.from) + " has not written its last delta";
  const ShardLine* to = health.nodes().Line(move.to, id);
  if (!Able(health, id, target) || to == nullptr || !to->complete)
    return health.NodeName(move.to) + " cannot lead";
  if (Defended(Defence::kHandOverEqual) && (to->applied != from->applied || to->synced < from->applied)) {
    return StrCat(health.NodeName(move.to), " holds lsn ", to->applied, ", synced ", to->synced,
                  ", and has to sync ", from->applied);
  }
  return "";
}

MoveStep FencedStep(const CopyHealth& health, ShardId id, const std::string& end, int64_t wall_ms) {
  const ShardRecord& shard = health.Shard(id);
  if (!end.empty()) return {Kind::kGiveUp, end};
  const std::string waits = WhyNotEqual(health, id, FindCopy(shard.backups, shard.move.to));
  if (waits.empty()) return {Kind::kHandOver};
  const int64_t passed = wall_ms - shard.move.fenced_ms;
  const int64_t most = kMostFencedMs << std::min(shard.move.given_up, kMostDoublings);
  if (passed >= 0 && passed < most) return {Kind::kWait, waits};
  return {Kind::kGiveUp, StrCat("after ", passed, " ms ", waits)};
}

}  // namespace

MoveStep NextMoveStep(const CopyHealth& health, ShardId id, bool settled, int64_t wall_ms) {
  const ShardRecord& shard = health.Shard(id);
  const MoveRecord& move = shard.move;
  if (move.from == 0) return {};
  const std::string end = WhyEnd(health, id, wall_ms);
  if (move.fence != 0) return FencedStep(health, id, end, wall_ms);
  if (!end.empty()) return {Kind::kEnd, end};
  const CopyRecord* target = FindCopy(shard.backups, move.to);
  if (!Able(health, id, target))
    return {Kind::kNone, StrCat("the copy on ", health.NodeName(move.to), " is not in sync yet")};
  if (!settled)
    return {Kind::kNone,
            StrCat("waiting for ", health.NodeName(shard.node), " to serve epoch ", shard.epoch)};
  if (shard.node != move.from) {
    if (CountInSync(shard) > health.state().data().copies) return {Kind::kLeave};
    return {Kind::kEnd,
            StrCat("another copy got lost, whose place the one on ", health.NodeName(move.to), " takes")};
  }
  const int64_t passed = wall_ms - move.fenced_ms;
  if (passed >= 0 && passed < PauseMs(move.given_up))
    return {Kind::kNone, "a hand-over took too long; the next one is tried in a moment"};
  return {Kind::kFence};
}

}  // namespace penstock
