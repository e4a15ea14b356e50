// GrantDecision: what a server that comes (back) may serve, from what it holds and what it once reported
// (rules 20 and 22). Pure.
#pragma once

#include <string>
#include <vector>

#include "scheduler/cluster_state.h"

namespace penstock {

// What a server says of one shard (proto::ShardReport).
struct ShardLine {
  ShardId shard = 0;
  Incarnation incarnation = 0;
  Epoch epoch = 0;  // 0: it serves it in none
  Lsn applied = 0, logged = 0, synced = 0;
  uint32_t core = 0;
  uint64_t rows = 0, bytes = 0;
  std::string damage;
  bool operator==(const ShardLine&) const = default;
};

struct GrantDecision {
  std::vector<ShardLsns> lsns;
  std::vector<ShardGrantRecord> grants;
  std::vector<ShardQuarantine> quarantines;
};

// For each shard that `node` owns: quarantined when the server reports damage or holds less than it reported
// as logged or synced (nothing at all counts as lsn 0); otherwise granted in the next epoch, with lsns above
// any that was reported. A line of another incarnation is an earlier life of the shard and counts as nothing.
// A shard that is held after an accepted loss is neither.
GrantDecision DecideGrants(const ClusterState& state, NodeId node, const std::string& name,
                           const std::vector<ShardLine>& lines);

// The epoch after the shard's present one.
ShardGrantRecord NextGrant(ShardId id, const ShardRecord& shard);

}  // namespace penstock
