#include "scheduler/copies/copy_decision.h"

#include <algorithm>
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
  Decider(const CopyHealth& health, const CopyOptions& options)
      : health_(health),
        data_(health.state().data()),
        options_(options),
        incarnation_(data_.last_incarnation) {
    for (const ShardRecord& shard : data_.shards) {
      if (shard.node != 0) ++primaries_[shard.node], ++members_[shard.node];
      for (const CopyRecord& copy : shard.backups) {
        ++members_[copy.node];
        if (!copy.in_sync) ++seeding_[copy.node];
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
    if (shard.node == 0 || (shard.backups.empty() && shard.former.empty() && data_.copies == 1)) return;
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
    if (ChangeInSync(id, served != nullptr && shard.confirmed == shard.epoch)) return;
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
    auto count = static_cast<uint32_t>(1 + std::count_if(next.begin(), next.end(), in_sync));
    bool changed = count < CountInSync(shard);
    while (settled && count > data_.copies) {
      next.erase(std::find_if(next.rbegin(), next.rend(), in_sync).base() - 1);
      --count;
      changed = true;
    }
    for (CopyRecord& copy : next) {
      if (!settled || count >= data_.copies || copy.in_sync || !CaughtUp(id, copy)) continue;
      copy.in_sync = true;
      copy.since = health_.NextEpoch(id);
      ++count;
      changed = true;
    }
    if (!changed) return false;
    out_.change.changes.push_back({.shard = id,
                                   .epoch = health_.NextEpoch(id),
                                   .min_lsn = health_.NextLsn(id),
                                   .node = shard.node,
                                   .incarnation = shard.incarnation,
                                   .backups = std::move(next)});
    return true;
  }

  bool CaughtUp(ShardId id, const CopyRecord& copy) const {
    const BackupLine* said = health_.Judgement(id, copy);
    return said != nullptr && said->caught_up && health_.AliveAndUnbroken(id, copy);
  }

  // Those that are broken, and those that are too many.
  void DropSeeding(ShardId id) {
    const ShardRecord& shard = data_.shards[id];
    uint32_t members = CountInSync(shard);
    for (const CopyRecord& copy : shard.backups) {
      if (copy.in_sync) continue;
      if (members < data_.copies && WhyNotStay(health_, id, copy).empty()) {
        ++members;
      } else {
        out_.drop.copies.push_back({.shard = id, .node = copy.node});
      }
    }
  }

  void Add(ShardId id) {
    const ShardRecord& shard = data_.shards[id];
    std::vector<NodeId> chosen;
    while (1 + shard.backups.size() + chosen.size() < data_.copies) {
      const NodeId node = ChooseServer(shard, chosen);
      if (node == 0) return;
      chosen.push_back(node);
      ++members_[node];
      ++seeding_[node];
      out_.add.copies.push_back({.shard = id, .node = node, .incarnation = ++incarnation_});
    }
  }

  // The one with the fewest copies; 0: there is none.
  NodeId ChooseServer(const ShardRecord& shard, const std::vector<NodeId>& chosen) {
    NodeId best = 0;
    for (const auto& [id, node] : data_.nodes) {
      const bool able = node.role == NodeRole::kServer && health_.nodes().Beating(id) &&
                        health_.nodes().StateOf(id, health_.now_ms()) == Liveness::kAlive;
      if (!able || MayBeNeeded(shard, id) || std::count(chosen.begin(), chosen.end(), id) > 0) continue;
      if (seeding_[id] >= options_.max_seeding) continue;
      if (best == 0 || members_[id] < members_[best]) best = id;
    }
    return best;
  }

  const CopyHealth& health_;
  const StateData& data_;
  const CopyOptions& options_;
  std::map<NodeId, uint32_t> primaries_, members_, seeding_;
  Incarnation incarnation_;
  CopyDecision out_;
};

}  // namespace

CopyDecision DecideCopies(const ClusterState& state, const NodeTable& nodes, int64_t now_ms,
                          const CopyOptions& options) {
  const CopyHealth health(state, nodes, now_ms);
  return Decider(health, options).Run();
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
