// MapKeeper: one look at a time, with back-off.
#include "client/map_keeper.h"

#include <glog/logging.h>

#include <algorithm>
#include <utility>

namespace penstock {

MapKeeper::MapKeeper(KjLoop& loop, SchedulerLink& scheduler, MapKeeperOptions options, EpochSeen epoch_seen)
    : loop_(loop),
      scheduler_(scheduler),
      options_(options),
      epoch_seen_(std::move(epoch_seen)),
      tasks_(*this) {}

MapKeeper::~MapKeeper() = default;

kj::Promise<Status> MapKeeper::Load() {
  const uint64_t known = map_.version;
  return scheduler_
      .Call("get the shard map", options_.call_timeout_ms,
            [known](proto::Scheduler::Client& s) {
              auto request = s.shardMapRequest();
              request.setKnownVersion(known);
              return request;
            })
      .then([this](auto&& answer) -> Status {
        if (!answer.ok()) return answer.status();
        if (!answer->hasMap()) return Status::Ok();
        auto map = ReadShardMap(answer->getMap());
        if (!map.ok()) return map.status();
        if (map_.size() != 0 && map->size() != map_.size()) {
          return Internal("the scheduler's map has " + std::to_string(map->size()) +
                          " shards, before it had " + std::to_string(map_.size()));
        }
        Take(std::move(*map));
        return Status::Ok();
      });
}

kj::Promise<void> MapKeeper::Refresh() {
  auto paf = kj::newPromiseAndFulfiller<void>();
  waiting_.push_back(kj::mv(paf.fulfiller));
  if (!looking_) Look();
  return kj::mv(paf.promise);
}

void MapKeeper::Look() {
  looking_ = true;
  // Quiet for a second: whatever was waited for has come.
  if (loop_.timer().now() - last_look_ > 1 * kj::SECONDS + options_.max_back_off_ms * kj::MILLISECONDS)
    back_off_ms_ = 0;
  auto pause = back_off_ms_ == 0 ? kj::Promise<void>(kj::READY_NOW) : loop_.Sleep(back_off_ms_);
  tasks_.add(pause.then([this] {
    const uint64_t before = map_.version;
    // Who asks from now on wants a newer look than this one.
    auto asked =
        std::make_shared<std::vector<kj::Own<kj::PromiseFulfiller<void>>>>(std::exchange(waiting_, {}));
    return Load().then([this, before, asked](Status&& status) {
      last_error_ = status;
      last_look_ = loop_.timer().now();
      back_off_ms_ = map_.version != before
                         ? options_.min_back_off_ms
                         : std::clamp(back_off_ms_ * 2, options_.min_back_off_ms, options_.max_back_off_ms);
      looking_ = false;
      for (auto& fulfiller : *asked) fulfiller->fulfill();
      if (!waiting_.empty()) Look();
    });
  }));
}

void MapKeeper::Adopt(ShardId shard, Epoch epoch) {
  ShardEntry& entry = map_.shards[shard];
  if (epoch <= entry.epoch) return;
  entry.epoch = epoch;
  epoch_seen_(shard, epoch);
}

void MapKeeper::Take(ShardMap map) {
  // A map in flight may be older than one that has arrived.
  if (map.term < map_.term || (map.term == map_.term && map.version < map_.version)) return;
  for (ShardId shard = 0; shard < map_.size(); ++shard) {
    // Servers may know of a grant before the map that names it arrives here.
    const Epoch known = map_.shards[shard].epoch;
    if (map.shards[shard].epoch > known) {
      epoch_seen_(shard, map.shards[shard].epoch);
    } else {
      map.shards[shard].epoch = known;
    }
  }
  map_ = std::move(map);
  auto layout = std::make_shared<const ShardLayout>(map_);
  std::lock_guard lock(mutex_);
  layout_ = std::move(layout);
}

std::shared_ptr<const ShardLayout> MapKeeper::layout() const {
  std::lock_guard lock(mutex_);
  return layout_;
}

void MapKeeper::taskFailed(kj::Exception&& e) {
  // Load turns every failure into a Status, so this is a broken invariant; those who wait must not hang on
  // it.
  LOG(ERROR) << "shard map: " << e.getDescription().cStr();
  looking_ = false;
  for (auto& fulfiller : std::exchange(waiting_, {})) fulfiller->fulfill();
}

}  // namespace penstock
