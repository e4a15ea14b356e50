// Clusters for tests of rebalance plans: how they are made, how a move changes them, and what is measured.
#pragma once

#include <algorithm>
#include <cmath>
#include <map>
#include <random>
#include <set>
#include <string>
#include <vector>

#include "common/base/strings.h"
#include "scheduler/copies/rebalance.h"

namespace penstock {

inline RebalanceServer* FindServer(RebalanceInput* input, NodeId id) {
  for (RebalanceServer& server : input->servers) {
    if (server.id == id) return &server;
  }
  return nullptr;
}
inline RebalanceShard* FindShard(RebalanceInput* input, ShardId id) {
  for (RebalanceShard& shard : input->shards) {
    if (shard.id == id) return &shard;
  }
  return nullptr;
}
inline bool Holds(const RebalanceShard& shard, NodeId node) {
  return shard.primary == node ||
         std::any_of(shard.others.begin(), shard.others.end(),
                     [node](const RebalanceCopy& copy) { return copy.node == node; });
}

// Whether the move is possible as the cluster is, and does what it says.
inline std::string WhyImpossible(const RebalanceShard& shard, const RebalanceMove& move) {
  if (!Holds(shard, move.from)) return StrCat("shard ", shard.id, " has no copy on ", move.from);
  if (move.kind == MoveKind::kCopy) return Holds(shard, move.to) ? "the target has a copy" : "";
  if (shard.primary != move.from) return "it hands over a lead that it has not";
  for (const RebalanceCopy& copy : shard.others) {
    if (copy.node == move.to) return copy.in_sync ? "" : "the target is being seeded";
  }
  return "the target has no copy";
}

inline void Perform(const RebalanceMove& move, RebalanceShard* shard) {
  const bool leads = shard->primary == move.from;
  if (move.kind == MoveKind::kLead) {
    std::erase_if(shard->others, [&](const RebalanceCopy& copy) { return copy.node == move.to; });
    shard->others.push_back({.node = move.from});
  } else if (!leads) {
    std::erase_if(shard->others, [&](const RebalanceCopy& copy) { return copy.node == move.from; });
    shard->others.push_back({.node = move.to});
  }
  if (leads) shard->primary = move.to;
}

inline std::vector<NodeId> Nodes(const RebalanceShard& shard) {
  std::vector<NodeId> nodes = {shard.primary};
  for (const RebalanceCopy& copy : shard.others) nodes.push_back(copy.node);
  return nodes;
}

inline std::map<NodeId, double> BytesOf(const RebalanceInput& input) {
  std::map<NodeId, double> bytes;
  for (const RebalanceServer& server : input.servers) bytes[server.id] = 0;
  for (const RebalanceShard& shard : input.shards) {
    for (const NodeId node : Nodes(shard)) bytes[node] += static_cast<double>(shard.bytes);
  }
  return bytes;
}

inline std::map<NodeId, double> LoadOf(const RebalanceInput& input) {
  std::map<NodeId, double> load;
  for (const RebalanceServer& server : input.servers) load[server.id] = 0;
  for (const RebalanceShard& shard : input.shards) load[shard.primary] += shard.load;
  return load;
}

inline std::map<NodeId, uint64_t> LargestOf(const RebalanceInput& input) {
  std::map<NodeId, uint64_t> largest;
  for (const RebalanceShard& shard : input.shards) {
    for (const NodeId node : Nodes(shard)) largest[node] = std::max(largest[node], shard.bytes);
  }
  return largest;
}

}  // namespace penstock
