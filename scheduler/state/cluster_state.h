// ClusterState: the state of the cluster as a pure function of the commands in the journal.
//
// Apply checks a command against the state and then changes it, or refuses it and changes nothing. No I/O, no
// clock, no random numbers: the same commands give the equal state, from the beginning or from any snapshot.
// One thread.
//
//   decide (grant_decision, lease_fsm, placement) -> Check -> Journal::Append -> Apply
#pragma once

#include <nlohmann/json.hpp>
#include <string>

#include "common/base/status.h"
#include "scheduler/state/command.h"
#include "scheduler/state/state_types.h"

namespace penstock {

class ClusterState {
 public:
  // Whether Apply would take it. kInternal for what a correct caller never makes; the message names command
  // and thing.
  Status Check(const Command& command) const;
  // `at_ms`: since 1970, when it was made; 0: not known.
  Status Apply(const Command& command, int64_t at_ms = 0);
  // At most so many of the latest; where states are copied with every command, they cost more than the rest.
  void KeepEvents(size_t most) { most_events_ = most; }

  const StateData& data() const { return data_; }
  nlohmann::json ToJson() const { return data_; }
  // kDataLoss when it is not the JSON of a state.
  static Result<ClusterState> FromJson(nlohmann::json json);

  // nullptr: there is none.
  const NodeRecord* FindNode(NodeId id) const;
  const NodeRecord* FindNode(NodeRole role, const std::string& name) const;
  const TableSpec* FindTable(const std::string& name) const;
  const JobRecord* FindJob(JobId id) const;

  // No producer below it is used any more.
  ProducerId ForgetFloor() const;
  // Producers of partitions that are done, of passes that are not over: all their minibatches are logged on
  // all copies, and a rewind would have them run again. What rewinds makes this empty, in the same command.
  const ProducerRanges& complete_producers() const { return complete_; }
  bool AnyQuarantined() const;

 private:
  Status CheckIt(const BeginTerm&) const;
  Status CheckIt(const RegisterNode&) const;
  Status CheckIt(const PlaceShards&) const;
  Status CheckIt(const RecordLsns&) const;
  Status CheckIt(const GrantShards&) const;
  Status CheckIt(const QuarantineShards&) const;
  Status CheckIt(const AcceptLoss&) const;
  Status CheckIt(const SetCopies&) const;
  Status CheckIt(const AddCopies&) const;
  Status CheckIt(const DropCopies&) const;
  Status CheckIt(const ChangeCopies&) const;
  Status CheckIt(const ConfirmEpochs&) const;
  Status CheckIt(const DrainNode&) const;
  static Status CheckIt(const SetBalance&) { return Status::Ok(); }
  Status CheckIt(const StartMoves&) const;
  Status CheckIt(const FenceShards&) const;
  Status CheckIt(const EndMoves&) const;
  Status CheckIt(const CreateTable&) const;
  Status CheckIt(const DropTable&) const;
  Status CheckIt(const AllocateProducers&) const;
  Status CheckIt(const SubmitJob&) const;
  Status CheckIt(const LeasePartitions&) const;
  Status CheckIt(const RecordProgress&) const;
  Status CheckIt(const FinishPartition&) const;
  Status CheckIt(const FreeLeases&) const;
  Status CheckIt(const AdvanceJob&) const;
  Status CheckIt(const OpenStreams&) const;
  Status CheckIt(const CommitRound&) const;
  Status CheckIt(const FinishStreams&) const;
  Status CheckIt(const PauseJob&) const;
  Status CheckIt(const EndJob&) const;
  Status CheckIt(const RemoveJobs&) const;
  Status CheckIt(const RemoveNode&) const;

  // Each after its CheckIt; none can fail.
  void Do(const BeginTerm&);
  void Do(const RegisterNode&);
  void Do(const PlaceShards&);
  void Do(const RecordLsns&);
  void Do(const GrantShards&);
  void Do(const QuarantineShards&);
  void Do(const AcceptLoss&);
  void Do(const SetCopies&);
  void Do(const AddCopies&);
  void Do(const DropCopies&);
  void Do(const ChangeCopies&);
  void Do(const ConfirmEpochs&);
  void Do(const DrainNode&);
  void Do(const SetBalance&);
  void Do(const StartMoves&);
  void Do(const FenceShards&);
  void Do(const EndMoves&);
  void Do(const CreateTable&);
  void Do(const DropTable&);
  void Do(const AllocateProducers&);
  void Do(const SubmitJob&);
  void Do(const LeasePartitions&);
  void Do(const RecordProgress&);
  void Do(const FinishPartition&);
  void Do(const FreeLeases&);
  void Do(const AdvanceJob&);
  void Do(const OpenStreams&);
  void Do(const CommitRound&);
  void Do(const FinishStreams&);
  void Do(const PauseJob&);
  void Do(const EndJob&);
  void Do(const RemoveJobs&);
  void Do(const RemoveNode&);

  Status CheckShard(ShardId shard) const;
  Status CheckPlaced(ShardId shard) const;
  Status CheckServer(NodeId node) const;
  Status CheckGrant(const ShardGrantRecord& grant) const;
  Status CheckChange(const ChangeCopies::Change& change) const;
  Status CheckMove(const StartMoves::Move& move) const;
  Status CheckRounds(JobId job) const;
  Status CheckLease(JobId job, uint32_t partition, LeaseToken token) const;
  Status CheckNewTable(const TableSpec& spec, TableId expected) const;
  void Grant(const ShardGrantRecord& grant, uint64_t session);
  // To its primary, of whom it is known that nobody else has more.
  void GrantAlone(const ShardGrantRecord& grant, uint64_t session);
  void Quarantine(const ShardQuarantine& quarantine);
  void RaiseLsns(const ShardLsns& lsns);
  static void KeepFormer(ShardRecord& shard, const ChangeCopies::Change& change);
  static void ForgetFormer(ShardRecord& shard, NodeId node);
  static void SettleMove(ShardRecord& shard, int64_t at_ms);
  void AddTable(const TableSpec& spec);
  void EraseTable(TableId id);
  void RewindJobs();
  void FreePartition(PartitionRecord& partition);
  void FreeLeasesOf(NodeId node);
  void Progress(const LeaseProgressRecord& progress);
  // Keeps what the present pass or phase has brought, and retires its producers.
  void CloseStretch(JobRecord& job);
  void OpenStretch(JobRecord& job);
  void KeepEvaluation(JobRecord& job, const std::vector<PassMetrics>& evaluated, const std::string& stopped);
  void EndPause(JobRecord& job, int64_t at_ms);
  void SetDone(PartitionRecord& partition);
  void FinishProducer(ProducerId id);
  void PruneFinished();

  size_t most_events_ = kMostEvents;
  StateData data_;
  ProducerRanges complete_;  // follows from data_
};

}  // namespace penstock
