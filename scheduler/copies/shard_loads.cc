#include "scheduler/copies/shard_loads.h"

#include <cmath>

namespace penstock {

void ShardLoads::OnHeartbeat(NodeId node, const std::vector<ShardLine>& lines, int64_t now_ms) {
  for (const ShardLine& line : lines) {
    if (line.epoch == 0) continue;  // it serves it to nobody
    Entry& entry = entries_[line.shard];
    // Another server, or another life of it, counts from 0 on.
    const bool goes_on = entry.node == node && line.served_rows >= entry.served_rows;
    const int64_t passed = now_ms - entry.at_ms;
    if (goes_on && passed < kLeastMs) continue;
    if (goes_on) {
      const double seconds = static_cast<double>(passed) / 1000;
      const double now = static_cast<double>(line.served_rows - entry.served_rows) / seconds;
      entry.rate += (now - entry.rate) * -std::expm1(-static_cast<double>(passed) / kSmoothMs);
    }
    entry.node = node;
    entry.served_rows = line.served_rows;
    entry.at_ms = now_ms;
  }
}

double ShardLoads::Of(ShardId shard) const {
  const auto it = entries_.find(shard);
  return it == entries_.end() ? 0 : it->second.rate;
}

}  // namespace penstock
