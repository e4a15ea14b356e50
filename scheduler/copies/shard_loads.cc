#include "scheduler/copies/shard_loads.h"

#include <cmath>

namespace penstock {
namespace {

// Of what is known, that comes from the last `ms`.
double Share(int64_t ms) { return -std::expm1(-static_cast<double>(ms) / ShardLoads::kSmoothMs); }

}  // namespace

void ShardLoads::OnHeartbeat(NodeId node, const std::vector<ShardLine>& lines, int64_t now_ms) {
  for (const ShardLine& line : lines) {
    if (line.epoch == 0) continue;  // it serves it to nobody
    const auto [found, fresh] = entries_.try_emplace(line.shard);
    Entry& entry = found->second;
    if (fresh) entry.first_ms = now_ms;
    // Another server, or another life of it, counts from 0 on.
    const bool goes_on = entry.node == node && line.served_rows >= entry.served_rows;
    const int64_t passed = now_ms - entry.at_ms;
    if (goes_on && passed < kLeastMs) continue;
    if (goes_on) {
      const double seconds = static_cast<double>(passed) / 1000;
      const double now = static_cast<double>(line.served_rows - entry.served_rows) / seconds;
      entry.rate += (now - entry.rate) * Share(passed);
    }
    entry.node = node;
    entry.served_rows = line.served_rows;
    entry.at_ms = now_ms;
  }
}

double ShardLoads::Of(ShardId shard) const {
  const auto it = entries_.find(shard);
  if (it == entries_.end()) return 0;
  const Entry& entry = it->second;
  const int64_t known = entry.at_ms - entry.first_ms;
  return known <= 0 ? 0 : entry.rate / Share(known);
}

}  // namespace penstock
