// CopyElection: who leads a shard whose primary is lost (rules 19 and 22). Pure.
#pragma once

#include <map>
#include <optional>
#include <string>

#include "scheduler/copies/copy_health.h"

namespace penstock {

struct Election {
  // At most one of them. Neither: the shard stays as it is.
  std::optional<ChangeCopies::Change> change;
  std::optional<ShardQuarantine> quarantine;
};

// A backup that could be promoted as it stands: the one with the most logged, then applied, then on the node
// with the fewest primaries (`primaries` counts them by node). Empty when there is none.
//
// Otherwise, if the shard is contested: once all candidates have been heard, the longest leads, or the shard
// is quarantined, when the longest holds less than was reported as logged or synced. A shard that is held
// after an accepted loss needs no more than one candidate that holds what was accepted.
Election ElectLeader(const CopyHealth& health, ShardId id, const std::map<NodeId, uint32_t>& primaries);

// The operator's word: of a contested shard, `node` leads although others have not been heard, or the shard
// is quarantined. kFailedPrecondition: it is not contested, or the node is no candidate, or was not heard.
Result<Election> ForceLeader(const CopyHealth& health, ShardId id, NodeId node);

// Of a contested shard, by an operator's word: the one to go on with, or an error when none was heard.
Result<Candidate> BestCandidate(const CopyHealth& health, ShardId id);

// Of a contested shard: what it waits for and what an operator can do.
std::string WhyContested(const CopyHealth& health, ShardId id);

}  // namespace penstock
