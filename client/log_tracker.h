// LogTracker: per shard, what this client was told about its pushes and about the log, so that Flush knows
// whom to ask. Pure.
#pragma once

#include <algorithm>
#include <utility>
#include <vector>

#include "client/producer_window.h"
#include "common/base/ids.h"

namespace penstock {

class LogTracker {
 public:
  // What an answer or a map said. Older epochs than the known one are looked at only for a unit that is not
  // logged: that one may be lost.
  void Observe(const UnitPosition& position) {
    const auto [id, epoch, told, logged] = position;
    if (id >= shards_.size()) shards_.resize(id + 1);
    Shard& shard = shards_[id];
    if (epoch > shard.epoch) {
      if (shard.told > shard.logged) shard.lost = true;
      shard = {.epoch = epoch, .lost = shard.lost};
    }
    if (epoch < shard.epoch) {
      if (told > logged) shard.lost = true;
      return;
    }
    shard.told = std::max(shard.told, told);
    shard.logged = std::max(shard.logged, logged);
  }

  // Shards with something answered that is not known to be logged.
  std::vector<ShardId> Unlogged() const {
    std::vector<ShardId> ids;
    for (ShardId id = 0; id < shards_.size(); ++id) {
      if (shards_[id].told > shards_[id].logged) ids.push_back(id);
    }
    return ids;
  }

  // Shards that began a new epoch while something was unlogged, since the last time this was asked.
  std::vector<ShardId> TakeLost() {
    std::vector<ShardId> ids;
    for (ShardId id = 0; id < shards_.size(); ++id) {
      if (std::exchange(shards_[id].lost, false)) ids.push_back(id);
    }
    return ids;
  }

 private:
  struct Shard {
    Epoch epoch = 0;
    Lsn told = 0;
    Lsn logged = 0;
    bool lost = false;
  };
  std::vector<Shard> shards_;
};

}  // namespace penstock
