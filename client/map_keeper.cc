// MapKeeper: the calls to the scheduler, and who waits for them.
#include "client/map_keeper.h"

#include <glog/logging.h>

#include <utility>

namespace penstock {

MapKeeper::MapKeeper(KjLoop& loop, SchedulerLink& scheduler, const MapFsmOptions& options,
                     uint64_t call_timeout_ms)
    : loop_(loop), scheduler_(scheduler), call_timeout_ms_(call_timeout_ms), fsm_(options), tasks_(*this) {}

MapKeeper::~MapKeeper() = default;

kj::Promise<Status> MapKeeper::Load() {
  const uint64_t known = map().version;
  return scheduler_
      .Call("get the shard map", call_timeout_ms_,
            [known](proto::Scheduler::Client& s) {
              auto request = s.shardMapRequest();
              request.setKnownVersion(known);
              return request;
            })
      .then([this](auto&& answer) -> Status {
        if (!answer.ok()) return answer.status();
        if (!answer->hasMap()) return Status::Ok();
        auto map = ReadShardMap(answer->getMap());
        return map.ok() ? Take(std::move(*map)) : map.status();
      });
}

kj::Promise<void> MapKeeper::Refresh() {
  auto paf = kj::newPromiseAndFulfiller<void>();
  waiting_.push_back(kj::mv(paf.fulfiller));
  if (const auto pause_ms = fsm_.Want(loop_.NowMs())) LookAfter(*pause_ms);
  return kj::mv(paf.promise);
}

void MapKeeper::LookAfter(uint64_t pause_ms) {
  auto pause = pause_ms == 0 ? kj::Promise<void>(kj::READY_NOW) : loop_.Sleep(pause_ms);
  tasks_.add(pause.then([this] {
    fsm_.LookBegins();
    auto asked =
        std::make_shared<std::vector<kj::Own<kj::PromiseFulfiller<void>>>>(std::exchange(waiting_, {}));
    return Load().then([this, asked](Status&& status) {
      const auto again = fsm_.LookEnds(std::move(status), loop_.NowMs());
      for (auto& fulfiller : *asked) fulfiller->fulfill();
      if (again) LookAfter(*again);
    });
  }));
}

Status MapKeeper::Take(ShardMap map) {
  PENSTOCK_ASSIGN_OR_RETURN(const bool taken, fsm_.Take(std::move(map)));
  if (!taken) return Status::Ok();
  auto layout = std::make_shared<const ShardLayout>(fsm_.map());
  std::lock_guard lock(mutex_);
  layout_ = std::move(layout);
  return Status::Ok();
}

std::shared_ptr<const ShardLayout> MapKeeper::layout() const {
  std::lock_guard lock(mutex_);
  return layout_;
}

void MapKeeper::taskFailed(kj::Exception&& e) {
  // Load turns every failure into a Status, so this is a broken invariant; those who wait must not hang on
  // it.
  LOG(ERROR) << "shard map: " << e.getDescription().cStr();
  const auto again = fsm_.LookEnds(Internal(e.getDescription().cStr()), loop_.NowMs());
  for (auto& fulfiller : std::exchange(waiting_, {})) fulfiller->fulfill();
  if (again) LookAfter(*again);
}

}  // namespace penstock
