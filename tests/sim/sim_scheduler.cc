#include "tests/sim/sim_scheduler.h"

#include "tests/sim/sim_cluster.h"

namespace penstock::sim {

Status SimJournal::Append(const Command& command, int64_t at_ms) {
  if (full) return Overloaded("the journal is full");
  const ClusterState before = state_;
  if (const Status applied = state_.Apply(command, at_ms); !applied.ok()) {
    cluster_.world.Fail("commands_apply", applied.ToString());
    return applied;
  }
  cluster_.truth.OnCommand(command, before.data());
  return Status::Ok();
}

SimScheduler::SimScheduler(SimCluster& cluster, const ControlPlaneOptions& options)
    : cluster_(cluster),
      world_(cluster.world),
      self_(cluster.world.Add("scheduler")),
      options_(options),
      journal_(cluster) {}

// The process's clock goes on from one life to the next, as the machine's does.
Now SimScheduler::now() const {
  const auto ms = static_cast<int64_t>(world_.now_ms()) + 5000;
  return {.ms = ms, .wall_ms = 1'700'000'000'000 + ms};
}

bool SimScheduler::up() const { return world_.up(self_); }

void SimScheduler::Start() {
  world_.Start(self_);
  auto plane = ControlPlane::Start(journal_.state(), journal_, options_, kSimCluster, now());
  if (!plane.ok()) {  // the journal is full
    world_.After(self_, 300'000, Step::kNone, [this] { Start(); });
    return;
  }
  plane_ = std::move(*plane);
  world_.Note(self_, "begins term ", data().term);
  Tick();
}

void SimScheduler::End() {
  world_.Note(self_, "is killed");
  world_.End(self_, false);
  plane_.reset();
}

void SimScheduler::Tick() {
  plane_->Tick(now());
  world_.After(self_, 100'000, Step::kNone, [this] { Tick(); });
}

// --- Calls. The plane may be missing for a moment after a start.

RegisterReply SimScheduler::Register(const RegisterRequest& request) {
  if (plane_ == nullptr) return {.status = Unavailable("starting")};
  const auto answer = plane_->Register(request, now());
  if (!answer.ok()) return {.status = answer.status()};
  RegisterReply reply{.answer = *answer, .term = data().term};
  for (const auto& [id, spec] : data().tables) reply.tables.push_back(spec);
  return reply;
}

HeartbeatReply SimScheduler::Heartbeat(const HeartbeatRequest& request, uint64_t table_version) {
  if (plane_ == nullptr) return {.status = Unavailable("starting")};
  auto answer = plane_->Heartbeat(request, now());
  if (!answer.ok()) return {.status = answer.status()};
  HeartbeatReply reply{
      .answer = std::move(*answer), .term = data().term, .forget_floor = plane_->state().ForgetFloor()};
  if (table_version == data().table_version) return reply;
  for (const auto& [id, spec] : data().tables) reply.tables.push_back(spec);
  return reply;
}

MapReply SimScheduler::Map() {
  if (plane_ == nullptr) return {.status = Unavailable("starting")};
  const auto map = plane_->Map(now());
  if (!map.ok()) return {.status = map.status()};
  return {.map = **map};
}

Result<ProducerId> SimScheduler::NewProducer() {
  if (plane_ == nullptr) return Unavailable("starting");
  return plane_->NewProducers(1);
}

LeaseReply SimScheduler::Lease(NodeId node, uint64_t session, uint32_t count) {
  if (plane_ == nullptr) return {.status = Unavailable("starting")};
  const auto answer = plane_->Lease(node, session, count, now());
  if (!answer.ok()) return {.status = answer.status()};
  LeaseReply reply;
  for (const GivenLease& lease : answer->leases) {
    const PartitionRecord& partition = lease.job->partitions[lease.partition];
    reply.given.push_back({.job = lease.job->id,
                           .partition = lease.partition,
                           .pass = lease.job->pass,
                           .token = partition.token,
                           .producer = partition.producer,
                           .begin = partition.recorded,
                           .rewind = answer->rewind});
    for (const TableId table : lease.job->tables) reply.tables.push_back(data().tables.at(table));
  }
  return reply;
}

ReportReply SimScheduler::Report(NodeId node, uint64_t session, const std::vector<ReportedProgress>& lines) {
  if (plane_ == nullptr) return {.status = Unavailable("starting")};
  auto results = plane_->Report(node, session, lines, now());
  if (!results.ok()) return {.status = results.status()};
  return {.lines = std::move(*results)};
}

void SimScheduler::NoteEnded(NodeId node) {
  if (plane_ == nullptr) return;
  world_.Note(self_, "node ", node, " refuses a connection");
  cluster_.truth.OnRefused(node);
  plane_->NoteEnded(node, now());
}

void SimScheduler::AcceptLosses() {
  if (plane_ == nullptr) return;
  for (ShardId id = 0; id < data().shards.size(); ++id) {
    if (data().shards[id].quarantine.empty()) continue;
    const Status accepted = plane_->Accept(id, now());
    world_.Note(self_, "accept the loss of shard ", id, ": ", accepted.ToString());
  }
}

void SimScheduler::MoveShard(ShardId shard, NodeId from, NodeId to) {
  if (plane_ == nullptr) return;
  const Status moves = plane_->MoveShard(shard, from, to, now());
  world_.Note(self_, "move shard ", shard, " to node ", to, ": ", moves.ToString());
}

void SimScheduler::Drain(NodeId node, bool drained) {
  if (plane_ == nullptr) return;
  const Status done = plane_->Drain(node, drained, now());
  world_.Note(self_, drained ? "drain node " : "undrain node ", node, ": ", done.ToString());
}

void SimScheduler::Submit(const std::vector<TableSpec>& tables, const std::string& job) {
  for (const TableSpec& spec : tables) {
    if (const auto made = plane_->Create(spec, now()); !made.ok())
      world_.Fail("commands_apply", made.status().ToString());
  }
  if (const auto submitted = plane_->Submit(job, now()); !submitted.ok())
    world_.Fail("commands_apply", submitted.status().ToString());
}

}  // namespace penstock::sim
