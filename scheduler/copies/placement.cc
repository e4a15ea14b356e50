#include "scheduler/copies/placement.h"

namespace penstock {

std::vector<NodeId> PlaceEvenly(uint32_t shards, const std::vector<NodeId>& servers) {
  std::vector<NodeId> owners(shards);
  for (uint32_t shard = 0; shard < shards; ++shard) {
    // Neighbours go together: a server's shards are one stretch of the hash space.
    owners[shard] = servers[static_cast<uint64_t>(shard) * servers.size() / shards];
  }
  return owners;
}

}  // namespace penstock
