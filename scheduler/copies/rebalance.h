// Rebalance: which copies of shards go from which server to which, so that draining servers get empty, the
// copies of a shard stand apart, and bytes and load are even (rule 39). A pure function of plain values.
//
//   PlanAll -> all moves to the target, for --dry-run and --explain
//   NextMoves -> those of them that may start now; when one has ended, it is called again
//
// What is wanted, the first first:
//   1. servers that are drained hold nothing;
//   2. the copies of a shard are on different hosts, and in different zones, as far as servers allow;
//   3. no server has much more or less than its share of the bytes, by `capacity`;
//   4. nor of the load, by `cores`: leads are handed over first, because that moves no bytes.
// A later aim never costs an earlier one. Within these, few bytes move.
//
// A plan is the difference between the present placement and one at which no move is worth while any more.
// Therefore a plan that was carried out is followed by an empty one, and equal inputs, in whatever order,
// have equal plans.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "common/base/ids.h"

namespace penstock {

struct RebalanceServer {
  NodeId id = 0;
  std::string name = {};  // for reasons; empty: "server-" and the id
  std::string host = {};  // empty: one of its own
  std::string zone = {};  // empty: none; then it shares none with others
  uint32_t cores = 1;     // weight of its share of the load; 0 counts as 1
  double capacity = 1.0;  // weight of its share of the bytes; what is not above 0 counts as 1
  bool draining = false;
  bool able = true;  // it lives: copies can go to it, and away from it
};

struct RebalanceCopy {
  NodeId node = 0;
  bool in_sync = true;  // otherwise it is being seeded: it stays, and does not lead
};

struct RebalanceShard {
  ShardId id = 0;
  uint64_t bytes = 0;  // in all 0 count as 1, so that the empty shards of a new cluster are spread, too
  double load = 0;     // rows/s pushed to and pulled from its primary, smoothed
  NodeId primary = 0;
  std::vector<RebalanceCopy> others = {};
  bool pinned = false;   // it cannot be moved now; one with more copies than wanted is not moved, either
  int64_t moved_ms = 0;  // when its last move ended; 0: never
};

enum class MoveKind : uint8_t {
  kCopy = 0,  // a copy, with its bytes; the lead goes with it when `from` has that
  kLead = 1,  // the primary's role, to a server that has an in-sync copy already; no bytes
};

struct RebalanceMove {
  ShardId shard = 0;
  NodeId from = 0;
  NodeId to = 0;
  MoveKind kind = MoveKind::kCopy;
  uint64_t bytes = 0;
  bool drains = false;      // because `from` is drained
  std::string reason = {};  // for the operator: "server-3 is being drained"
};

// A move that has begun. The shard is planned with as if it had ended, whatever RebalanceShard says of it.
struct RebalanceFlight {
  ShardId shard = 0;
  NodeId from = 0;
  NodeId to = 0;
  MoveKind kind = MoveKind::kCopy;
};

struct RebalanceInput {
  std::vector<RebalanceServer> servers;  // in any order
  std::vector<RebalanceShard> shards;    // in any order
  std::vector<RebalanceFlight> in_flight;
  int64_t now_ms = 0;
};

// A server that has more than 1 + start of its share, or less than 1 - start, is brought to between 1 - stop
// and 1 + stop, as far as whole shards allow.
struct RebalanceHysteresis {
  double start = 0;
  double stop = 0;
};

struct RebalanceOptions {
  uint32_t copies = 1;  // of each shard, wanted
  // What a copy, and a primary, counts for beside its own: differences that are small against it are not
  // worth a move.
  uint64_t shard_bytes = 0;
  double shard_load = 0;
  RebalanceHysteresis bytes = {.start = 0.05, .stop = 0.03};
  RebalanceHysteresis load = {.start = 0.20,
                              .stop = 0.10};  // it changes by itself, so it is taken less exactly
  // No shard is moved twice within it, except away from servers that are drained.
  int64_t cooldown_ms = 10 * 60 * 1000;
  // In flight at a time. A move counts at both of its servers.
  uint32_t max_copies = 16;
  uint32_t max_copies_per_node = 2;
  uint32_t max_leads = 16;
  uint32_t max_leads_per_node = 4;
};

struct ServerSummary {
  NodeId node = 0;
  std::string name;
  uint64_t bytes_before = 0, bytes_after = 0;
  double load_before = 0, load_after = 0;
  uint32_t copies_before = 0, copies_after = 0;
  uint32_t primaries_before = 0, primaries_after = 0;
};

// Of the servers that may take copies: what the fullest and the emptiest have, as parts of their share.
struct Imbalance {
  double highest_bytes = 1, lowest_bytes = 1;
  double highest_load = 1, lowest_load = 1;
};

// A shard that stays on a server that is drained.
struct NotDrained {
  ShardId shard = 0;
  NodeId node = 0;
  std::string why;
};

struct RebalanceSummary {
  std::vector<ServerSummary> servers;  // by id
  Imbalance before, after;
  uint64_t moved_bytes = 0;
  std::vector<std::string> notes;  // what no plan can do better: a shard that alone is too hot or too large
};

struct RebalancePlan {
  // In the order in which they should start. A shard may have two, then the later one waits for the earlier.
  std::vector<RebalanceMove> moves;
  std::vector<NotDrained> not_drained;
  RebalanceSummary summary;
};

// All moves, whatever is in flight.
RebalancePlan PlanAll(const RebalanceInput& input, const RebalanceOptions& options);

// Those of PlanAll that the limits of moves in flight leave room for, at most one of a shard.
std::vector<RebalanceMove> NextMoves(const RebalanceInput& input, const RebalanceOptions& options);

}  // namespace penstock
