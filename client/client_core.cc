// ClientCore: its wiring, the first map, flush, and who hears what is logged.
#include "client/client_core.h"

#include <glog/logging.h>

#include <algorithm>

#include "client/fold_operation.h"
#include "common/cluster/wire.h"

namespace penstock {
namespace {

constexpr uint64_t kMapTimeoutMs = 2000;  // of one question for the shard map

std::string Listed(const std::vector<ShardId>& shards) {
  std::string text;
  for (size_t i = 0; i < std::min<size_t>(shards.size(), 8); ++i)
    text += (i ? ", " : "") + std::to_string(shards[i]);
  return shards.size() > 8 ? text + " and " + std::to_string(shards.size() - 8) + " more" : text;
}

}  // namespace

ClientCore::ClientCore(KjLoop& loop, std::shared_ptr<ClusterIdentity> identity, const ClientOptions& options)
    : loop_(loop), options_(options), tasks_(new kj::TaskSet(*this)) {
  ConnectionOptions connection_options;
  connection_options.connect_timeout_ms = options.connect_timeout_ms;
  connections_ = std::make_unique<ConnectionCache>(loop_, std::move(identity), connection_options);
  scheduler_ = std::make_unique<SchedulerLink>(loop_, *connections_, options.scheduler);
  map_ = std::make_unique<MapKeeper>(loop_, *scheduler_, MapFsmOptions{},
                                     std::min(kMapTimeoutMs, options.attempt_timeout_ms));
  dispatcher_ = std::make_unique<Dispatcher>(
      loop_, *connections_, *map_, DispatchOptions{.max_inflight_bytes = options.max_inflight_bytes},
      options.attempt_timeout_ms, [this](std::span<const UnitPosition> positions) { LogSeen(positions); });
}

ClientCore::~ClientCore() {
  dispatcher_->Cancel();
  // Connections first: with them go the messages, which refer to what the operations hold; then whatever
  // waits for an answer.
  connections_.reset();
  tasks_.reset();
  dispatcher_.reset();
}

void ClientCore::taskFailed(kj::Exception&& e) {
  LOG(ERROR) << loop_.name() << ": " << e.getDescription().cStr();
}

kj::Promise<Result<bool>> ClientCore::LoadMap(uint64_t deadline_ms) {
  const uint64_t begin = NowMs();
  return map_->Load().then([this, deadline_ms, begin](Status&& status) -> kj::Promise<Result<bool>> {
    if (status.ok() && map_->map().size() > 0) return Result<bool>(true);
    if (status.ok()) status = Unavailable("the scheduler has no shard map yet");
    const bool again = status.code() == Code::kUnavailable || status.code() == Code::kDeadlineExceeded ||
                       status.code() == Code::kCancelled;
    const uint64_t spent = NowMs() - begin + 50;
    if (!again) return Result<bool>(status);
    // One that was there and did not answer is told from one that was not.
    const bool silent = status.code() == Code::kDeadlineExceeded;
    if (spent >= deadline_ms) return Result<bool>(silent ? status : Unavailable(status.message()));
    return loop_.Sleep(50).then([this, left = deadline_ms - spent] { return LoadMap(left); });
  });
}

void ClientCore::LogSeen(std::span<const UnitPosition> positions) {
  for (const UnitPosition& position : positions) log_.Observe(position);
  std::erase_if(jobs_, [&](const std::weak_ptr<Producer>& weak) {
    const auto producer = weak.lock();
    if (producer != nullptr)
      producer->With([&](ProducerWindow& window) {
        for (const UnitPosition& at : positions) window.Observe(at);
      });
    return producer == nullptr;
  });
}

void ClientCore::Pull(BucketedBatch batch, PullPlaces out, uint64_t deadline_ms, Completion<bool> done) {
  dispatcher_->Start(
      std::make_shared<PullOperation>(deadline_ms, std::move(batch), std::move(out), std::move(done)));
}

void ClientCore::Push(std::shared_ptr<Producer> producer, Sequence sequence, BucketedBatch batch,
                      std::vector<std::span<float>> out, const PushOptions& options,
                      Completion<PushResult> done) {
  const uint64_t id = next_push_++;
  pushes_.insert(id);
  Completion<PushResult> ended([this, id, done = std::move(done)](Result<PushResult> result) mutable {
    PushEnded(id);
    done(std::move(result));
  });
  dispatcher_->Start(std::make_shared<PushOperation>(options, std::move(batch), std::move(out),
                                                     std::move(producer), sequence, std::move(ended)));
}

void ClientCore::PushEnded(uint64_t push) {
  pushes_.erase(push);
  std::erase_if(drains_, [&](Drain& drain) {
    drain.pushes.erase(push);
    if (!drain.pushes.empty()) return false;
    drain.done->fulfill();
    return true;
  });
}

kj::Promise<Result<bool>> ClientCore::Drained(uint64_t deadline_ms) {
  if (pushes_.empty()) return Result<bool>(true);
  auto paf = kj::newPromiseAndFulfiller<void>();
  drains_.push_back({pushes_, kj::mv(paf.fulfiller)});
  auto drained = paf.promise.then([]() -> Result<bool> { return true; });
  auto late = loop_.Sleep(deadline_ms).then([deadline_ms]() -> Result<bool> {
    return DeadlineExceeded("flush: pushes that were begun before it are not answered within " +
                            std::to_string(deadline_ms) + " ms");
  });
  return drained.exclusiveJoin(kj::mv(late));
}

void ClientCore::Flush(uint64_t deadline_ms, Completion<bool> done) {
  const uint64_t begin = NowMs();
  Spawn("flush",
        Drained(deadline_ms)
            .then([this, begin, deadline_ms](Result<bool>&& drained) -> kj::Promise<Result<bool>> {
              if (!drained.ok()) return kj::mv(drained);
              const uint64_t spent = NowMs() - begin;
              return FlushLogs(deadline_ms > spent ? deadline_ms - spent : 1);
            }),
        std::move(done));
}

kj::Promise<Result<bool>> ClientCore::FlushLogs(uint64_t deadline_ms) {
  auto paf = kj::newPromiseAndFulfiller<Result<bool>>();
  Completion<bool> done(
      [fulfiller = std::make_shared<kj::Own<kj::PromiseFulfiller<Result<bool>>>>(kj::mv(paf.fulfiller))](
          Result<bool> result) { (*fulfiller)->fulfill(std::move(result)); });
  dispatcher_->Start(std::make_shared<FlushOperation>(deadline_ms, log_.Unlogged(), std::move(done)));
  return paf.promise.then([this](Result<bool>&& flushed) -> Result<bool> {
    const std::vector<ShardId> lost = log_.TakeLost();
    if (!flushed.ok() || lost.empty()) return std::move(flushed);
    return OutcomeUnknown(
        "flush: shards " + Listed(lost) +
        " were taken up again before they had logged everything that they had answered; it may be lost");
  });
}

template <typename Make>
void ClientCore::StartAtPrimaries(uint64_t deadline_ms, Make make) {
  const uint64_t begin = NowMs();
  tasks_->add(map_->Refresh().then([this, begin, deadline_ms, make = std::move(make)]() mutable {
    const uint64_t spent = NowMs() - begin;
    dispatcher_->Start(make(deadline_ms > spent ? deadline_ms - spent : 1));
  }));
}

void ClientCore::Fold(uint64_t deadline_ms, Completion<bool> done) {
  StartAtPrimaries(deadline_ms, [this, done = std::move(done)](uint64_t left_ms) mutable {
    return std::make_shared<FoldOperation>(left_ms, map_->map().size(), std::move(done));
  });
}

void ClientCore::CommitRound(RoundToCommit commit, uint64_t deadline_ms, Completion<bool> done) {
  dispatcher_->Start(std::make_shared<CommitRoundOperation>(deadline_ms, std::move(commit),
                                                            map_->map().size(), std::move(done)));
}

void ClientCore::Expire(ExpiryRun run, uint64_t deadline_ms, Completion<ExpiryReport> done) {
  dispatcher_->Start(
      std::make_shared<ExpireOperation>(deadline_ms, run, map_->map().size(), std::move(done)));
}

void ClientCore::Clocks(TableId table, uint64_t deadline_ms, Completion<std::vector<WorkerClock>> done) {
  StartAtPrimaries(deadline_ms, [this, table, done = std::move(done)](uint64_t left_ms) mutable {
    return std::make_shared<ClocksOperation>(left_ms, table, map_->map().size(), std::move(done));
  });
}

void ClientCore::Stats(std::vector<TableId> tables, uint64_t deadline_ms,
                       Completion<std::vector<TableStats>> done) {
  dispatcher_->Start(
      std::make_shared<StatsOperation>(deadline_ms, std::move(tables), map_->map().size(), std::move(done)));
}

}  // namespace penstock
