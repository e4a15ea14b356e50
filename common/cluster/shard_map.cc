#include "common/cluster/shard_map.h"

#include <bit>

namespace penstock {

std::string_view ToString(ShardState state) {
  constexpr std::string_view kNames[] = {"unplaced", "granting", "serving", "unavailable", "quarantined"};
  return kNames[static_cast<size_t>(state)];
}

void WriteShardMap(const ShardMap& map, proto::ShardMap::Builder out) {
  out.setVersion(map.version);
  out.setTerm(map.term);
  auto shards = out.initShards(map.size());
  for (uint32_t i = 0; i < map.size(); ++i) {
    const ShardEntry& from = map.shards[i];
    auto to = shards[i];
    to.setShard(i);
    to.setEpoch(from.epoch);
    to.setNode(from.node);
    to.setEndpoint(from.endpoint);
    to.setState(static_cast<proto::ShardEntry::State>(from.state));
    to.setDetail(from.detail);
    auto backups = to.initBackups(static_cast<uint32_t>(from.backups.size()));
    for (uint32_t j = 0; j < backups.size(); ++j) backups.set(j, from.backups[j]);
  }
}

Result<ShardMap> ReadShardMap(proto::ShardMap::Reader in) {
  const auto shards = in.getShards();
  if (shards.size() < 2 || shards.size() > 65536 || !std::has_single_bit(shards.size())) {
    return InvalidArgument("shard map of " + std::to_string(shards.size()) +
                           " shards, allowed is a power of two from 2 to 65536");
  }
  ShardMap map{.version = in.getVersion(), .term = in.getTerm(), .shards = {}};
  map.shards.reserve(shards.size());
  for (auto from : shards) {
    if (static_cast<uint16_t>(from.getState()) > static_cast<uint16_t>(ShardState::kQuarantined)) {
      return InvalidArgument("shard map: a state that this version does not know");
    }
    map.shards.push_back({.epoch = from.getEpoch(),
                          .node = from.getNode(),
                          .endpoint = from.getEndpoint().cStr(),
                          .state = static_cast<ShardState>(from.getState()),
                          .detail = from.getDetail().cStr(),
                          .backups = {}});
    for (NodeId node : from.getBackups()) map.shards.back().backups.push_back(node);
  }
  return map;
}

}  // namespace penstock
