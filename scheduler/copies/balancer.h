// Balancer: which shards move by themselves, and when: away from drained servers at once, and to even out
// bytes and load when the servers have been the same for a while (rule 39).
//
//   journal and reports -> InputOf -> rebalance.h, the plan -> Next: the moves of it that start now
//
// Pure: times are passed in. One thread.
#pragma once

#include <cstdint>
#include <set>
#include <string>
#include <utility>

#include "scheduler/copies/copy_health.h"
#include "scheduler/copies/rebalance.h"

namespace penstock {

struct BalanceOptions {
  // After servers have come or gone: one that restarts shall find its shards, and those that join together
  // shall share.
  int64_t delay_ms = 10'000;
  // Its `copies` are the cluster's. What is seeded takes what pushes need, so that few copies go at a time.
  RebalanceOptions plan = {.shard_bytes = 1 << 20, .shard_load = 1000, .max_copies_per_node = 4};
};

class Balancer {
 public:
  explicit Balancer(const BalanceOptions& options) : options_(options) {}

  // Call it about every 100 ms; it plans less often where there are many shards.
  StartMoves Next(const CopyHealth& health, int64_t wall_ms);
  // The operator's word: the whole plan is carried out now, also where balancing is off, and whatever has
  // moved before. Until nothing is left of it for a moment, Rest, or the scheduler's end.
  void Hurry(int64_t wall_ms) { hurried_ms_ = wall_ms, next_ms_ = 0, idle_since_ms_ = 0; }
  // Only what is drained moves on, or what balancing finds by itself.
  void Rest() { hurried_ms_ = 0; }
  bool hurries() const { return hurried_ms_ != 0; }
  // Why nothing but what is drained moves by itself now; empty: whatever is worth while does.
  std::string WaitsFor(const CopyHealth& health) const;
  // What Hurry would have done.
  RebalancePlan Plan(const CopyHealth& health, int64_t wall_ms) const;

 private:
  // Since the same servers have been there.
  void NoteServers(const CopyHealth& health);
  RebalanceOptions OptionsOf(const CopyHealth& health) const;

  const BalanceOptions options_;
  int64_t hurried_ms_ = 0;     // wall clock; 0: nothing is in a hurry
  int64_t idle_since_ms_ = 0;  // it found nothing to do; 0: it did
  int64_t next_ms_ = 0;
  std::set<std::pair<NodeId, uint64_t>> servers_;  // with their sessions
  int64_t since_ms_ = 0;
};

// The plan's view of a cluster. `wall_ms`: since 1970.
RebalanceInput InputOf(const CopyHealth& health, int64_t wall_ms);

}  // namespace penstock
