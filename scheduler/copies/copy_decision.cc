#include "scheduler/copies/copy_decision.h"

#include <algorithm>
#include <tuple>
#include <utility>

#include "common/base/strings.h"

namespace penstock {
namespace {

// Empty: it may stay. Otherwise why not.
std::string WhyNotStay(const CopyHealth& health, ShardId id, const CopyRecord& copy) {
  if (std::string broken = health.WhyBroken(id, copy); !broken.empty()) return broken;
  const BackupLine* said = health.Judgement(id, copy);
  if (said == nullptr || said->failed.empty()) return "";
  return StrCat(health.NodeName(copy.node), ": ", said->failed);
}

class Decider {
 public:
  Decider(const CopyHealth& health, int64_t wall_ms, const CopyOptions& options)
      : health_(health),
        data_(health.state().data()),
        wall_ms_(wall_ms),
        options_(options),
        incarnation_(data_.last_incarnation) {
    for (ShardId id = 0; id < data_.shards.size(); ++id) {
      const ShardRecord& shard = data_.shards[id];
      if (shard.node != 0) ++primaries_[shard.node], ++members_[shard.node];
      for (const CopyRecord& copy : shard.backups) {
        ++members_[copy.node];
        // One of a shard that nobody serves gets nothing.
        if (!copy.in_sync && shard.quarantine.empty() && health_.WhyLost(id).empty()) ++seeding_[copy.node];
      }
    }
  }

  CopyDecision Run() {
    for (ShardId id = 0; id < data_.shards.size(); ++id) Decide(id);
    return std::move(out_);
  }

 private:
  void Decide(ShardId id) {
    const ShardRecord& shard = data_.shards[id];
    // Most clusters in most moments: nothing can be decided.
    const bool alone = shard.backups.empty() && shard.former.empty() && data_.copies == 1;
    if (shard.node == 0 || (alone && shard.move.from == 0)) return;
    if (!health_.WhyLost(id).empty()) {
      out_.signs_wanted += HasOthers(shard);
      Elect(id);
      return;
    }
    if (!shard.quarantine.empty() || shard.held) return;
    const ShardLine* served = health_.Served(id);
    // With `logged` where it was before: the new members have all that was answered without them.
    const bool whole = served != nullptr && served->logged >= shard.logged;
    if (whole && shard.epoch > shard.confirmed)
      out_.confirm.confirmations.push_back({.shard = id, .epoch = shard.epoch});
    const bool settled = served != nullptr && shard.confirmed == shard.epoch;
    if (Move(id, settled)) return;
    if (ChangeInSync(id, settled && shard.move.fence == 0)) return;
    DropSeeding(id);
    if (served != nullptr) Add(id);
  }

  void Elect(ShardId id) {
    Election election = ElectLeader(health_, id, primaries_);
    if (election.quarantine) out_.quarantine.quarantines.push_back(std::move(*election.quarantine));
    if (!election.change) return;
    const NodeId before = data_.shards[id].node;
    --primaries_[before];
    ++primaries_[election.change->node];
    out_.change.changes.push_back(std::move(*election.change));
  }

  // True: its copies do not change otherwise.
  bool Move(ShardId id, bool settled) {
    const ShardRecord& shard = data_.shards[id];
    MoveStep step = NextMoveStep(health_, id, settled, wall_ms_);
    switch (step.kind) {
      case MoveStep::Kind::kNone:
        return false;
      case MoveStep::Kind::kFence:
        ++out_.signs_wanted;
        out_.fence.fences.push_back({.shard = id, .epoch = health_.NextEpoch(id), .at_ms = wall_ms_});
        return true;
      case MoveStep::Kind::kWait:
        ++out_.signs_wanted;
        return false;
      case MoveStep::Kind::kEnd:
        out_.end.moves.push_back({.shard = id, .why = std::move(step.why), .at_ms = wall_ms_});
        return true;
      case MoveStep::Kind::kGiveUp:
        out_.given_up.push_back({.shard = id, .why = std::move(step.why)});
        Change(id, PrimaryOf(shard), shard.backups);
        return true;
      case MoveStep::Kind::kHandOver:
        HandOver(id);
        return true;
      case MoveStep::Kind::kLeave:
        Change(id, PrimaryOf(shard), Without(shard.backups, shard.move.from));
        return true;
    }
    return false;
  }

  // The old primary stays as a backup unless there is one more copy than wanted.
  void HandOver(ShardId id) {
    const ShardRecord& shard = data_.shards[id];
    const CopyRecord target = *FindCopy(shard.backups, shard.move.to);
    std::vector<CopyRecord> backups = Without(shard.backups, target.node);
    if (CountInSync(shard) <= data_.copies) backups.push_back(PrimaryOf(shard));
    Change(id, target, std::move(backups));
  }

  static std::vector<CopyRecord> Without(std::vector<CopyRecord> copies, NodeId node) {
    std::erase_if(copies, [node](const CopyRecord& copy) { return copy.node == node; });
    return copies;
  }

  void Change(ShardId id, const CopyRecord& leader, std::vector<CopyRecord> backups) {
    out_.change.changes.push_back({.shard = id,
                                   .epoch = health_.NextEpoch(id),
                                   .min_lsn = health_.NextLsn(id),
                                   .node = leader.node,
                                   .incarnation = leader.incarnation,
                                   .backups = std::move(backups),
                                   .at_ms = wall_ms_});
  }

  // It is there beside those that are wanted, to take the place of one.
  static bool IsExtra(const ShardRecord& shard, NodeId node) {
    return shard.move.adds && shard.move.to == node;
  }

  // A new epoch with other in-sync copies, if any must leave or may enter. `settled`: the last change is
  // confirmed.
  bool ChangeInSync(ShardId id, bool settled) {
    const ShardRecord& shard = data_.shards[id];
    std::vector<CopyRecord> next = shard.backups;
    // What is only being seeded and broken leaves with the others, or by DropSeeding.
    std::erase_if(next, [&](const CopyRecord& copy) {
      if (WhyNotStay(health_, id, copy).empty()) return false;
      const bool leaves = !copy.in_sync || health_.PrimaryOutlived(id, copy);
      out_.signs_wanted += !leaves;
      return leaves;
    });
    const auto in_sync = [](const CopyRecord& copy) { return copy.in_sync; };
    bool changed = 1 + std::count_if(next.begin(), next.end(), in_sync) < CountInSync(shard);
    const auto counts = [&](const CopyRecord& copy) { return copy.in_sync && !IsExtra(shard, copy.node); };
    auto count = static_cast<uint32_t>(1 + std::count_if(next.begin(), next.end(), counts));
    while (settled && count > data_.copies) {
      next.erase(std::find_if(next.rbegin(), next.rend(), counts).base() - 1);
      --count;
      changed = true;
    }
    for (CopyRecord& copy : next) {
      const bool room = count < data_.copies || IsExtra(shard, copy.node);
      if (!settled || !room || copy.in_sync || !health_.CaughtUp(id, copy)) continue;
      copy.in_sync = true;
      copy.since = health_.NextEpoch(id);
      count += !IsExtra(shard, copy.node);
      changed = true;
    }
    if (changed) Change(id, PrimaryOf(shard), std::move(next));
    return changed;
  }

  // Those that are broken, and those that are too many.
  void DropSeeding(ShardId id) {
    const ShardRecord& shard = data_.shards[id];
    uint32_t members = 1;
    for (const CopyRecord& copy : shard.backups) members += copy.in_sync && !IsExtra(shard, copy.node);
    for (const CopyRecord& copy : shard.backups) {
      if (copy.in_sync) continue;
      const bool extra = IsExtra(shard, copy.node);
      if ((members < data_.copies || extra) && WhyNotStay(health_, id, copy).empty()) {
        members += !extra;
      } else {
        out_.drop.copies.push_back({.shard = id, .node = copy.node});
      }
    }
  }

  void Add(ShardId id) {
    const ShardRecord& shard = data_.shards[id];
    std::vector<NodeId> chosen;
    const auto add = [&](NodeId node) {
      chosen.push_back(node);
      ++members_[node];
      ++seeding_[node];
      out_.add.copies.push_back({.shard = id, .node = node, .incarnation = ++incarnation_});
    };
    const NodeId to = shard.move.to;
    if (shard.move.adds && !IsMember(shard, to) && MayTake(shard, to) && HasRoom(to)) add(to);
    auto members = static_cast<uint32_t>(1 + shard.backups.size());
    if (shard.move.adds && IsMember(shard, to)) --members;
    for (; members < data_.copies; ++members) {
      const NodeId node = ChooseServer(shard, chosen);
      if (node == 0) return;
      add(node);
    }
  }

  // It can take a copy, now or when it has room for another one.
  bool MayTake(const ShardRecord& shard, NodeId node) const {
    return health_.nodes().Beating(node) && !health_.Drained(node) &&
           health_.nodes().StateOf(node, health_.now_ms()) == Liveness::kAlive && !MayBeNeeded(shard, node);
  }
  bool HasRoom(NodeId node) { return seeding_[node] < options_.max_seeding; }

  // Of those that share the fewest hosts and zones with the other copies, as the planner's (rebalance.h), the
  // one with the fewest copies; 0: there is none, or they all have to end others first.
  NodeId ChooseServer(const ShardRecord& shard, const std::vector<NodeId>& chosen) {
    NodeId best = 0;
    std::tuple<Nearness, bool, uint32_t> least;
    for (const auto& [id, node] : data_.nodes) {
      const bool may = node.role == NodeRole::kServer && MayTake(shard, id);
      if (!may || std::count(chosen.begin(), chosen.end(), id) > 0) continue;
      const std::tuple rank(NearnessOf(node, shard, chosen), !HasRoom(id), members_[id]);
      if (best != 0 && rank >= least) continue;
      best = id;
      least = rank;
    }
    return best != 0 && HasRoom(best) ? best : 0;
  }

  // With how many of the other copies it would share its host, and its zone.
  using Nearness = std::pair<uint32_t, uint32_t>;
  Nearness NearnessOf(const NodeRecord& node, const ShardRecord& shard,
                      const std::vector<NodeId>& chosen) const {
    Nearness near;
    const auto count = [&](NodeId id) {
      const NodeRecord* other = health_.state().FindNode(id);
      if (other == nullptr) return;
      near.first += !node.host.empty() && node.host == other->host;
      near.second += !node.zone.empty() && node.zone == other->zone;
    };
    const auto leaves = [&](NodeId id) { return shard.move.adds && shard.move.from == id; };
    if (!leaves(shard.node)) count(shard.node);
    for (const CopyRecord& copy : shard.backups) {
      if (!leaves(copy.node)) count(copy.node);
    }
    for (const NodeId id : chosen) count(id);
    return near;
  }

  const CopyHealth& health_;
  const StateData& data_;
  const int64_t wall_ms_;
  const CopyOptions& options_;
  std::map<NodeId, uint32_t> primaries_, members_, seeding_;
  Incarnation incarnation_;
  CopyDecision out_;
};

}  // namespace

CopyDecision DecideCopies(const ClusterState& state, const NodeTable& nodes, int64_t now_ms, int64_t wall_ms,
                          const CopyOptions& options) {
  const CopyHealth health(state, nodes, now_ms);
  return Decider(health, wall_ms, options).Run();
}

std::string WhyNotDrained(const CopyHealth& health, ShardId id) {
  const ShardRecord& shard = health.Shard(id);
  const auto& nodes = health.state().data().nodes;
  const bool held =
      health.Drained(shard.node) ||
      std::ranges::any_of(shard.backups, [&](const CopyRecord& copy) { return health.Drained(copy.node); });
  if (!held || shard.move.from != 0) return "";
  if (!shard.quarantine.empty()) return "it is quarantined: " + shard.quarantine;
  if (const std::string lost = health.WhyLost(id); !lost.empty()) return lost;
  if (CountInSync(shard) < health.state().data().copies) return WhyFewCopies(health, id);
  const bool able = std::ranges::any_of(nodes, [&](const auto& node) {
    return node.second.role == NodeRole::kServer && !health.Drained(node.first) && !health.Dead(node.first) &&
           !MayBeNeeded(shard, node.first);
  });
  return able ? "" : "no other server is there to take its copy";
}

bool MayLeave(const CopyHealth& health, NodeId node) {
  const StateData& data = health.state().data();
  return std::ranges::none_of(data.shards, [&](const ShardRecord& shard) {
    // Until its successor has confirmed its epoch it may have to lead once more.
    if (!IsMember(shard, node)) return MayBeNeeded(shard, node);
    return std::ranges::any_of(data.nodes, [&](const auto& other) {
      const NodeId id = other.first;
      if (other.second.role != NodeRole::kServer || health.Drained(id) || health.Dead(id)) return false;
      return !MayBeNeeded(shard, id) || (shard.node == node && IsMember(shard, id));
    });
  });
}

std::string WhyFewCopies(const CopyHealth& health, ShardId id) {
  const ShardRecord& shard = health.Shard(id);
  std::vector<std::string> reasons;
  for (const CopyRecord& copy : shard.backups) {
    std::string why = WhyNotStay(health, id, copy);
    if (why.empty() && !copy.in_sync) why = health.NodeName(copy.node) + " is being seeded";
    if (why.empty() && !IsPromotable(shard, copy)) why = health.NodeName(copy.node) + " is not confirmed yet";
    if (!why.empty()) reasons.push_back(std::move(why));
  }
  if (!reasons.empty()) return StrJoin(reasons, ", ");
  if (!health.WhyLost(id).empty()) return health.WhyLost(id);
  if (!shard.former.empty())
    return StrCat("waiting for ", health.NodeName(shard.node), " to serve epoch ", shard.epoch);
  uint32_t able = 0;
  for (const auto& [node, record] : health.state().data().nodes)
    able += record.role == NodeRole::kServer && !MayBeNeeded(shard, node) && !health.Dead(node);
  return able == 0 ? "no other server is there to take one" : "waiting for a server to take one";
}

}  // namespace penstock
