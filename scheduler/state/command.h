// Command: one change of the cluster's state, as it stands in the journal.
//
// A command says what changed, not why: what decides (grants, leases, placement) has run before it is made,
// so that replaying it needs neither a clock nor the code that decided. cluster_state.h checks and applies
// them.
#pragma once

#include <nlohmann/json.hpp>
#include <string>
#include <variant>
#include <vector>

#include "common/base/status.h"
#include "scheduler/state/state_types.h"

namespace penstock {

inline constexpr int kCommandVersion = 1;

// A start of a leading scheduler. The first one creates the cluster: its id, its number of shards and how
// many copies of each it wants, which all later ones repeat.
struct BeginTerm {
  static constexpr const char* kName = "begin_term";
  uint64_t term = 0;
  uint64_t cluster = 0;
  uint32_t shards = 0;
  uint32_t copies = 1;
  uint32_t min_copies = 1;
  NLOHMANN_DEFINE_TYPE_INTRUSIVE(BeginTerm, term, cluster, shards, copies, min_copies)
};

struct ShardLsns {
  ShardId shard = 0;
  Lsn applied = 0, logged = 0, synced = 0;
  NLOHMANN_DEFINE_TYPE_INTRUSIVE(ShardLsns, shard, applied, logged, synced)
};
struct ShardGrantRecord {
  ShardId shard = 0;
  Epoch epoch = 0;
  Lsn min_lsn = 0;
  bool operator==(const ShardGrantRecord&) const = default;
  NLOHMANN_DEFINE_TYPE_INTRUSIVE(ShardGrantRecord, shard, epoch, min_lsn)
};
struct ShardQuarantine {
  ShardId shard = 0;
  std::string reason;
  NLOHMANN_DEFINE_TYPE_INTRUSIVE(ShardQuarantine, shard, reason)
};

// A node's new session: ends its earlier one with all grants and leases of that, and says what it may serve
// now.
struct RegisterNode {
  static constexpr const char* kName = "register_node";
  NodeRecord node;
  std::vector<ShardLsns> lsns;
  std::vector<ShardGrantRecord> grants;
  std::vector<ShardQuarantine> quarantines;
  NLOHMANN_DEFINE_TYPE_INTRUSIVE(RegisterNode, node, lsns, grants, quarantines)
};

// First owners: epoch 1, granted to the nodes' present sessions.
struct PlaceShards {
  static constexpr const char* kName = "place_shards";
  struct Placement {
    ShardId shard = 0;
    NodeId node = 0;
    Incarnation incarnation = 0;
    NLOHMANN_DEFINE_TYPE_INTRUSIVE(Placement, shard, node, incarnation)
  };
  std::vector<Placement> placements;
  NLOHMANN_DEFINE_TYPE_INTRUSIVE(PlaceShards, placements)
};

struct RecordLsns {
  static constexpr const char* kName = "record_lsns";
  std::vector<ShardLsns> lsns;
  NLOHMANN_DEFINE_TYPE_INTRUSIVE(RecordLsns, lsns)
};

// To the owners' present sessions.
struct GrantShards {
  static constexpr const char* kName = "grant_shards";
  std::vector<ShardGrantRecord> grants;
  NLOHMANN_DEFINE_TYPE_INTRUSIVE(GrantShards, grants)
};

struct QuarantineShards {
  static constexpr const char* kName = "quarantine_shards";
  std::vector<ShardQuarantine> quarantines;
  NLOHMANN_DEFINE_TYPE_INTRUSIVE(QuarantineShards, quarantines)
};

// The shard goes on with `remaining`, and jobs that train are rewound to the start of their pass, with a new
// rewind number. The grant comes after it.
struct AcceptLoss {
  static constexpr const char* kName = "accept_loss";
  ShardId shard = 0;
  Lsn remaining = 0;
  NLOHMANN_DEFINE_TYPE_INTRUSIVE(AcceptLoss, shard, remaining)
};

// The operator's word.
struct SetCopies {
  static constexpr const char* kName = "set_copies";
  uint32_t copies = 1;
  uint32_t min_copies = 1;
  NLOHMANN_DEFINE_TYPE_INTRUSIVE(SetCopies, copies, min_copies)
};

// Copies to be seeded, in the nodes' present sessions. No new epoch: nobody waits for them yet.
struct AddCopies {
  static constexpr const char* kName = "add_copies";
  struct Copy {
    ShardId shard = 0;
    NodeId node = 0;
    Incarnation incarnation = 0;
    NLOHMANN_DEFINE_TYPE_INTRUSIVE(Copy, shard, node, incarnation)
  };
  std::vector<Copy> copies;
  NLOHMANN_DEFINE_TYPE_INTRUSIVE(AddCopies, copies)
};

// Of copies that are not in sync.
struct DropCopies {
  static constexpr const char* kName = "drop_copies";
  struct Copy {
    ShardId shard = 0;
    NodeId node = 0;
    NLOHMANN_DEFINE_TYPE_INTRUSIVE(Copy, shard, node)
  };
  std::vector<Copy> copies;
  NLOHMANN_DEFINE_TYPE_INTRUSIVE(DropCopies, copies)
};

// New epochs with their primaries, each granted to its node's present session, and all of their backups. The
// primary is the one before, or a backup that was promotable; what the list leaves out is no copy any more.
// Of a fenced shard that goes to where it moves, the primary before may be among the backups.
struct ChangeCopies {
  static constexpr const char* kName = "change_copies";
  struct Change {
    ShardId shard = 0;
    Epoch epoch = 0;
    Lsn min_lsn = 0;
    NodeId node = 0;
    Incarnation incarnation = 0;
    std::vector<CopyRecord> backups;
    int64_t at_ms = 0;  // wall clock; 0: of an earlier version
    NLOHMANN_DEFINE_TYPE_INTRUSIVE_WITH_DEFAULT(Change, shard, epoch, min_lsn, node, incarnation, backups,
                                                at_ms)
  };
  std::vector<Change> changes;
  NLOHMANN_DEFINE_TYPE_INTRUSIVE(ChangeCopies, changes)
};

// A server is to hold nothing, or may hold copies again.
struct DrainNode {
  static constexpr const char* kName = "drain_node";
  NodeId node = 0;
  bool drained = true;
  NLOHMANN_DEFINE_TYPE_INTRUSIVE(DrainNode, node, drained)
};

// Whether shards move by themselves to even out bytes and load.
struct SetBalance {
  static constexpr const char* kName = "set_balance";
  bool on = true;
  NLOHMANN_DEFINE_TYPE_INTRUSIVE(SetBalance, on)
};

// Copies that are to go from one server to another. One at a time of each shard.
struct StartMoves {
  static constexpr const char* kName = "start_moves";
  struct Move {
    ShardId shard = 0;
    NodeId from = 0, to = 0;
    bool drains = false;  // as in MoveRecord
    int64_t at_ms = 0;
    std::string reason;
    NLOHMANN_DEFINE_TYPE_INTRUSIVE_WITH_DEFAULT(Move, shard, from, to, drains, at_ms, reason)
  };
  std::vector<Move> moves;
  NLOHMANN_DEFINE_TYPE_INTRUSIVE(StartMoves, moves)
};

// The primary of a shard that moves takes nothing new until it hears of an epoch above `epoch`, which nobody
// serves. ChangeCopies, to `to` or to anybody else, ends that and the move.
struct FenceShards {
  static constexpr const char* kName = "fence_shards";
  struct Fence {
    ShardId shard = 0;
    Epoch epoch = 0;
    int64_t at_ms = 0;
    NLOHMANN_DEFINE_TYPE_INTRUSIVE(Fence, shard, epoch, at_ms)
  };
  std::vector<Fence> fences;
  NLOHMANN_DEFINE_TYPE_INTRUSIVE(FenceShards, fences)
};

// Moves that do not go on, before any fence.
struct EndMoves {
  static constexpr const char* kName = "end_moves";
  struct Move {
    ShardId shard = 0;
    std::string why;
    int64_t at_ms = 0;  // from when on it rests; 0: it may move again at once
    NLOHMANN_DEFINE_TYPE_INTRUSIVE_WITH_DEFAULT(Move, shard, why, at_ms)
  };
  std::vector<Move> moves;
  NLOHMANN_DEFINE_TYPE_INTRUSIVE(EndMoves, moves)
};

// The primaries serve these epochs: what became in-sync in them is promotable.
struct ConfirmEpochs {
  static constexpr const char* kName = "confirm_epochs";
  struct Confirmation {
    ShardId shard = 0;
    Epoch epoch = 0;
    NLOHMANN_DEFINE_TYPE_INTRUSIVE(Confirmation, shard, epoch)
  };
  std::vector<Confirmation> confirmations;
  NLOHMANN_DEFINE_TYPE_INTRUSIVE(ConfirmEpochs, confirmations)
};

struct CreateTable {
  static constexpr const char* kName = "create_table";
  TableSpec spec;
  NLOHMANN_DEFINE_TYPE_INTRUSIVE(CreateTable, spec)
};

struct DropTable {
  static constexpr const char* kName = "drop_table";
  TableId table = 0;
  NLOHMANN_DEFINE_TYPE_INTRUSIVE(DropTable, table)
};

// For clients.
struct AllocateProducers {
  static constexpr const char* kName = "allocate_producers";
  ProducerId first = 0;
  uint32_t count = 0;
  NLOHMANN_DEFINE_TYPE_INTRUSIVE(AllocateProducers, first, count)
};

// A job with the tables that it makes.
struct SubmitJob {
  static constexpr const char* kName = "submit_job";
  JobId job = 0;
  std::string name;
  std::string spec;
  uint32_t passes = 0;
  uint32_t train_partitions = 0;
  uint64_t train_records = 0;
  uint32_t test_partitions = 0;
  bool evaluate_train = false;
  bool evaluate_test = false;
  TrainPolicy policy;
  std::vector<TableSpec> tables;  // with ids and full names
  int64_t at_ms = 0;
  bool limit_files = false;  // workers read files below their worker.data_roots alone
  NLOHMANN_DEFINE_TYPE_INTRUSIVE_WITH_DEFAULT(SubmitJob, job, name, spec, passes, train_partitions,
                                              train_records, test_partitions, evaluate_train, evaluate_test,
                                              policy, tables, at_ms, limit_files)
};

struct LeasePartitions {
  static constexpr const char* kName = "lease_partitions";
  struct Lease {
    JobId job = 0;
    uint32_t partition = 0;
    LeaseToken token = 0;
    ProducerId producer = 0;
    NLOHMANN_DEFINE_TYPE_INTRUSIVE(Lease, job, partition, token, producer)
  };
  NodeId node = 0;
  uint64_t session = 0;
  std::vector<Lease> leases;
  int64_t at_ms = 0;
  NLOHMANN_DEFINE_TYPE_INTRUSIVE(LeasePartitions, node, session, leases, at_ms)
};

struct LeaseProgressRecord {
  JobId job = 0;
  uint32_t partition = 0;
  LeaseToken token = 0;
  uint64_t recorded = 0;
  Tally tally;  // of this lease
  NLOHMANN_DEFINE_TYPE_INTRUSIVE(LeaseProgressRecord, job, partition, token, recorded, tally)
};

struct RecordProgress {
  static constexpr const char* kName = "record_progress";
  std::vector<LeaseProgressRecord> progress;
  NLOHMANN_DEFINE_TYPE_INTRUSIVE(RecordProgress, progress)
};

struct FinishPartition {
  static constexpr const char* kName = "finish_partition";
  LeaseProgressRecord progress;
  std::string result;
  NLOHMANN_DEFINE_TYPE_INTRUSIVE(FinishPartition, progress, result)
};

// Leases end without being finished; their partitions are free again.
struct FreeLeases {
  static constexpr const char* kName = "free_leases";
  struct Lease {
    JobId job = 0;
    uint32_t partition = 0;
    LeaseToken token = 0;
    bool failed = false;  // counts as a failure of the partition
    NLOHMANN_DEFINE_TYPE_INTRUSIVE(Lease, job, partition, token, failed)
  };
  std::vector<Lease> leases;
  NLOHMANN_DEFINE_TYPE_INTRUSIVE(FreeLeases, leases)
};

// All partitions are done: on to the next pass or phase.
struct AdvanceJob {
  static constexpr const char* kName = "advance_job";
  JobId job = 0;
  JobPhase phase = JobPhase::kTrain;
  uint32_t pass = 0;
  bool finishing = false;
  std::vector<PassMetrics> evaluated;  // of an evaluation between passes that is over: one, or none
  std::string stopped;                 // with the first finishing phase: why training ends early
  int64_t at_ms = 0;
  NLOHMANN_DEFINE_TYPE_INTRUSIVE_WITH_DEFAULT(AdvanceJob, job, phase, pass, finishing, evaluated, stopped,
                                              at_ms)
};

// The streams of a sync job's pass get their producers, first and the following.
struct OpenStreams {
  static constexpr const char* kName = "open_streams";
  JobId job = 0;
  ProducerId first = 0;
  int64_t at_ms = 0;
  NLOHMANN_DEFINE_TYPE_INTRUSIVE(OpenStreams, job, first, at_ms)
};

// Every minibatch of the round is logged on all shards, by whichever workers: they may be told to commit it.
struct CommitRound {
  static constexpr const char* kName = "commit_round";
  JobId job = 0;
  uint64_t round = 0;
  std::vector<Tally> streams;  // what each gave
  NLOHMANN_DEFINE_TYPE_INTRUSIVE(CommitRound, job, round, streams)
};

// The last round of a pass is committed on all shards.
struct FinishStreams {
  static constexpr const char* kName = "finish_streams";
  JobId job = 0;
  NLOHMANN_DEFINE_TYPE_INTRUSIVE(FinishStreams, job)
};

// Or goes on. Leases of a paused job end one by one, when their workers have said how far they are.
struct PauseJob {
  static constexpr const char* kName = "pause_job";
  JobId job = 0;
  bool paused = true;
  int64_t at_ms = 0;
  NLOHMANN_DEFINE_TYPE_INTRUSIVE(PauseJob, job, paused, at_ms)
};

struct EndJob {
  static constexpr const char* kName = "end_job";
  JobId job = 0;
  JobState state = JobState::kDone;
  std::string error;
  std::vector<PassMetrics> evaluated;  // as in AdvanceJob
  std::string stopped;
  int64_t at_ms = 0;
  NLOHMANN_DEFINE_TYPE_INTRUSIVE_WITH_DEFAULT(EndJob, job, state, error, evaluated, stopped, at_ms)
};

// Jobs that have ended are forgotten, and their tables with them or not.
struct RemoveJobs {
  static constexpr const char* kName = "remove_jobs";
  std::vector<JobId> jobs;
  bool drop_tables = false;
  NLOHMANN_DEFINE_TYPE_INTRUSIVE(RemoveJobs, jobs, drop_tables)
};

// Of a node that holds no shard and no copy of one.
struct RemoveNode {
  static constexpr const char* kName = "remove_node";
  NodeId node = 0;
  NLOHMANN_DEFINE_TYPE_INTRUSIVE(RemoveNode, node)
};

using Command =
    std::variant<BeginTerm, RegisterNode, PlaceShards, RecordLsns, GrantShards, QuarantineShards, AcceptLoss,
                 SetCopies, AddCopies, DropCopies, ChangeCopies, ConfirmEpochs, DrainNode, SetBalance,
                 StartMoves, FenceShards, EndMoves, CreateTable, DropTable, AllocateProducers, SubmitJob,
                 LeasePartitions, RecordProgress, FinishPartition, FreeLeases, AdvanceJob, OpenStreams,
                 CommitRound, FinishStreams, PauseJob, EndJob, RemoveJobs, RemoveNode>;

const char* CommandName(const Command& command);
// {"v": 1, "type": name, members}, and "made_ms" unless it is 0: since 1970, when the command was made.
nlohmann::json CommandToJson(const Command& command, int64_t made_ms = 0);
// kFailedPrecondition: a later version, or a type it does not know; kDataLoss: it is not a command at all.
Result<Command> CommandFromJson(const nlohmann::json& json, int64_t* made_ms = nullptr);

}  // namespace penstock
