// LogTracker: per shard, what this client was told about its pushes and about the log, so that Flush knows
// whom to ask. Pure.
#pragma once

#include <algorithm>
#include <map>
#include <utility>
#include <vector>

#include "common/base/ids.h"

namespace penstock {

class LogTracker {
 public:
  // An answer or a map named the shard in this epoch. `told`: the lsn of a unit that was answered (0: none);
  // `logged`: as answered (0: not said). Older epochs than the known one are looked at only for a unit that
  // is not logged: that one may be lost.
  void Observe(ShardId id, Epoch epoch, Lsn told, Lsn logged) {
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
    for (const auto& [id, shard] : shards_) {
      if (shard.told > shard.logged) ids.push_back(id);
    }
    return ids;
  }

  // Shards that began a new epoch while something was unlogged, since the last time this was asked.
  std::vector<ShardId> TakeLost() {
    std::vector<ShardId> ids;
    for (auto& [id, shard] : shards_) {
      if (std::exchange(shard.lost, false)) ids.push_back(id);
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
  std::map<ShardId, Shard> shards_;
};

}  // namespace penstock
