// ShardLoads: how many rows a second are pushed to and pulled from each shard, smoothed over half a minute.
//
// From counters that servers send with their heartbeats. Pure: times are passed in.
#pragma once

#include <map>
#include <vector>

#include "scheduler/copies/grant_decision.h"

namespace penstock {

class ShardLoads {
 public:
  void OnHeartbeat(NodeId node, const std::vector<ShardLine>& lines, int64_t now_ms);
  // Rows/s; 0 of a shard that nobody has served yet.
  double Of(ShardId shard) const;

  static constexpr int64_t kSmoothMs = 30'000;

 private:
  struct Entry {
    NodeId node = 0;  // whose counter it is
    uint64_t served_rows = 0;
    int64_t first_ms = 0, at_ms = 0;
    double rate = 0;  // as if there had been nothing before the first
  };
  // A rate over less says nothing: a few pushes are in it.
  static constexpr int64_t kLeastMs = 200;

  std::map<ShardId, Entry> entries_;
};

}  // namespace penstock
