// MapFsm: which map counts, and the back-off between looks.
#include "client/map_fsm.h"

#include <algorithm>
#include <string>
#include <utility>

namespace penstock {

std::optional<uint64_t> MapFsm::Want(uint64_t now_ms) {
  wanted_ = true;
  if (std::exchange(looking_, true)) return std::nullopt;
  return Pause(now_ms);
}

uint64_t MapFsm::Pause(uint64_t now_ms) {
  // Quiet for a second: whatever was waited for has come.
  if (now_ms > last_look_ms_ + 1000 + options_.max_back_off_ms) back_off_ms_ = 0;
  changed_ = false;
  return back_off_ms_;
}

std::optional<uint64_t> MapFsm::LookEnds(Status status, uint64_t now_ms) {
  last_error_ = std::move(status);
  last_look_ms_ = now_ms;
  ++looks_;
  back_off_ms_ = changed_ ? options_.min_back_off_ms
                          : std::clamp(back_off_ms_ * 2, options_.min_back_off_ms, options_.max_back_off_ms);
  looking_ = wanted_;
  if (!looking_) return std::nullopt;
  return Pause(now_ms);
}

Result<bool> MapFsm::Take(ShardMap map) {
  if (map_.size() != 0 && map.size() != map_.size()) {
    return Internal("the scheduler's map has " + std::to_string(map.size()) + " shards, before it had " +
                    std::to_string(map_.size()));
  }
  // A map in flight may be older than one that has arrived.
  if (map.term < map_.term || (map.term == map_.term && map.version < map_.version)) return false;
  // Servers may know of a grant before the map that names it arrives here.
  for (ShardId shard = 0; shard < map_.size(); ++shard)
    map.shards[shard].epoch = std::max(map.shards[shard].epoch, map_.shards[shard].epoch);
  changed_ |= map.version != map_.version;
  map_ = std::move(map);
  return true;
}

void MapFsm::Adopt(ShardId shard, Epoch epoch) {
  ShardEntry& entry = map_.shards[shard];
  entry.epoch = std::max(entry.epoch, epoch);
}

}  // namespace penstock
