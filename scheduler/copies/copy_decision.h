// CopyDecision: what the copies of all shards shall become, from the journal and from what nodes said last
// (rules 18 to 22). Pure.
//
//   DecideCopies (this; copy_election.h where a primary is lost) -> commands -> CommittedState::Commit
//
// Repeating it after its commands were committed decides the next step: a shard changes its in-sync copies by
// one epoch at a time, and the primary confirms one before the next. Only what is broken leaves at once,
// because pushes wait for it.
#pragma once

#include "scheduler/copies/copy_election.h"
#include "scheduler/copies/move_decision.h"

namespace penstock {

struct CopyOptions {
  // Copies that a node receives at a time. All on a link share what may be on its way (ReplicationOptions),
  // so that more of them cost no memory, and hide the steps that wait for the scheduler.
  uint32_t max_seeding = 16;
};

struct CopyDecision {
  ConfirmEpochs confirm;
  ChangeCopies change;
  DropCopies drop;
  AddCopies add;
  QuarantineShards quarantine;
  FenceShards fence;
  EndMoves end;
  std::vector<EndMoves::Move> given_up;  // fences, by `change`; to be said
  uint32_t signs_wanted = 0;             // copies and leaders of which the next sign of some node may decide
};

// `now_ms`: of a clock that only rises; `wall_ms`: since 1970.
CopyDecision DecideCopies(const ClusterState& state, const NodeTable& nodes, int64_t now_ms, int64_t wall_ms,
                          const CopyOptions& options);

// Of a shard with a copy on a drained server, and which does not move: why; empty: it will, or has none
// there.
std::string WhyNotDrained(const CopyHealth& health, ShardId id);

// A server that is to end holds nothing, or nothing that another one could take or lead.
bool MayLeave(const CopyHealth& health, NodeId node);

// Of a placed shard with fewer in-sync copies than wanted: what it waits for.
std::string WhyFewCopies(const CopyHealth& health, ShardId id);

}  // namespace penstock
