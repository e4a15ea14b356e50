// PushClocks: the clocks that pushes into one table carried, and by how much any worker was ever ahead: the
// evidence of a bounded staleness, taken where pushes arrive.
//
// A worker's lead at a push is how far its clock is above the latest one of a worker that has pushed before.
// A worker between two leases holds nobody back and does not count; that it was away shows in its next push,
// whose clock is then not its next one (it comes back at the minimum of the others) or never comes. So a lead
// counts only once the slower worker has gone on without a gap. Exact where every push of the workers reaches
// this core; where some do not, gaps look like absences and leads may be missed. Pure; owned by one thread.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <map>

#include "common/base/ids.h"

namespace penstock {

class PushClocks {
 public:
  // Pairs of them are kept, and their ids are what pushes say: of further ones nothing is noted.
  static constexpr size_t kMostWorkers = 256;

  struct Worker {
    uint64_t clock = 0;  // the latest
    uint64_t lead = 0;   // the most that it was ever ahead
  };

  // The pieces of one push, and repeats of earlier ones, change nothing.
  void Push(NodeId worker, uint64_t clock) {
    const auto known = workers_.find(worker);
    if (known != workers_.end() && clock <= known->second.clock) return;
    if (known == workers_.end() && workers_.size() >= kMostWorkers) return;
    const bool gap = known == workers_.end() || clock > known->second.clock + 1;
    Settle(worker, gap);
    workers_[worker].clock = clock;
    for (const auto& [other, its] : workers_) {
      if (other == worker || its.clock >= clock) continue;
      uint64_t& lead = pending_[other][worker];
      lead = std::max(lead, clock - its.clock);
    }
  }

  const std::map<NodeId, Worker>& workers() const { return workers_; }

 private:
  // `slower` has pushed again: what was ahead of it meanwhile counts, unless it had been away.
  void Settle(NodeId slower, bool gap) {
    const auto ahead = pending_.find(slower);
    if (ahead == pending_.end()) return;
    for (const auto& [worker, lead] : ahead->second) {
      if (!gap) workers_[worker].lead = std::max(workers_[worker].lead, lead);
    }
    pending_.erase(ahead);
  }

  std::map<NodeId, Worker> workers_;
  std::map<NodeId, std::map<NodeId, uint64_t>>
      pending_;  // [slower][ahead of it]: since the slower's last push
};

}  // namespace penstock
