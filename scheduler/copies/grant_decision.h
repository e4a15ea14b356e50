// GrantDecision: what a server that comes (back) may serve, from what it holds and what it once reported
// (rules 20 and 22). Pure.
#pragma once

#include <string>
#include <vector>

#include "scheduler/state/cluster_state.h"

namespace penstock {

// What a primary says of one of its backups (proto::BackupReport).
struct BackupLine {
  NodeId node = 0;
  Incarnation incarnation = 0;
  bool caught_up = false;
  std::string failed;  // not empty: it must be seeded again, and why
  uint64_t seeded_bytes = 0, behind_bytes = 0;
};

// What a server says of one shard (proto::ShardReport).
struct ShardLine {
  ShardId shard = 0;
  Incarnation incarnation = 0;
  Epoch epoch = 0;  // 0: it serves it in none
  Lsn applied = 0, logged = 0, synced = 0;
  uint32_t core = 0;
  uint64_t rows = 0, bytes = 0;
  std::string damage;
  Epoch seen = 0;         // the highest that this copy knows of
  bool complete = false;  // its seed has ended
  std::vector<BackupLine> backups;
  uint64_t served_rows = 0;  // pushed to and pulled from it since this server began to hold it
  Epoch fenced =
      0;  // of a primary that has put all that it has into deltas, and takes nothing new (ShardGrant)
  uint32_t delay_ms = 0;  // of answers to pushes, so that a copy catches up
};

struct GrantDecision {
  std::vector<ShardLsns> lsns;
  std::vector<ShardGrantRecord> grants;
  std::vector<ShardQuarantine> quarantines;
};

// For each shard that `node` owns: quarantined when the server reports damage or holds less than it reported
// as logged or synced (nothing at all counts as lsn 0); otherwise granted in the next epoch, with lsns above
// any that was reported. A line of another incarnation is an earlier life of the shard and counts as nothing.
// A shard that is held after an accepted loss waits for its grant, and is quarantined again when the server
// holds less than was accepted. One that others could lead, backups or (unless this server outranks
// them all) former members, is neither: who leads that is decided in copy_election.h, where all of them are
// looked at. Only its lsns are kept from given again.
GrantDecision DecideGrants(const ClusterState& state, NodeId node, const std::string& name,
                           const std::vector<ShardLine>& lines);

// The epoch after the shard's present one.
ShardGrantRecord NextGrant(ShardId id, const ShardRecord& shard);

}  // namespace penstock
