// MapFsm: the shard map that a client goes by, and when it is looked at again. Pure: answers and times
// (milliseconds of a clock that only rises) in, decisions out; map_keeper.h performs them.
//
// One look at a time. Looks that change nothing follow each other after min_back_off_ms at first and
// max_back_off_ms in the end.
//
//   Want -> pause -> LookBegins -> ask the scheduler -> Take -> LookEnds
#pragma once

#include <cstdint>
#include <optional>

#include "common/base/status.h"
#include "common/cluster/shard_map.h"

namespace penstock {

struct MapFsmOptions {
  uint64_t min_back_off_ms = 10;
  uint64_t max_back_off_ms = 500;
};

class MapFsm {
 public:
  explicit MapFsm(const MapFsmOptions& options) : options_(options) {}

  const ShardMap& map() const { return map_; }
  const ShardEntry& entry(ShardId shard) const { return map_.shards[shard]; }
  // Why the last look failed; ok if it did not.
  const Status& last_error() const { return last_error_; }
  // How many looks have ended.
  uint64_t looks() const { return looks_; }

  // Somebody wants a look. A look is to begin after so many ms; nullopt: one is on its way, or will be.
  std::optional<uint64_t> Want(uint64_t now_ms);
  // Now. Who wants one from here on wants a newer one than this.
  void LookBegins() { wanted_ = false; }
  // The next one, which somebody wants already, is to begin after so many ms; nullopt: nobody does.
  std::optional<uint64_t> LookEnds(Status status, uint64_t now_ms);

  // A map has arrived. False: a later one is known. kInternal: it is none of this cluster.
  Result<bool> Take(ShardMap map);
  // A server said that it knows this epoch of the shard. Lower ones than ours are ignored.
  void Adopt(ShardId shard, Epoch epoch);

 private:
  uint64_t Pause(uint64_t now_ms);

  const MapFsmOptions options_;
  ShardMap map_;
  Status last_error_;
  uint64_t looks_ = 0;
  bool looking_ = false;  // or about to
  bool wanted_ = false;   // another look, after the present one
  bool changed_ = false;  // by the present look
  uint64_t back_off_ms_ = 0;
  uint64_t last_look_ms_ = 0;
};

}  // namespace penstock
