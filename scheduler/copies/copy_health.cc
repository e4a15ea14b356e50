#include "scheduler/copies/copy_health.h"

#include <algorithm>

#include "common/base/strings.h"

namespace penstock {

std::string CopyHealth::NodeName(NodeId id) const {
  const NodeRecord* node = state_.FindNode(id);
  return StrCat(node == nullptr ? "?" : node->name, " (node ", id, ")");
}

std::string CopyHealth::WhyLost(ShardId id) const {
  const ShardRecord& shard = Shard(id);
  const NodeRecord* node = state_.FindNode(shard.node);
  if (node == nullptr) return "it is not placed";
  if (Dead(shard.node)) return NodeName(shard.node) + " does not answer";
  if (shard.granted_session != node->session) return NodeName(shard.node) + " has restarted";
  // Of the granted epoch alone: a report from before an accepted loss says nothing new.
  const ShardLine* line = Served(id);
  return line == nullptr || line->damage.empty() ? "" : StrCat(NodeName(shard.node), ": ", line->damage);
}

const ShardLine* CopyHealth::Served(ShardId id) const {
  const ShardRecord& shard = Shard(id);
  const NodeRecord* node = state_.FindNode(shard.node);
  const ShardLine* line = nodes_.Line(shard.node, id);
  const bool granted = node != nullptr && shard.granted_session == node->session;
  if (!granted || !nodes_.Beating(shard.node) || line == nullptr) return nullptr;
  return line->incarnation == shard.incarnation && line->epoch == shard.epoch ? line : nullptr;
}

std::string CopyHealth::WhyBroken(ShardId id, const CopyRecord& copy) const {
  const NodeRecord* node = state_.FindNode(copy.node);
  if (Dead(copy.node)) return NodeName(copy.node) + " does not answer";
  if (node == nullptr || node->session != copy.session) return NodeName(copy.node) + " has restarted";
  const ShardLine* line = nodes_.Line(copy.node, id);
  if (line == nullptr || line->incarnation != copy.incarnation || line->damage.empty()) return "";
  return StrCat(NodeName(copy.node), ": ", line->damage);
}

bool CopyHealth::AliveAndUnbroken(ShardId id, const CopyRecord& copy) const {
  const ShardLine* line = nodes_.Line(copy.node, id);
  return nodes_.Beating(copy.node) && line != nullptr && line->incarnation == copy.incarnation &&
         WhyBroken(id, copy).empty();
}

bool CopyHealth::HasLeft(ShardId id, const CopyRecord& copy) const {
  const ShardLine* line = nodes_.Line(copy.node, id);
  return line == nullptr || line->epoch == 0;
}

bool CopyHealth::AliveSinceDeath(NodeId node, NodeId dead) const {
  return nodes_.StateOf(node, now_ms_) == Liveness::kAlive && nodes_.HeardSinceDeath(node, dead);
}

bool CopyHealth::CouldGoOn(ShardId id, const CopyRecord& copy) const {
  const ShardRecord& shard = Shard(id);
  if (!IsPromotable(shard, copy) || !AliveAndUnbroken(id, copy) || !HasLeft(id, copy)) return false;
  if (Dead(shard.node)) return AliveSinceDeath(copy.node, shard.node);
  return nodes_.HeardSinceRegister(copy.node, shard.node);
}

bool CopyHealth::PrimaryOutlived(ShardId id, const CopyRecord& copy) const {
  const NodeId primary = Shard(id).node;
  if (!nodes_.Beating(primary)) return false;
  if (Dead(copy.node)) return AliveSinceDeath(primary, copy.node);
  return nodes_.HeardSinceRegister(primary, copy.node);
}

const BackupLine* CopyHealth::Judgement(ShardId id, const CopyRecord& copy) const {
  const ShardRecord& shard = Shard(id);
  const NodeRecord* node = state_.FindNode(shard.node);
  const ShardLine* line = nodes_.Line(shard.node, id);
  const bool granted = node != nullptr && shard.granted_session == node->session;
  if (!granted || !nodes_.Beating(shard.node) || line == nullptr || line->incarnation != shard.incarnation)
    return nullptr;
  // It has taken the present epoch, but may not report it as served: a copy that fails may hold up just that.
  if (line->epoch != shard.epoch && line->seen != shard.epoch) return nullptr;
  auto it = std::find_if(line->backups.begin(), line->backups.end(), [&](const BackupLine& said) {
    return said.node == copy.node && said.incarnation == copy.incarnation;
  });
  return it == line->backups.end() ? nullptr : &*it;
}

bool CopyHealth::CaughtUp(ShardId id, const CopyRecord& copy) const {
  const BackupLine* said = Judgement(id, copy);
  return said != nullptr && said->caught_up && AliveAndUnbroken(id, copy);
}

bool CopyHealth::Contested(ShardId id) const {
  const ShardRecord& shard = Shard(id);
  if (shard.node == 0 || !HasOthers(shard) || WhyLost(id).empty()) return false;
  return std::none_of(shard.backups.begin(), shard.backups.end(),
                      [&](const CopyRecord& copy) { return CouldGoOn(id, copy); });
}

Candidate CopyHealth::MakeCandidate(ShardId id, const CopyRecord& copy) const {
  Candidate candidate{.node = copy.node, .incarnation = copy.incarnation, .name = NodeName(copy.node)};
  candidate.heard = nodes_.Heard(copy.node) && !Dead(copy.node);
  const ShardLine* line = nodes_.Line(copy.node, id);
  if (line == nullptr || line->incarnation != copy.incarnation) return candidate;
  candidate.seen = std::max(line->epoch, line->seen);
  candidate.held = HeldLsn(*line);
  candidate.sound = line->damage.empty() && line->complete;
  return candidate;
}

std::vector<Candidate> CopyHealth::Candidates(ShardId id) const {
  const ShardRecord& shard = Shard(id);
  std::vector<Candidate> candidates{MakeCandidate(id, PrimaryOf(shard))};
  for (const CopyRecord& copy : shard.backups) {
    if (!IsPromotable(shard, copy)) continue;
    candidates.push_back(MakeCandidate(id, copy));
    candidates.back().heard &= HasLeft(id, copy);
  }
  for (const CopyRecord& copy : shard.former) {
    Candidate candidate = MakeCandidate(id, copy);
    candidate.former = true;
    candidate.heard &= HasLeft(id, copy);
    candidates.push_back(std::move(candidate));
  }
  // A server that only registers again goes on with what it did, and has more than it had said then, until
  // one of the others has really restarted and confirms nothing any more.
  for (Candidate& candidate : candidates) {
    candidate.heard &= std::ranges::all_of(candidates, [&](const Candidate& other) {
      return other.node == candidate.node || nodes_.KnownSinceRegister(candidate.node, other.node);
    });
  }
  for (const CopyRecord& copy : shard.former) {
    const bool outranked = std::ranges::any_of(
        candidates, [&](const Candidate& c) { return c.heard && c.sound && Outranks(c.seen, copy); });
    if (outranked) std::erase_if(candidates, [&](const Candidate& c) { return c.node == copy.node; });
  }
  return candidates;
}

Epoch CopyHealth::NextEpoch(ShardId id) const {
  Epoch highest = HighestEpoch(Shard(id));
  for (const auto& [node, record] : state_.data().nodes) {
    if (const ShardLine* line = nodes_.Line(node, id)) highest = std::max({highest, line->epoch, line->seen});
  }
  return highest + 1;
}

Lsn CopyHealth::NextLsn(ShardId id) const {
  Lsn next = LeastLsn(Shard(id));
  for (const auto& [node, record] : state_.data().nodes) {
    if (const ShardLine* line = nodes_.Line(node, id)) next = std::max(next, HeldLsn(*line) + 1);
  }
  return next;
}

}  // namespace penstock
