// The integer names of things, as they stand in memory, on the wire and on disk.
#pragma once

#include <cstdint>

namespace penstock {

using TableId = uint32_t;      // never reused; 0 is no table
using ShardId = uint32_t;      // 0 .. S-1
using NodeId = uint32_t;       // from the scheduler, kept in the node's data directory; 0 is none
using Epoch = uint64_t;        // how often a shard's ownership changed; 0 is never owned
using Lsn = uint64_t;          // counts a shard's deltas; the first is 1
using Incarnation = uint64_t;  // distinguishes lives of a shard on a node; cluster-wide unique, rising
using ProducerId = uint64_t;   // from the scheduler in rising order; 0 is none
using Sequence = uint64_t;     // of a producer's pushes
using Key = uint64_t;          // of a row

}  // namespace penstock
