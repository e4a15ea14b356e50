// SimScheduler: the product's ControlPlane behind simulated calls, and a journal in memory that survives its
// end: a command is durable before it is answered, and a crash may come in between.
#pragma once

#include <memory>

#include "tests/sim/sim_messages.h"
#include "tests/sim/sim_world.h"

namespace penstock::sim {

class SimCluster;

class SimJournal final : public CommandLog {
 public:
  explicit SimJournal(SimCluster& cluster) : cluster_(cluster) { state_.KeepEvents(8); }
  Status Append(const Command& command, int64_t at_ms) override;
  const ClusterState& state() const { return state_; }

  bool full = false;

 private:
  SimCluster& cluster_;
  ClusterState state_;
};

class SimScheduler {
 public:
  SimScheduler(SimCluster& cluster, const ControlPlaneOptions& options);

  void Start();
  void End();
  bool up() const;
  Endpoint self() const { return self_; }
  SimJournal& journal() { return journal_; }
  const StateData& data() const { return journal_.state().data(); }
  ControlPlane* plane() { return plane_.get(); }  // nullptr: it does not run

  RegisterReply Register(const RegisterRequest& request);
  HeartbeatReply Heartbeat(const HeartbeatRequest& request, uint64_t table_version);
  MapReply Map();
  LeaseReply Lease(NodeId node, uint64_t session, uint32_t count);
  ReportReply Report(NodeId node, uint64_t session, const std::vector<ReportedProgress>& lines);
  Result<ProducerId> NewProducer();
  // It finds a server's connections closed, and its address refuses another.
  void NoteEnded(NodeId node);
  // The operator: accepts every loss.
  void AcceptLosses();
  // The operator: the shard's primary, or the copy on `from`, goes to `to`, unless something stands against
  // it.
  void MoveShard(ShardId shard, NodeId from, NodeId to);
  // The operator: a server is to hold nothing, or may hold shards again.
  void Drain(NodeId node, bool drained);
  // Tables and a job, at the beginning.
  void Submit(const std::vector<TableSpec>& tables, const std::string& job);

 private:
  Now now() const;
  void Tick();

  SimCluster& cluster_;
  World& world_;
  const Endpoint self_;
  const ControlPlaneOptions options_;
  SimJournal journal_;
  std::unique_ptr<ControlPlane> plane_;
};

}  // namespace penstock::sim
