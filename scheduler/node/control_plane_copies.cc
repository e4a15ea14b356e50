// ControlPlane: the copies of shards, and what an operator decides of shards.
#include <glog/logging.h>

#include <algorithm>

#include "common/base/strings.h"
#include "scheduler/node/control_plane.h"

namespace penstock {

// --- what nodes are told ---

std::vector<GrantedBackup> ControlPlane::BackupsOf(ShardId id) const {
  std::vector<GrantedBackup> backups;
  for (const CopyRecord& copy : state_.data().shards[id].backups) {
    const NodeRecord* node = state_->FindNode(copy.node);
    const ShardLine* line = nodes_.Line(copy.node, id);
    const bool known =
        line != nullptr && line->incarnation == copy.incarnation && line->core < node->endpoints.size();
    backups.push_back({.node = copy.node,
                       .name = node->name,
                       .incarnation = copy.incarnation,
                       .endpoint = known ? node->endpoints[line->core] : "",
                       .in_sync = copy.in_sync});
  }
  return backups;
}

std::vector<NodeGrant> ControlPlane::GrantsOf(NodeId node, uint64_t session) const {
  std::vector<NodeGrant> grants;
  const auto& shards = state_.data().shards;
  for (ShardId id = 0; id < shards.size(); ++id) {
    const ShardRecord& shard = shards[id];
    if (shard.node != node || shard.granted_session != session) continue;
    grants.push_back({.grant = {.shard = id, .epoch = shard.epoch, .min_lsn = shard.min_lsn},
                      .incarnation = shard.incarnation,
                      .backups = BackupsOf(id),
                      .min_copies = state_.data().min_copies,
                      .rewind = state_.data().rewind,
                      .fence = shard.move.fence});
  }
  return grants;
}

std::vector<NodeFollow> ControlPlane::FollowsOf(NodeId node, uint64_t session) const {
  std::vector<NodeFollow> follows;
  const auto& shards = state_.data().shards;
  for (ShardId id = 0; id < shards.size(); ++id) {
    for (const CopyRecord& copy : shards[id].backups) {
      if (copy.node == node && copy.session == session)
        follows.push_back({.shard = id, .incarnation = copy.incarnation, .epoch = shards[id].epoch});
    }
  }
  return follows;
}

// By its own word of what it has; what is a member of the shard now, or may have to lead it, stays.
std::vector<NodeFollow> ControlPlane::DiscardsOf(NodeId node) const {
  std::vector<NodeFollow> discards;
  const auto& shards = state_.data().shards;
  for (const auto& [id, line] : nodes_.Lines(node)) {
    if (id >= shards.size() || shards[id].node == 0 || MayBeNeeded(shards[id], node)) continue;
    discards.push_back({.shard = id, .incarnation = line.incarnation});
  }
  return discards;
}

// --- what copies become ---

Status ControlPlane::CommitChanges(ChangeCopies command, Now now) {
  if (command.changes.empty()) return Status::Ok();
  std::vector<std::string> lines;
  uint32_t promotions = 0;
  for (const auto& change : command.changes) {
    const ShardRecord& shard = state_.data().shards[change.shard];
    const bool handed_over =
        shard.move.fence != 0 && change.node == shard.move.to && Health(now).WhyLost(change.shard).empty();
    const bool promoted = change.node != shard.node && !handed_over;
    std::vector<std::string> in_sync;
    for (const CopyRecord& copy : change.backups) {
      if (copy.in_sync) in_sync.push_back(state_->FindNode(copy.node)->name);
    }
    promotions += promoted;
    lines.push_back(StrCat(
        "shard ", change.shard, ", epoch ", change.epoch, ": ", state_->FindNode(change.node)->name,
        handed_over ? StrCat(" takes over from ", state_->FindNode(shard.node)->name)
        : promoted  ? " is promoted"
                    : " stays primary",
        in_sync.empty() ? ", no copies are in sync" : StrCat(", in sync with ", StrJoin(in_sync, ", "))));
  }
  PENSTOCK_RETURN_IF_ERROR(state_.Commit(command));
  for (const auto& line : lines) LOG(INFO) << line;
  LOG_IF(WARNING, promotions > 0) << promotions << " shards have lost their primary and go on with a backup";
  promotions_ += promotions;
  epoch_changes_ += command.changes.size();
  map_stale_ = true;
  return Status::Ok();
}

Status ControlPlane::CommitCopies(Now now) {
  const Status status = TryCommitCopies(now);
  // The journal's failures it says itself; others are decisions that break a rule, and would be made again.
  LOG_IF(ERROR, status.code() == Code::kInternal) << "copies: " << status.ToString();
  return status;
}

Status ControlPlane::TryCommitCopies(Now now) {
  const auto decide = [&] { return DecideCopies(*state_, nodes_, now.ms, now.wall_ms, options_.copying); };
  CopyDecision decision = decide();
  if (!decision.change.changes.empty()) {
    // What was reported before a change is owed by those that come after it.
    PENSTOCK_RETURN_IF_ERROR(CommitLsns());
    decision = decide();
  }
  signs_wanted_ = decision.signs_wanted;
  if (!decision.confirm.confirmations.empty()) PENSTOCK_RETURN_IF_ERROR(state_.Commit(decision.confirm));
  PENSTOCK_RETURN_IF_ERROR(CommitChanges(std::move(decision.change), now));
  for (const auto& move : decision.given_up)
    LOG(WARNING) << "shard " << move.shard << " is not handed over for now: " << move.why;
  if (!decision.drop.copies.empty()) PENSTOCK_RETURN_IF_ERROR(state_.Commit(decision.drop));
  if (!decision.add.copies.empty()) PENSTOCK_RETURN_IF_ERROR(state_.Commit(decision.add));
  PENSTOCK_RETURN_IF_ERROR(CommitMoves(decision));
  return CommitQuarantines(std::move(decision.quarantine));
}

Status ControlPlane::CommitMoves(const CopyDecision& decision) {
  if (!decision.fence.fences.empty()) PENSTOCK_RETURN_IF_ERROR(state_.Commit(decision.fence));
  if (decision.end.moves.empty()) return Status::Ok();
  PENSTOCK_RETURN_IF_ERROR(state_.Commit(decision.end));
  for (const auto& move : decision.end.moves)
    LOG(WARNING) << "shard " << move.shard << " does not move: " << move.why;
  return Status::Ok();
}

Status ControlPlane::CommitStarts(const StartMoves& start) {
  if (start.moves.empty()) return Status::Ok();
  PENSTOCK_RETURN_IF_ERROR(state_.Commit(start));
  for (const auto& move : start.moves) {
    LOG(INFO) << "shard " << move.shard << " moves from " << state_->FindNode(move.from)->name << " to "
              << state_->FindNode(move.to)->name << ": " << move.reason;
  }
  return Status::Ok();
}

bool ControlPlane::HandsOver(NodeId node) const {
  return std::ranges::any_of(state_.data().shards, [node](const ShardRecord& shard) {
    return shard.move.fence != 0 && (shard.move.from == node || shard.move.to == node);
  });
}

// --- the operator's word ---

Status ControlPlane::SetCopies(uint32_t copies, uint32_t min_copies, Now now) {
  PENSTOCK_RETURN_IF_ERROR(CheckLeads());
  const penstock::SetCopies command{.copies = copies, .min_copies = min_copies};
  const StateData& data = state_.data();
  if (data.copies == copies && data.min_copies == min_copies) return Status::Ok();
  PENSTOCK_RETURN_IF_ERROR(state_->Check(command));
  PENSTOCK_RETURN_IF_ERROR(state_.Commit(command));
  LOG(INFO) << copies << " copies of each shard are wanted, " << min_copies << " must be in sync";
  (void)CommitCopies(now);  // a failure of the journal: the next tick tries again
  return Status::Ok();
}

Status ControlPlane::MakeRoomForWorker(const RegisterRequest& request, Now now) {
  const bool named = !request.name.empty() && state_->FindNode(NodeRole::kWorker, request.name) != nullptr;
  if (named || state_->FindNode(request.node) != nullptr) return Status::Ok();
  size_t workers = 0;
  NodeId longest = 0;
  for (const auto& [id, node] : state_.data().nodes) {
    if (node.role != NodeRole::kWorker) continue;
    ++workers;
    const bool dead = nodes_.StateOf(id, now.ms) == Liveness::kDead;
    if (dead && (longest == 0 || nodes_.SilentMs(id, now.ms) > nodes_.SilentMs(longest, now.ms)))
      longest = id;
  }
  if (workers < options_.most_workers) return Status::Ok();
  if (longest != 0) return RemoveNode(longest, now);
  return Overloaded(StrCat("register: there are ", workers, " workers, and no more may be"), 1000);
}

Status ControlPlane::RemoveNode(NodeId id, Now now) {
  PENSTOCK_RETURN_IF_ERROR(CheckLeads());
  PENSTOCK_RETURN_IF_ERROR(leases_.Flush());
  const penstock::RemoveNode command{id};
  PENSTOCK_RETURN_IF_ERROR(state_->Check(command));
  const std::string name = state_->FindNode(id)->name;
  if (const Liveness liveness = nodes_.StateOf(id, now.ms); liveness != Liveness::kDead)
    return FailedPrecondition(
        StrCat(name, " is ", ToString(liveness), ": only a dead node can be removed, so end it first"));
  const auto& shards = state_.data().shards;
  const auto needed = std::ranges::find_if(
      shards, [id](const ShardRecord& shard) { return FindCopy(shard.former, id) != nullptr; });
  if (needed != shards.end()) {
    return FailedPrecondition(StrCat(name, " may be needed for shard ", needed - shards.begin(), " until ",
                                     state_->FindNode(needed->node)->name, " serves epoch ", needed->epoch));
  }
  PENSTOCK_RETURN_IF_ERROR(state_.Commit(command));
  LOG(INFO) << name << " (node " << id << ") is removed";
  nodes_.Remove(id, name);
  liveness_.erase(id);
  leases_.Forget();
  sync_.Forget();
  map_stale_ = true;
  return Status::Ok();
}

Status ControlPlane::Drain(NodeId id, bool drained, Now now) {
  PENSTOCK_RETURN_IF_ERROR(CheckLeads());
  const NodeRecord* node = state_->FindNode(id);
  if (node == nullptr || node->role != NodeRole::kServer)
    return FailedPrecondition(StrCat("node ", id, " is no server (see `penstock node ls`)"));
  if (node->drained == drained) return Status::Ok();
  PENSTOCK_RETURN_IF_ERROR(state_.Commit(DrainNode{.node = id, .drained = drained}));
  LOG(INFO) << node->name << (drained ? " is drained" : " may hold shards again");
  (void)CommitCopies(now);  // a failure of the journal: the next tick tries again
  return Status::Ok();
}

Status ControlPlane::SetBalance(bool on) {
  PENSTOCK_RETURN_IF_ERROR(CheckLeads());
  if (!on) balancer_.Rest();
  if (state_.data().balance == on) return Status::Ok();
  PENSTOCK_RETURN_IF_ERROR(state_.Commit(penstock::SetBalance{on}));
  LOG(INFO) << "shards move by themselves " << (on ? "to even out bytes and load" : "for drains alone");
  return Status::Ok();
}

Status ControlPlane::Rebalance(Now now) {
  PENSTOCK_RETURN_IF_ERROR(CheckLeads());
  if (Settling(now))
    return Unavailable("the scheduler has just started and waits for the servers' reports", 100);
  balancer_.Hurry(now.wall_ms);
  return Balance(now);
}

Status ControlPlane::Balance(Now now) {
  if (Settling(now)) return Status::Ok();
  const Status status = CommitStarts(balancer_.Next(Health(now), now.wall_ms));
  // The journal's failures it says itself.
  LOG_IF(ERROR, status.code() == Code::kInternal) << "moves: " << status.ToString();
  return status;
}

Status ControlPlane::CancelMove(ShardId id, Now now) {
  const MoveRecord& move = state_.data().shards[id].move;
  if (move.from == 0) return FailedPrecondition(StrCat("shard ", id, " does not move"));
  if (move.fence != 0) return Unavailable(StrCat("shard ", id, " is just being handed over"), 500);
  if (move.drains) {
    const std::string name = state_->FindNode(move.from)->name;
    return FailedPrecondition(StrCat("shard ", id, " moves as ", name, " is drained: `penstock node undrain ",
                                     name, "` ends that"));
  }
  LOG(INFO) << "shard " << id << " does not move: an operator's word";
  return state_.Commit(EndMoves{{{.shard = id, .why = "an operator's word", .at_ms = now.wall_ms}}});
}

Status ControlPlane::MoveShard(ShardId id, NodeId from, NodeId to, Now now) {
  PENSTOCK_RETURN_IF_ERROR(CheckLeads());
  if (id >= state_.data().shards.size()) return NoSuchShard(id);
  const ShardRecord& shard = state_.data().shards[id];
  if (to == 0) return CancelMove(id, now);
  if (from == 0) from = shard.node;
  const CopyHealth health = Health(now);
  const NodeRecord* target = state_->FindNode(to);
  const std::string what = StrCat("shard ", id);
  if (target == nullptr || target->role != NodeRole::kServer)
    return FailedPrecondition(StrCat(what, ": node ", to, " is no server (see `penstock node ls`)"));
  if (health.Dead(to)) return FailedPrecondition(StrCat(what, ": ", health.NodeName(to), " does not answer"));
  if (health.Drained(to)) return FailedPrecondition(StrCat(what, ": ", health.NodeName(to), " is drained"));
  if (shard.move.from != 0) {
    return FailedPrecondition(StrCat(what, " moves already, from ", health.NodeName(shard.move.from), " to ",
                                     health.NodeName(shard.move.to)));
  }
  if (!shard.quarantine.empty() || shard.held || !health.WhyLost(id).empty())
    return FailedPrecondition(StrCat(what, " is not served, so it cannot move: ", health.WhyLost(id)));
  if (!IsMember(shard, from))
    return FailedPrecondition(StrCat(what, " has no copy on ", health.NodeName(from)));
  if (to == shard.node || (IsMember(shard, to) && from != shard.node))
    return FailedPrecondition(StrCat(what, " has a copy on ", health.NodeName(to), " already"));
  PENSTOCK_RETURN_IF_ERROR(CommitStarts(
      {{{.shard = id, .from = from, .to = to, .at_ms = now.wall_ms, .reason = "an operator's word"}}}));
  (void)CommitCopies(now);  // a failure of the journal: the next tick tries again
  return Status::Ok();
}

Status ControlPlane::Force(ShardId id, NodeId node, Now now) {
  PENSTOCK_RETURN_IF_ERROR(CheckLeads());
  if (id >= state_.data().shards.size()) return NoSuchShard(id);
  PENSTOCK_RETURN_IF_ERROR(CommitLsns());
  PENSTOCK_ASSIGN_OR_RETURN(Election election, ForceLeader(Health(now), id, node));
  if (election.change) {
    LOG(WARNING) << "shard " << id << " is forced to go on with node " << node;
    return CommitChanges({.changes = {std::move(*election.change)}}, now);
  }
  if (election.quarantine)
    PENSTOCK_RETURN_IF_ERROR(CommitQuarantines({.quarantines = {std::move(*election.quarantine)}}));
  return FailedPrecondition(StrCat("shard ", id, " is quarantined: ", state_.data().shards[id].quarantine));
}

Status ControlPlane::NoSuchShard(ShardId id) const {
  return NotFound(StrCat("there is no shard ", id, ", shards are 0 to ", state_.data().shards.size() - 1));
}

Status ControlPlane::Accept(ShardId id, Now now) {
  PENSTOCK_RETURN_IF_ERROR(CheckLeads());
  const StateData& data = state_.data();
  if (id >= data.shards.size()) return NoSuchShard(id);
  const ShardRecord& shard = data.shards[id];
  if (shard.quarantine.empty())
    return FailedPrecondition(StrCat("shard ", id, " is not quarantined: there is no loss to accept"));
  if (HasOthers(shard)) {
    PENSTOCK_ASSIGN_OR_RETURN(const Candidate best, BestCandidate(Health(now), id));
    return CommitAccept(id, best.held, best.name, now);
  }
  const NodeRecord* owner = state_->FindNode(shard.node);
  if (!nodes_.Heard(owner->id) || nodes_.StateOf(owner->id, now.ms) == Liveness::kDead) {
    return FailedPrecondition(
        StrCat("shard ", id, ": its owner ", owner->name, " does not answer: start it first"));
  }
  const ShardLine* line = nodes_.Line(owner->id, id);
  const bool present = line != nullptr && line->incarnation == shard.incarnation;
  return CommitAccept(id, present ? HeldLsn(*line) : 0, owner->name, now);
}

Status ControlPlane::CommitAccept(ShardId id, Lsn remaining, const std::string& node, Now now) {
  PENSTOCK_RETURN_IF_ERROR(state_.Commit(AcceptLoss{.shard = id, .remaining = remaining}));
  LOG(WARNING) << "shard " << id << ": loss accepted, it goes on with lsn " << remaining << " of " << node
               << "; jobs that train are rewound to the start of their pass";
  leases_.Forget();
  sync_.Rewind();
  map_stale_ = true;
  PENSTOCK_RETURN_IF_ERROR(GrantHeld(now));
  return CommitCopies(now);
}

// --- questions ---

uint32_t ControlPlane::CountShortOfCopies() const {
  const StateData& data = state_.data();
  return static_cast<uint32_t>(std::count_if(
      data.shards.begin(), data.shards.end(),
      [&](const ShardRecord& shard) { return shard.node != 0 && CountPromotable(shard) < data.copies; }));
}

std::string ControlPlane::CopiesProblem(Now now) const {
  const StateData& data = state_.data();
  const uint32_t count = CountShortOfCopies();
  if (count == 0) return "";
  const auto first = std::find_if(data.shards.begin(), data.shards.end(), [&](const ShardRecord& shard) {
    return shard.node != 0 && CountPromotable(shard) < data.copies;
  });
  const auto id = static_cast<ShardId>(first - data.shards.begin());
  return StrCat(count, " of ", data.shards.size(), " shards have fewer in-sync copies than ", data.copies,
                ", the first is ", id, " with ", CountInSync(*first), ": ", WhyFewCopies(Health(now), id));
}

}  // namespace penstock
