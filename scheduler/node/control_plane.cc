#include "scheduler/node/control_plane.h"

#include <glog/logging.h>

#include <algorithm>

#include "common/base/strings.h"
#include "common/cluster/table_difference.h"
#include "common/net/identity.h"
#include "scheduler/copies/placement.h"
#include "scheduler/copies/shard_map_builder.h"

namespace penstock {
namespace {

constexpr uint32_t kMaxProducers = 1000000;
constexpr uint64_t kCompleteBatch = 64;
constexpr int64_t kStandstillMs = 1000;  // between two ticks: the process was stopped or starved

// Copies that are no primaries may have said more than the journal knows.
void RaiseGrant(const CopyHealth& health, ShardGrantRecord* grant) {
  grant->epoch = std::max(grant->epoch, health.NextEpoch(grant->shard));
  grant->min_lsn = std::max(grant->min_lsn, health.NextLsn(grant->shard));
}

}  // namespace

Result<std::unique_ptr<ControlPlane>> ControlPlane::Start(ClusterState state, CommandLog& log,
                                                          const ControlPlaneOptions& options,
                                                          uint64_t cluster, Now now) {
  const StateData& data = state.data();
  BeginTerm begin{.term = data.term + 1,
                  .cluster = cluster,
                  .shards = options.shards,
                  .copies = options.copies,
                  .min_copies = options.min_copies};
  if (data.cluster != 0) {
    begin.cluster = data.cluster;
    begin.copies = data.copies;
    begin.min_copies = data.min_copies;
    if (data.copies != options.copies || data.min_copies != options.min_copies) {
      LOG(WARNING) << "scheduler.copies is " << options.copies << " and scheduler.min_copies "
                   << options.min_copies << ", but this cluster keeps " << data.copies << " and "
                   << data.min_copies << ", which `penstock cluster copies` changes";
    }
    begin.shards = static_cast<uint32_t>(data.shards.size());
    if (begin.shards != options.shards) {
      LOG(WARNING) << "scheduler.shards is " << options.shards << ", but this cluster was created with "
                   << begin.shards << " shards, which does not change";
    }
  }
  std::unique_ptr<ControlPlane> plane(new ControlPlane(std::move(state), log, options, now));
  PENSTOCK_RETURN_IF_ERROR(plane->state_.Commit(begin).Prepend("begin a term"));
  plane->RefreshMap(now);
  return plane;
}

ControlPlane::ControlPlane(ClusterState state, CommandLog& log, const ControlPlaneOptions& options, Now now)
    : options_(options),
      state_(std::move(state), log, options.wall_ms),
      nodes_(options.nodes, now.ms),
      balancer_(options.balance),
      leases_(state_, options.leases, now),
      sync_(state_, options.leases.lease_ms),
      started_ms_(now.ms),
      ticked_ms_(now.ms),
      lsns_ms_(now.ms) {}

Status ControlPlane::CheckLeads() const {
  return superseded_.empty() ? Status::Ok() : FailedPrecondition(superseded_);
}

Status ControlPlane::CheckSession(NodeId id, uint64_t session) const {
  PENSTOCK_RETURN_IF_ERROR(CheckLeads());
  const NodeRecord* node = state_->FindNode(id);
  if (node == nullptr) return FailedPrecondition(StrCat("node ", id, " is not known: register"));
  if (node->session == session) return Status::Ok();
  return FailedPrecondition(StrCat("session ", session, " of ", node->name, " has ended, its present one is ",
                                   node->session, ": register again"));
}

// --- nodes ---

Status ControlPlane::CheckRegister(const RegisterRequest& request) const {
  if (!request.name.empty()) PENSTOCK_RETURN_IF_ERROR(CheckPeerName(request.name).Prepend("register"));
  if (request.role == NodeRole::kServer && request.endpoints.empty())
    return InvalidArgument("register: a server without endpoints");
  if (request.node == 0) return Status::Ok();
  const NodeRecord* known = state_->FindNode(request.node);
  if (known == nullptr && request.node <= state_.data().last_node) return Status::Ok();  // it was removed
  if (known == nullptr) {
    return FailedPrecondition(
        StrCat("node ", request.node, " ('", request.name,
               "') is not in this scheduler's journal: the node's directory belongs to another cluster, or "
               "the journal was replaced by an older one"));
  }
  if (known->role != request.role)
    return FailedPrecondition(StrCat("node ", request.node, " registered in another role before"));
  return Status::Ok();
}

// A node that comes without an id is new, unless a node of its name and role is known: that one lost its
// directory, or the answer to its first register.
Result<NodeId> ControlPlane::ChooseNode(const RegisterRequest& request, Now now) const {
  // A server that was removed is told by its directory; the id of one is no worker's.
  const bool removed = state_->FindNode(request.node) == nullptr;
  if (request.node != 0 && (!removed || request.role == NodeRole::kServer)) return request.node;
  const NodeRecord* known = request.name.empty() ? nullptr : state_->FindNode(request.role, request.name);
  if (known == nullptr) return state_.data().last_node + 1;
  const bool lives = nodes_.Beating(known->id) && nodes_.StateOf(known->id, now.ms) != Liveness::kDead;
  if (known->role == NodeRole::kServer && lives) {
    return AlreadyExists(StrCat("the name '", request.name, "' is in use by node ", known->id, " at ",
                                known->endpoints.empty() ? "" : known->endpoints.front(),
                                ": give this server another data directory name"));
  }
  return known->id;
}

// Rises with every command, and so over restarts; an older journal has less.
uint64_t ControlPlane::Version() const { return std::max(map_.version, state_.data().commands << 20); }

// Whoever has seen a later state shows that this journal is an older one: epochs, terms and versions are
// journaled before anybody hears of them (rule 21).
void ControlPlane::NoteSuperseded(const std::string& who, uint64_t term, uint64_t version,
                                  const std::vector<ShardLine>& lines) {
  if (!superseded_.empty()) return;
  const StateData& data = state_.data();
  std::string seen;
  if (term > data.term || version > Version()) {
    seen = StrCat("term ", term, " and map version ", version, ", this one has term ", data.term,
                  " and map version ", Version());
  }
  for (const ShardLine& line : lines) {
    if (!seen.empty() || line.shard >= data.shards.size()) continue;
    const Epoch epoch = std::max(line.epoch, line.seen), mine = data.shards[line.shard].epoch;
    if (epoch > mine) seen = StrCat("epoch ", epoch, " of shard ", line.shard, ", this one has ", mine);
  }
  if (seen.empty()) return;
  superseded_ = StrCat("this scheduler does not lead: '", who, "' has seen ", seen,
                       "; its journal is older than the cluster: put back a newer one");
  LOG(ERROR) << superseded_;
}

Result<RegisterAnswer> ControlPlane::Register(const RegisterRequest& request, Now now) {
  RefreshMap(now);
  const StateData& data = state_.data();
  NoteSuperseded(request.name, request.highest_term, request.highest_map_version, request.lines);
  PENSTOCK_RETURN_IF_ERROR(CheckLeads());
  PENSTOCK_RETURN_IF_ERROR(CheckRegister(request));
  // What the earlier session still said counts: what it must bring back, and what its leases have done.
  PENSTOCK_RETURN_IF_ERROR(CommitLsns());
  (void)CommitCopies(now);  // best effort: what the node brings is decided below
  PENSTOCK_RETURN_IF_ERROR(leases_.Flush());
  PENSTOCK_ASSIGN_OR_RETURN(const NodeId id, ChooseNode(request, now));
  const char* role = request.role == NodeRole::kServer ? "server" : "worker";
  const std::string name = request.name.empty() ? StrCat(role, "-", id) : request.name;
  GrantDecision decision;
  if (request.role == NodeRole::kServer) {
    decision = DecideGrants(*state_, id, name, request.lines);
    for (auto& grant : decision.grants) RaiseGrant(Health(now), &grant);
  }
  for (const auto& quarantine : decision.quarantines)
    LOG(ERROR) << "shard " << quarantine.shard << " is quarantined: " << quarantine.reason;
  const RegisterNode command{.node = {.id = id,
                                      .role = request.role,
                                      .name = name,
                                      .endpoints = request.endpoints,
                                      .http = request.http,
                                      .session = data.last_session + 1,
                                      .pid = request.process.pid,
                                      .log = request.process.log,
                                      .host = request.host,
                                      .zone = request.zone,
                                      .memory = request.memory},
                             .lsns = std::move(decision.lsns),
                             .grants = std::move(decision.grants),
                             .quarantines = std::move(decision.quarantines)};
  PENSTOCK_RETURN_IF_ERROR(state_.Commit(command));
  leases_.Forget();
  sync_.Forget();
  nodes_.OnRegister(id, request.lines, now.ms);
  nodes_.OnStarted(name);
  map_stale_ = true;
  epoch_changes_ += command.grants.size();
  LOG(INFO) << name << " registered as node " << id << ", session " << command.node.session << ", with "
            << command.grants.size() << " shards granted";
  if (Status placed = PlaceIfReady(now); !placed.ok())
    LOG(WARNING) << placed.ToString();  // tried again by Tick
  (void)CommitCopies(now);              // likewise
  if (signs_wanted_ > 0) ++sign_;
  return RegisterAnswer{.node = id, .session = command.node.session};
}

Status ControlPlane::QuarantineDamaged(NodeId node, uint64_t session) {
  QuarantineShards command;
  for (const auto& [id, line] : nodes_.Lines(node)) {
    if (id >= state_.data().shards.size() || line.damage.empty()) continue;
    const ShardRecord& shard = state_.data().shards[id];
    const bool its =
        shard.node == node && shard.incarnation == line.incarnation && shard.granted_session == session;
    // Of the granted epoch alone: a report from before an accepted loss says nothing new.
    if (!its || shard.epoch != line.epoch) continue;
    if (HasOthers(shard)) continue;  // one of those goes on, or CommitCopies says why none can
    command.quarantines.push_back({.shard = id, .reason = state_->FindNode(node)->name + ": " + line.damage});
  }
  return CommitQuarantines(std::move(command));
}

Status ControlPlane::CommitQuarantines(QuarantineShards command) {
  if (command.quarantines.empty()) return Status::Ok();
  PENSTOCK_RETURN_IF_ERROR(state_.Commit(command));
  for (const auto& quarantine : command.quarantines)
    LOG(ERROR) << "shard " << quarantine.shard << " is quarantined: " << quarantine.reason;
  map_stale_ = true;
  return Status::Ok();
}

Result<HeartbeatAnswer> ControlPlane::Heartbeat(HeartbeatRequest request, Now now) {
  // A later state than this one is believed of registered sessions alone; others must register, and say so
  // then.
  const NodeRecord* node = state_->FindNode(request.node);
  if (node != nullptr && node->session == request.session)
    NoteSuperseded(node->name, 0, request.map_version, request.lines);
  PENSTOCK_RETURN_IF_ERROR(CheckSession(request.node, request.session));
  const bool changed = nodes_.OnHeartbeat(request.node, request.busy, std::move(request.lines), now.ms);
  nodes_.SetWords(request.node, std::move(request.words));
  map_stale_ |= changed;
  lines_changed_ += changed;
  PENSTOCK_RETURN_IF_ERROR(QuarantineDamaged(request.node, request.session));
  // A failure is one of the journal: the node is answered what it shall hold by what is journaled.
  if (changed || signs_wanted_ > 0) (void)CommitCopies(now);
  hand_over_sign_ += HandsOver(request.node);
  return Wanted(request.node, request.session, now);
}

void ControlPlane::NoteEnded(NodeId node, Now now) {
  nodes_.OnEnded(node);
  RefreshMap(now);
  (void)CommitCopies(now);  // it decides nothing yet, but knows then whose signs it waits for
}

Status ControlPlane::CannotStart(const std::string& name, const std::string& reason) {
  PENSTOCK_RETURN_IF_ERROR(CheckPeerName(name).Prepend("cannotStart"));
  LOG(ERROR) << name << " cannot start: " << reason;
  nodes_.OnCannotStart(name, reason);
  return Status::Ok();
}

Result<HeartbeatAnswer> ControlPlane::Wanted(NodeId node, uint64_t session, Now now) {
  PENSTOCK_RETURN_IF_ERROR(CheckSession(node, session));
  RefreshMap(now);
  const StateData& data = state_.data();
  HeartbeatAnswer answer{.map_version = Version(), .wanted = {}};
  answer.wanted.table_version = data.table_version;
  answer.wanted.rewind = data.rewind;
  answer.wanted.sign = sign_ + (HandsOver(node) ? hand_over_sign_ : 0);
  if (state_->FindNode(node)->role != NodeRole::kServer) return answer;
  answer.wanted.grants = GrantsOf(node, session);
  answer.wanted.follows = FollowsOf(node, session);
  answer.wanted.discards = DiscardsOf(node);
  answer.wanted.may_leave = nodes_.Words(node).leaving && MayLeave(Health(now), node);
  answer.wanted.finished = data.finished;
  answer.wanted.complete_batches = CountProducers(state_->complete_producers()) / kCompleteBatch;
  return answer;
}

// --- shards ---

Status ControlPlane::CommitLsns() {
  RecordLsns command;
  const auto& shards = state_.data().shards;
  for (ShardId id = 0; id < shards.size(); ++id) {
    const ShardRecord& shard = shards[id];
    const ShardLine* line = nodes_.Line(shard.node, id);
    // Only what is served in the granted epoch: nothing else can have new deltas.
    if (line == nullptr || line->incarnation != shard.incarnation || line->epoch != shard.epoch ||
        shard.granted_session == 0)
      continue;
    if (line->applied <= shard.highest && line->logged <= shard.logged && line->synced <= shard.synced)
      continue;
    command.lsns.push_back(
        {.shard = id, .applied = line->applied, .logged = line->logged, .synced = line->synced});
  }
  return command.lsns.empty() ? Status::Ok() : state_.Commit(command);
}

Status ControlPlane::PlaceIfReady(Now now) {
  const StateData& data = state_.data();
  const auto unplaced = [](const ShardRecord& shard) { return shard.node == 0; };
  if (std::none_of(data.shards.begin(), data.shards.end(), unplaced)) return Status::Ok();
  const CopyHealth health = Health(now);
  std::vector<NodeId> servers;
  for (const auto& [id, node] : data.nodes) {
    if (node.role == NodeRole::kServer && !health.Drained(id) && nodes_.Heard(id) &&
        nodes_.StateOf(id, now.ms) == Liveness::kAlive)
      servers.push_back(id);
  }
  if (servers.size() < options_.servers) return Status::Ok();
  const auto owners = PlaceEvenly(static_cast<uint32_t>(data.shards.size()), servers);
  PlaceShards command;
  Incarnation incarnation = data.last_incarnation;
  for (ShardId id = 0; id < owners.size(); ++id) {
    if (unplaced(data.shards[id]))
      command.placements.push_back({.shard = id, .node = owners[id], .incarnation = ++incarnation});
  }
  PENSTOCK_RETURN_IF_ERROR(state_.Commit(command).Prepend("place shards"));
  map_stale_ = true;
  LOG(INFO) << command.placements.size() << " shards are placed on " << servers.size() << " servers";
  return Status::Ok();
}

// Workers of rewound leases may not have heard of it: the grant's rewind number has the shard refuse them.
Status ControlPlane::GrantHeld(Now now) {
  GrantShards command;
  const auto& shards = state_.data().shards;
  for (ShardId id = 0; id < shards.size(); ++id) {
    if (!shards[id].held || nodes_.StateOf(shards[id].node, now.ms) == Liveness::kDead) continue;
    if (HasOthers(shards[id])) continue;  // CommitCopies chooses among them
    ShardGrantRecord grant = NextGrant(id, shards[id]);
    RaiseGrant(Health(now), &grant);
    command.grants.push_back(grant);
  }
  if (command.grants.empty()) return Status::Ok();
  map_stale_ = true;
  epoch_changes_ += command.grants.size();
  return state_.Commit(command);
}

bool ControlPlane::Settling(Now now) const {
  const auto& shards = state_.data().shards;
  return std::any_of(shards.begin(), shards.end(), [&](const ShardRecord& shard) {
    return shard.node != 0 && shard.granted_session != 0 && !nodes_.Heard(shard.node) &&
           nodes_.StateOf(shard.node, now.ms) != Liveness::kDead;
  });
}

void ControlPlane::NoteLiveness(Now now) {
  for (const auto& [id, node] : state_.data().nodes) {
    const Liveness liveness = nodes_.StateOf(id, now.ms);
    auto [it, fresh] = liveness_.emplace(id, liveness);
    if (!fresh && it->second == liveness) continue;
    if (!fresh) LOG_IF(WARNING, liveness != Liveness::kAlive) << node.name << " is " << ToString(liveness);
    it->second = liveness;
    map_stale_ = true;
    // Whoever is to go on without it must be heard first.
    sign_ += liveness == Liveness::kDead;
  }
}

void ControlPlane::RefreshMap(Now now) {
  NoteLiveness(now);
  if (!map_stale_) return;
  map_stale_ = false;
  auto entries = BuildShardEntries(*state_, nodes_, now.ms);
  if (map_.version != 0 && entries == map_.shards) return;
  map_.shards = std::move(entries);
  map_.term = state_.data().term;
  map_.version = std::max(map_.version + 1, state_.data().commands << 20);
}

Result<const ShardMap*> ControlPlane::Map(Now now) {
  PENSTOCK_RETURN_IF_ERROR(CheckLeads());
  if (Settling(now))
    return Unavailable("the scheduler has just started and waits for the servers' reports", 100);
  RefreshMap(now);
  return static_cast<const ShardMap*>(&map_);
}

// --- tables, producers ---

Result<TableSpec> ControlPlane::Create(TableSpec spec, Now now) {
  PENSTOCK_RETURN_IF_ERROR(CheckLeads());
  if (const TableSpec* existing = state_->FindTable(spec.name)) {
    spec.id = existing->id;
    if (spec == *existing) return spec;
    return AlreadyExists(StrCat("table '", spec.name, "' exists with another specification: its ",
                                DescribeDifference(*existing, spec)));
  }
  PENSTOCK_RETURN_IF_ERROR(CheckRoomForTables());
  spec.id = state_.data().last_table + 1;
  PENSTOCK_RETURN_IF_ERROR(state_.Commit(CreateTable{spec}));
  LOG(INFO) << "table '" << spec.name << "' is created with id " << spec.id;
  return spec;
}

Result<TableSpec> ControlPlane::Open(const std::string& name) const {
  PENSTOCK_RETURN_IF_ERROR(CheckLeads());
  if (const TableSpec* spec = state_->FindTable(name)) return *spec;
  return NotFound("there is no table '" + name + "'");
}

Status ControlPlane::Drop(const std::string& name, Now now) {
  PENSTOCK_RETURN_IF_ERROR(CheckLeads());
  const TableSpec* spec = state_->FindTable(name);
  if (spec == nullptr) return NotFound("there is no table '" + name + "'");
  PENSTOCK_RETURN_IF_ERROR(state_.Commit(DropTable{spec->id}));
  LOG(INFO) << "table '" << name << "' is dropped";
  return Status::Ok();
}

Result<ProducerId> ControlPlane::NewProducers(uint32_t count) {
  PENSTOCK_RETURN_IF_ERROR(CheckLeads());
  if (count < 1 || count > kMaxProducers) {
    return InvalidArgument(StrCat("newProducers: count is ", count, ", allowed is 1 to ", kMaxProducers));
  }
  const ProducerId first = state_.data().next_producer;
  PENSTOCK_RETURN_IF_ERROR(state_.Commit(AllocateProducers{.first = first, .count = count}));
  return first;
}

// --- time, questions ---

void ControlPlane::Tick(Now now) {
  if (const int64_t gap = now.ms - ticked_ms_; gap > kStandstillMs) {
    LOG(WARNING) << "the scheduler stood still for " << gap << " ms";
    nodes_.Forgive(gap);
    leases_.Forgive(gap);
    sync_.Forgive(gap);
  }
  ticked_ms_ = now.ms;
  if (!superseded_.empty()) return;
  RefreshMap(now);
  // Each failure is one of the journal, which CommittedState logs; the next tick tries again.
  Status status = PlaceIfReady(now);
  if (status.ok()) status = GrantHeld(now);
  if (status.ok() && now.ms - lsns_ms_ >= options_.lsn_ms) {
    status = CommitLsns();
    lsns_ms_ = now.ms;
  }
  (void)CommitCopies(now);
  (void)Balance(now);
  if (status.ok()) status = leases_.Tick(now);
  if (status.ok()) status = ForgetOldJobs(now);
  sync_.Tick(now, [&](NodeId node) { return nodes_.StateOf(node, now.ms) == Liveness::kDead; });
  RefreshMap(now);
}

void ControlPlane::End() {
  if (!CheckLeads().ok()) return;
  // A failure is one of the journal, which CommittedState logs.
  (void)CommitLsns();
  (void)leases_.Flush();
}

}  // namespace penstock
