// ControlPlane: the scheduler's answers, as plain values: registrations, heartbeats, the shard map, tables,
// producers, jobs, leases.
//
// Pure but for the commits: no sockets, no clock of its own. scheduler_service.h decodes the RPCs and calls
// it; scheduler.h calls Tick. One thread, the scheduler's loop. Commits block that loop on the disk on
// purpose: answers must come after the command is durable, and in the order of the commands, and the control
// plane is small (a synced write of a few hundred bytes, some a second).
#pragma once

#include <functional>
#include <map>
#include <string>
#include <vector>

#include "common/cluster/shard_map.h"
#include "scheduler/copies/balancer.h"
#include "scheduler/copies/copy_decision.h"
#include "scheduler/copies/node_table.h"
#include "scheduler/jobs/lease_fsm.h"
#include "scheduler/jobs/sync_jobs.h"
#include "scheduler/state/committed_state.h"

namespace penstock {

// Where an operator finds a process: on its machine.
struct ProcessPlace {
  uint32_t pid = 0;
  std::string log;  // the file that it logs to; empty: standard error
};

struct ControlPlaneOptions {
  std::string cluster_name = "penstock";
  uint32_t shards = 128;  // of a new cluster
  uint32_t servers = 1;   // to wait for before the shards are placed
  uint32_t copies = 1;    // of each shard, of a new cluster
  uint32_t min_copies = 1;
  CopyOptions copying;
  BalanceOptions balance;
  NodeTableOptions nodes;
  LeaseOptions leases;
  int64_t lsn_ms = 1000;               // how often reported lsns are journaled
  uint32_t keep_jobs = 100;            // that have ended; those that ended before are forgotten
  uint32_t most_open_jobs = 1000;      // that have not ended
  uint32_t most_workers = 4096;        // that are known, dead ones included
  uint32_t most_tables = 65536;        // a job may bring its own beyond that
  ProcessPlace process;                // the scheduler's own
  std::function<int64_t()> wall_ms{};  // CommittedState
};

struct RegisterRequest {
  NodeRole role = NodeRole::kServer;
  NodeId node = 0;  // 0: give me one
  std::string name;
  std::vector<std::string> endpoints;
  std::string http;
  std::vector<ShardLine> lines;
  uint64_t highest_term = 0;
  uint64_t highest_map_version = 0;
  ProcessPlace process{};
  std::string host{}, zone{};  // of a server
  uint64_t memory = 0;         // NodeRecord
};
struct RegisterAnswer {
  NodeId node = 0;
  uint64_t session = 0;
};

struct HeartbeatRequest {
  NodeId node = 0;
  uint64_t map_version = 0;  // the highest that it has seen
  uint64_t session = 0;
  std::vector<ShardLine> lines;
  bool busy = false;
  NodeWords words{};
};
struct GrantedBackup {
  NodeId node = 0;
  std::string name;
  Incarnation incarnation = 0;
  std::string endpoint;  // of the core that follows; empty until that is known
  bool in_sync = false;
  bool operator==(const GrantedBackup&) const = default;
};
struct NodeGrant {
  ShardGrantRecord grant;
  Incarnation incarnation = 0;
  std::vector<GrantedBackup> backups;
  uint32_t min_copies = 1;
  uint64_t rewind = 0;
  Epoch fence = 0;
  bool operator==(const NodeGrant&) const = default;
};
struct NodeFollow {
  ShardId shard = 0;
  Incarnation incarnation = 0;
  Epoch epoch = 0;
  bool operator==(const NodeFollow&) const = default;
};
// What a node shall hold and know. Equal ones need not be said twice.
struct WantedState {
  std::vector<NodeGrant> grants;
  std::vector<NodeFollow> follows;
  std::vector<NodeFollow> discards;  // lives that it has, and nobody needs there; without epochs
  uint64_t table_version = 0;
  ProducerRanges finished;
  uint64_t complete_batches = 0;  // of complete producers, of whom a node is told at the latest then
  uint64_t rewind = 0;            // the cluster's rewind number
  bool may_leave = false;         // a server that is to end need not wait any more
  // Rises when the scheduler needs a sign of life: whoever is told asks again.
  uint64_t sign = 0;
  bool operator==(const WantedState&) const = default;
};
struct HeartbeatAnswer {
  uint64_t map_version = 0;
  WantedState wanted;
};

class ControlPlane {
 public:
  // Begins a new term on what the journal holds; `cluster` is the id of a new cluster. An error: the journal
  // did not take the term.
  static Result<std::unique_ptr<ControlPlane>> Start(ClusterState state, CommandLog& log,
                                                     const ControlPlaneOptions& options, uint64_t cluster,
                                                     Now now);

  Result<RegisterAnswer> Register(const RegisterRequest& request, Now now);
  // kFailedPrecondition: register again.
  Result<HeartbeatAnswer> Heartbeat(HeartbeatRequest request, Now now);
  // The process of a server has ended (NodeTable::OnEnded). Whoever may go on without it is asked for a sign.
  void NoteEnded(NodeId node, Now now);
  // A server that ends, as it cannot start, says why.
  Status CannotStart(const std::string& name, const std::string& reason);
  // What Heartbeat would answer now, for one that was held; no sign of life.
  Result<HeartbeatAnswer> Wanted(NodeId node, uint64_t session, Now now);
  // Rises with whatever may change what some node is answered.
  uint64_t wanted_version() const { return state_.commits() + lines_changed_; }
  // kUnavailable for a moment after a restart, while owners have not reported yet: clients go on with the map
  // they have.
  Result<const ShardMap*> Map(Now now);

  Result<TableSpec> Create(TableSpec spec, Now now);
  Result<TableSpec> Open(const std::string& name) const;
  Status Drop(const std::string& name, Now now);
  Result<ProducerId> NewProducers(uint32_t count);

  // `limit_files`: of a client, whose jobs read files below worker.data_roots alone. kOverloaded: too many
  // have not ended.
  Result<JobId> Submit(const std::string& spec, Now now, bool limit_files = false);
  Status Cancel(JobId job, Now now);
  Status Pause(JobId job, Now now);
  Status Resume(JobId job, Now now);
  // kFailedPrecondition: it has not ended.
  Status RemoveJob(JobId job, bool drop_tables);
  Result<LeaseAnswer> Lease(NodeId node, uint64_t session, uint32_t count, Now now);
  // ssp: what LeaseFsm::Clock answers.
  Result<uint64_t> Clock(NodeId node, uint64_t session, JobId job, LeaseToken token, uint64_t clock, Now now);
  // sync: what SyncJobs::Ask answers.
  Result<SyncAnswer> Minibatch(NodeId node, uint64_t session, const SyncQuestion& question, Now now);
  // One result for each line. An error: nothing is known of any line, report again.
  Result<std::vector<Status>> Report(NodeId node, uint64_t session,
                                     const std::vector<ReportedProgress>& progress, Now now);

  Result<nlohmann::json> Inspect(const std::string& what, const std::string& name, Now now);
  // Before a worker registers: where too many are known, the one that is dead the longest is forgotten for
  // it. kOverloaded: all of them live.
  Status MakeRoomForWorker(const RegisterRequest& request, Now now);
  // kFailedPrecondition: it lives, or holds shards or copies of them.
  Status RemoveNode(NodeId node, Now now);
  Status Accept(ShardId shard, Now now);
  // kInvalidArgument: not 1 <= min_copies <= copies <= 3.
  Status SetCopies(uint32_t copies, uint32_t min_copies, Now now);
  // kFailedPrecondition: what stands against it; also when the shard is quarantined now, because the node has
  // less than was reported.
  Status Force(ShardId shard, NodeId node, Now now);
  // A server's copies go to others, and none come; or they may again. kFailedPrecondition: it is no server.
  Status Drain(NodeId node, bool drained, Now now);
  // The copy of a shard on `from` (0: its primary's) goes to `to`; done when it is journaled. `to` 0: it
  // stays where it is. kFailedPrecondition: what stands against it.
  Status MoveShard(ShardId shard, NodeId from, NodeId to, Now now);

  // Shards move by themselves to even out bytes and load, or only when told.
  Status SetBalance(bool on);
  // They do now, until nothing is left to be gained.
  Status Rebalance(Now now);

  // What time does: silence, placement, journaling of lsns and progress. Call it about every 100 ms.
  void Tick(Now now);
  // Before an orderly end: journals what was reported since.
  void End();

  const StateData& data() const { return state_.data(); }
  const ClusterState& state() const { return *state_; }
  uint64_t commits() const { return state_.commits(); }
  // Ok when all shards serve and the journal takes commands; otherwise what is missing.
  Status Ready(Now now);
  // What an operator should mend, node and cause; as the map was after the last Tick or Inspect.
  std::vector<std::string> Problems(Now now) const;
  uint32_t CountShards(ShardState state) const;
  uint32_t CountNodes(NodeRole role, Liveness liveness, Now now) const;
  // Placed ones with fewer in-sync copies than wanted.
  uint32_t CountShortOfCopies() const;
  uint64_t promotions() const { return promotions_; }  // since the start, like the next
  uint64_t epoch_changes() const { return epoch_changes_; }

 private:
  ControlPlane(ClusterState state, CommandLog& log, const ControlPlaneOptions& options, Now now);

  Status CheckLeads() const;
  uint64_t Version() const;
  void NoteSuperseded(const std::string& who, uint64_t term, uint64_t version,
                      const std::vector<ShardLine>& lines);
  Status NoSuchShard(ShardId id) const;
  ReportVerdict ReportSeat(NodeId node, uint64_t session, const ReportedProgress& line, Now now);
  Status CheckSession(NodeId node, uint64_t session) const;
  Status CheckRegister(const RegisterRequest& request) const;
  Result<NodeId> ChooseNode(const RegisterRequest& request, Now now) const;
  Status CommitLsns();
  Status QuarantineDamaged(NodeId node, uint64_t session);
  std::vector<NodeGrant> GrantsOf(NodeId node, uint64_t session) const;
  std::vector<NodeFollow> FollowsOf(NodeId node, uint64_t session) const;
  std::vector<NodeFollow> DiscardsOf(NodeId node) const;
  std::vector<GrantedBackup> BackupsOf(ShardId id) const;
  CopyHealth Health(Now now) const { return CopyHealth(*state_, nodes_, now.ms); }
  // Decides what the copies shall become, and commits it.
  Status CommitCopies(Now now);
  Status TryCommitCopies(Now now);
  Status CommitChanges(ChangeCopies changes, Now now);
  Status CommitQuarantines(QuarantineShards quarantines);
  Status CommitMoves(const CopyDecision& decision);
  Status CommitStarts(const StartMoves& start);
  // Has those shards begin to move of which it is time.
  Status Balance(Now now);
  Status CancelMove(ShardId id, Now now);
  // Some shard is being handed over from it or to it.
  bool HandsOver(NodeId node) const;
  // By `remaining` of `node`.
  Status CommitAccept(ShardId id, Lsn remaining, const std::string& node, Now now);
  std::string CopiesProblem(Now now) const;
  std::string DrainsProblem(Now now) const;
  Status CommitRemoval(const RemoveJobs& command);
  Status CheckRoomForTables() const;
  Status ForgetOldJobs(Now now);
  Status PlaceIfReady(Now now);
  Status GrantHeld(Now now);
  bool Settling(Now now) const;
  void RefreshMap(Now now);
  void NoteLiveness(Now now);

  const ControlPlaneOptions options_;
  CommittedState state_;
  NodeTable nodes_;
  Balancer balancer_;
  LeaseFsm leases_;
  SyncJobs sync_;
  const int64_t started_ms_;
  int64_t ticked_ms_;
  int64_t lsns_ms_;
  std::string superseded_;  // not empty: a scheduler of a later term leads, and how that is known
  ShardMap map_;
  bool map_stale_ = true;
  uint64_t lines_changed_ = 0;
  uint64_t sign_ = 0;
  uint32_t signs_wanted_ = 0;    // as CommitCopies has found last
  uint64_t hand_over_sign_ = 0;  // of nodes that hand over, which ask again and again until that is done
  uint64_t promotions_ = 0, epoch_changes_ = 0;
  std::map<NodeId, Liveness> liveness_;  // as the map was built with
};

}  // namespace penstock
