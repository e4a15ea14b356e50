// Placement: which server gets which shard of a new cluster. A pure function.
#pragma once

#include <cstdint>
#include <vector>

#include "common/base/ids.h"

namespace penstock {

// The owner of each shard, 0 .. shards-1: every server gets shards/servers of them, or one more. `servers` is
// not empty.
std::vector<NodeId> PlaceEvenly(uint32_t shards, const std::vector<NodeId>& servers);

}  // namespace penstock
