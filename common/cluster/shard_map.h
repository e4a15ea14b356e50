// ShardMap: which endpoint serves each shard, and in which epoch. A value; a newer version replaces the
// whole.
#pragma once

#include <string>
#include <vector>

#include "common/base/hash.h"
#include "common/base/ids.h"
#include "common/base/status.h"
#include "proto/control.capnp.h"

namespace penstock {

enum class ShardState : uint8_t {
  kUnplaced = 0,
  kGranting = 1,
  kServing = 2,
  kUnavailable = 3,
  kQuarantined = 4
};
std::string_view ToString(ShardState);

struct ShardEntry {
  Epoch epoch = 0;
  NodeId node = 0;
  std::string endpoint;  // "host:port"; empty while nobody serves it
  ShardState state = ShardState::kUnplaced;
  std::string detail;           // why it is not serving
  std::vector<NodeId> backups;  // with the copies that are in sync, beside the primary
  bool operator==(const ShardEntry&) const = default;
};

struct ShardMap {
  uint64_t version = 0;
  uint64_t term = 0;
  std::vector<ShardEntry> shards;

  uint32_t size() const { return static_cast<uint32_t>(shards.size()); }
};

void WriteShardMap(const ShardMap& map, proto::ShardMap::Builder out);
// InvalidArgument unless the number of shards is a power of two, 2 to 65536.
Result<ShardMap> ReadShardMap(proto::ShardMap::Reader in);

}  // namespace penstock
