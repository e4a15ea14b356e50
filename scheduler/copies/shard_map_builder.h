// The shard map, from what is granted and what servers report. A pure function; versions are
// control_plane.h's.
#pragma once

#include <vector>

#include "common/cluster/shard_map.h"
#include "scheduler/copies/node_table.h"

namespace penstock {

// A shard serves when its owner's latest heartbeat reports the granted epoch, or an earlier one of the same
// grant: a change of its other copies interrupts nothing, and the entry names the epoch in which the owner
// answers. Entries depend on no time but through NodeTable::StateOf, so equal circumstances give equal
// entries.
std::vector<ShardEntry> BuildShardEntries(const ClusterState& state, const NodeTable& nodes, int64_t now_ms);

}  // namespace penstock
