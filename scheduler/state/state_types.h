// What the scheduler remembers across restarts: nodes, shards, jobs, and the whole state that a snapshot of
// the journal holds.
//
// Plain values with a JSON form; cluster_state.h says how they change. Times are wall-clock milliseconds
// since 1970.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <deque>
#include <map>
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "common/base/ids.h"
#include "common/base/mutant.h"
#include "common/cluster/table_spec.h"
#include "scheduler/jobs/pass_metrics.h"
#include "scheduler/jobs/train_policy.h"
#include "scheduler/state/event.h"
#include "scheduler/state/producer_set.h"

namespace penstock {

using JobId = uint32_t;
using LeaseToken = uint64_t;  // rising, never reused; 0 is none

enum class NodeRole : uint8_t { kServer = 0, kWorker = 1 };

struct NodeRecord {
  NodeId id = 0;
  NodeRole role = NodeRole::kServer;
  std::string name;
  std::vector<std::string> endpoints;  // one host:port a core
  std::string http;
  uint64_t session = 0;  // the node's current life; a heartbeat of another one is refused
  uint32_t pid = 0;      // of its process, on its machine
  std::string log;       // the file there that it logs to; empty: standard error
  bool drained = false;  // by an operator's word: its copies go to other servers, and none come
  std::string host;      // of its machine: copies of a shard are on different ones where that can be
  std::string zone;      // of its host; empty: none
  uint64_t memory = 0;   // bytes of it that rows may take; 0: it did not say
  NLOHMANN_DEFINE_TYPE_INTRUSIVE_WITH_DEFAULT(NodeRecord, id, role, name, endpoints, http, session, pid, log,
                                              drained, host, zone, memory)
};

inline constexpr uint32_t kMaxCopies = 3;

// A copy of a shard beside its primary's.
struct CopyRecord {
  NodeId node = 0;
  Incarnation incarnation = 0;
  uint64_t session =
      0;  // of the node, in which this copy has lived so far; after a restart the node has another
  bool in_sync = false;  // no answer at `logged` or `synced` without it; otherwise it is being seeded
  Epoch since = 0;       // in which it became in-sync
  bool operator==(const CopyRecord&) const = default;
  NLOHMANN_DEFINE_TYPE_INTRUSIVE(CopyRecord, node, incarnation, session, in_sync, since)
};

// A copy of a shard on its way to another server (rule 36): a copy on `to` is seeded where there is none, and
// the one on `from` leaves when that is in sync. If `from` leads, `to` takes over in a hand-over: the fence.
struct MoveRecord {
  NodeId from = 0;  // 0: nothing moves
  NodeId to = 0;
  bool adds = false;      // `to` had no copy: there is one more than wanted meanwhile
  Epoch fence = 0;        // the primary takes nothing new before an epoch above this one; 0: it was not told
  int64_t fenced_ms = 0;  // of the latest fence, wall clock
  uint32_t given_up = 0;  // fences
  bool drains = false;    // because `from` is drained, and as long as it is
  int64_t begun_ms = 0;   // wall clock
  std::string reason;
  bool operator==(const MoveRecord&) const = default;
  NLOHMANN_DEFINE_TYPE_INTRUSIVE_WITH_DEFAULT(MoveRecord, from, to, adds, fence, fenced_ms, given_up, drains,
                                              begun_ms, reason)
};

// Node, incarnation and granted session are the primary's.
struct ShardRecord {
  NodeId node = 0;  // 0: not placed
  Incarnation incarnation = 0;
  Epoch epoch = 0;
  Lsn min_lsn = 0;  // of the epoch
  Lsn highest = 0;  // ever reported as applied: the next epoch begins above it
  Lsn logged = 0;   // reported, and still owed by the owner; lowered only by accept-loss
  Lsn synced = 0;
  uint64_t granted_session = 0;  // of the owner, for which the epoch is granted; 0: not granted
  bool held = false;             // loss accepted, and not granted again yet
  std::string quarantine;        // not empty: not granted, and why
  std::vector<CopyRecord> backups;
  Epoch confirmed = 0;  // the highest that a primary has reported to serve, all in-sync copies of it included
  // Members of the in-sync set of `confirmed` that a later epoch has left out; `since` is that epoch. Until
  // the present one is confirmed they may be the only ones with all that was answered, and may have to lead.
  std::vector<CopyRecord> former;
  MoveRecord move;
  int64_t moved_ms = 0;  // when its last move ended, wall clock; 0: none did
  NLOHMANN_DEFINE_TYPE_INTRUSIVE_WITH_DEFAULT(ShardRecord, node, incarnation, epoch, min_lsn, highest, logged,
                                              synced, granted_session, held, quarantine, backups, confirmed,
                                              former, move, moved_ms)
};

// No later one was given or announced.
inline Epoch HighestEpoch(const ShardRecord& shard) { return std::max(shard.epoch, shard.move.fence); }

// Of the first delta of a later epoch: above all that was reported, and never below where the present epoch
// begins. Units were told its lsns that no delta has, and would count as logged with another one's.
inline Lsn LeastLsn(const ShardRecord& shard) { return std::max(shard.highest + 1, shard.min_lsn); }

// The primary's copy as a record of its own.
inline CopyRecord PrimaryOf(const ShardRecord& shard) {
  return {.node = shard.node,
          .incarnation = shard.incarnation,
          .session = shard.granted_session,
          .in_sync = true,
          .since = 0};
}

// It has all that was ever answered at `logged`: some primary waits for it, and has said so (rule 19).
inline bool IsPromotable(const ShardRecord& shard, const CopyRecord& copy) {
  return (copy.in_sync || !Defended(Defence::kPromoteInSync)) &&
         (copy.since <= shard.confirmed || !Defended(Defence::kPromoteSettled));
}
inline bool HasPromotable(const ShardRecord& shard) {
  return std::any_of(shard.backups.begin(), shard.backups.end(),
                     [&](const CopyRecord& copy) { return IsPromotable(shard, copy); });
}
// Somebody else than the primary may have to lead it.
inline bool HasOthers(const ShardRecord& shard) { return !shard.former.empty() || HasPromotable(shard); }
// Of a copy that can lead and has seen epoch `seen`: it has all that was answered in those that `former` was
// in, which has nothing of the later ones.
inline bool Outranks(Epoch seen, const CopyRecord& former) { return seen >= former.since; }
// nullptr: it has none of these.
inline const CopyRecord* FindCopy(const std::vector<CopyRecord>& copies, NodeId node) {
  const auto it = std::find_if(copies.begin(), copies.end(),
                               [node](const CopyRecord& copy) { return copy.node == node; });
  return it == copies.end() ? nullptr : &*it;
}
inline bool IsMember(const ShardRecord& shard, NodeId node) {
  return shard.node == node || FindCopy(shard.backups, node) != nullptr;
}
// It has a copy that is wanted, or may have to lead.
inline bool MayBeNeeded(const ShardRecord& shard, NodeId node) {
  return IsMember(shard, node) || FindCopy(shard.former, node) != nullptr;
}
// The primary's counts.
inline uint32_t CountInSync(const ShardRecord& shard) {
  return 1 + static_cast<uint32_t>(std::count_if(shard.backups.begin(), shard.backups.end(),
                                                 [](const CopyRecord& copy) { return copy.in_sync; }));
}
// Those of them that could lead.
inline uint32_t CountPromotable(const ShardRecord& shard) {
  return 1 + static_cast<uint32_t>(
                 std::count_if(shard.backups.begin(), shard.backups.end(),
                               [&](const CopyRecord& copy) { return IsPromotable(shard, copy); }));
}

// Sums of losses from here on stand for those that were not finite: JSON knows none.
inline constexpr double kTooHugeLoss = 1e290;

// What was done, in examples that are recorded.
struct Tally {
  uint64_t examples = 0;
  double loss_sum = 0;  // always finite: JSON knows no others
  uint64_t bad_records = 0;
  Tally& operator+=(const Tally& other) {
    examples += other.examples;
    loss_sum += other.loss_sum;
    bad_records += other.bad_records;
    return *this;
  }
  NLOHMANN_DEFINE_TYPE_INTRUSIVE(Tally, examples, loss_sum, bad_records)
};

// JSON knows no other numbers; the sums of partitions stay finite, too.
inline Tally Finite(Tally tally) {
  constexpr double kHuge = 1e300;
  tally.loss_sum = std::isnan(tally.loss_sum) ? kHuge : std::clamp(tally.loss_sum, -kHuge, kHuge);
  return tally;
}

enum class PartitionState : uint8_t { kFree = 0, kLeased = 1, kDone = 2 };

struct PartitionRecord {
  PartitionState state = PartitionState::kFree;
  NodeId node = 0;
  uint64_t session = 0;     // of the node
  LeaseToken token = 0;     // of the lease, also after it is done
  ProducerId producer = 0;  // from the first lease on; 0 in evaluations
  int64_t leased_ms = 0;    // when the present or last lease was given
  uint64_t recorded = 0;    // minibatches below it are logged on all copies
  Tally before;             // by earlier leases, up to where the present one began
  Tally now;                // by the present lease
  uint32_t failures = 0;    // transient ones since the last progress
  std::string result;       // of a finished evaluation, JSON
  NLOHMANN_DEFINE_TYPE_INTRUSIVE_WITH_DEFAULT(PartitionRecord, state, node, session, token, producer,
                                              leased_ms, recorded, before, now, failures, result)
};

enum class JobState : uint8_t { kRunning = 0, kDone = 1, kFailed = 2, kCancelled = 3, kPaused = 4 };
// It has ended, and nothing of it changes any more.
inline bool IsOver(JobState state) { return state != JobState::kRunning && state != JobState::kPaused; }
enum class JobPhase : uint8_t { kTrain = 0, kEvaluateTrain = 1, kEvaluateTest = 2, kKeepBest = 3 };
// Its partitions push, so they have producers.
inline bool Pushes(JobPhase phase) { return phase == JobPhase::kTrain || phase == JobPhase::kKeepBest; }
std::string_view ToString(JobState);
std::string_view ToString(JobPhase);
std::string_view ToString(PartitionState);

struct JobRecord {
  JobId id = 0;
  std::string name;
  std::string spec;  // as submitted, JSON
  JobState state = JobState::kRunning;
  JobPhase phase = JobPhase::kTrain;
  uint32_t pass = 0;
  uint32_t passes = 0;
  bool finishing = false;  // no further pass is trained: the final evaluations
  uint32_t train_partitions = 0;
  uint64_t train_records = 0;
  uint32_t test_partitions = 0;
  bool evaluate_train = false;
  bool evaluate_test = false;
  TrainPolicy policy;
  // sync: the last round that is journaled, rising through all passes, and its examples; 0: none yet.
  uint64_t round = 0;
  uint64_t round_examples = 0;
  std::vector<TableId> tables;
  std::vector<PartitionRecord> partitions;  // of the present phase and pass; empty when the job has ended
  Tally trained;                            // by the passes that are over
  Tally last_pass;                          // the latest of them
  std::vector<PassMetrics> history;         // one for each evaluation between passes
  std::string stopped;                      // not empty: training ended early, and why
  std::vector<std::string> train_results;   // of the final evaluations that are over, JSON each
  std::vector<std::string> test_results;
  int64_t submitted_ms = 0;
  int64_t started_ms = 0;  // first lease
  int64_t trained_ms = 0;  // end of the last pass
  int64_t ended_ms = 0;
  int64_t paused_at_ms = 0;  // of a paused job
  int64_t paused_ms = 0;     // all pauses that are over
  std::string error;
  bool limit_files = false;  // workers read files below their worker.data_roots alone
  NLOHMANN_DEFINE_TYPE_INTRUSIVE_WITH_DEFAULT(JobRecord, id, name, spec, state, phase, pass, passes,
                                              finishing, train_partitions, train_records, test_partitions,
                                              evaluate_train, evaluate_test, policy, round, round_examples,
                                              tables, partitions, trained, last_pass, history, stopped,
                                              train_results, test_results, submitted_ms, started_ms,
                                              trained_ms, ended_ms, paused_at_ms, paused_ms, error,
                                              limit_files)
};

// Everything. Two states are equal when their JSON is.
struct StateData {
  uint64_t cluster = 0;  // 0: the journal is empty
  uint64_t term = 0;
  uint64_t commands = 0;    // applied so far: of two states of a cluster the older one has fewer
  uint32_t copies = 1;      // of each shard, wanted
  uint32_t min_copies = 1;  // with fewer in sync, pushes at `logged` and `synced` are refused
  bool balance = true;      // shards move by themselves to even out bytes and load
  // Rises whenever a shard is to go on with less than job progress counts. Leases from before are worth
  // nothing then, and shards refuse what is pushed under them (rule 35).
  uint64_t rewind = 1;
  uint64_t last_session = 0;
  Incarnation last_incarnation = 0;
  NodeId last_node = 0;
  TableId last_table = 0;
  uint64_t table_version = 0;
  JobId last_job = 0;
  LeaseToken last_token = 0;
  ProducerId next_producer = 1;
  ProducerId first_client_producer = 0;  // 0: none was ever given; clients' ids do not expire
  std::map<NodeId, NodeRecord> nodes;
  std::vector<ShardRecord> shards;
  std::map<TableId, TableSpec> tables;
  std::vector<TableId> dropped_tables;
  std::map<JobId, JobRecord> jobs;
  ProducerRanges finished;  // none below the forget floor
  uint64_t last_event = 0;
  std::deque<Event> events;  // the latest of them
  NLOHMANN_DEFINE_TYPE_INTRUSIVE(StateData, cluster, term, commands, copies, min_copies, balance, rewind,
                                 last_session, last_incarnation, last_node, last_table, table_version,
                                 last_job, last_token, next_producer, first_client_producer, nodes, shards,
                                 tables, dropped_tables, jobs, finished, last_event, events)
};

}  // namespace penstock
