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
  // What an answer said. Older epochs than the known one are looked at only for a unit that is not logged:
  // that one may be lost. A later one counts only if the answer says what is held.
  void Observe(const UnitPosition& position) {
    const auto [id, epoch, told, logged, held] = position;
    if (id >= shards_.size()) shards_.resize(id + 1);
    Shard& shard = shards_[id];
    const bool unlogged = shard.told > shard.logged;
    if (epoch > shard.epoch) {
      if (held.since == 0 && unlogged) return;
      const Lsn kept = unlogged ? std::min(shard.told, held.UpTo(shard.epoch)) : 0;
      const bool lost = shard.lost || (unlogged && kept < shard.told);
      shard = {.epoch = epoch, .held = held, .told = kept, .lost = lost};
    }
    if (epoch < shard.epoch) {
      if (told <= logged) return;
      if (!shard.held.Holds(epoch, told)) {
        shard.lost = true;
        return;
      }
    }
    shard.told = std::max(shard.told, told);
    if (epoch == shard.epoch) shard.logged = std::max(shard.logged, logged);
  }

  // Shards with something answered that is not known to be logged.
  std::vector<ShardId> Unlogged() const {
    std::vector<ShardId> ids;
    for (ShardId id = 0; id < shards_.size(); ++id) {
      if (shards_[id].told > shards_[id].logged) ids.push_back(id);
    }
    return ids;
  }

  // Shards that may have lost something answered before it was logged, since the last time this was asked.
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
    HeldBefore held;  // in this epoch
    Lsn told = 0;
    Lsn logged = 0;
    bool lost = false;
  };
  std::vector<Shard> shards_;
};

}  // namespace penstock
