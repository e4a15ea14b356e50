// ClientCore: what a client has on its loop, put together in one place: connections, scheduler, shard map,
// dispatcher, and what it knows of its pushes.
//
// Made, used and destroyed on the loop's thread.
#pragma once

#include <kj/async.h>

#include <memory>
#include <set>
#include <string>
#include <vector>

#include "client/client_types.h"
#include "client/data_operations.h"
#include "client/dispatcher.h"
#include "client/expire_operation.h"
#include "client/log_tracker.h"
#include "client/map_keeper.h"
#include "client/producer.h"
#include "client/round_operations.h"
#include "common/cluster/scheduler_link.h"
#include "common/net/rpc_status.h"

namespace penstock {

class ClientCore : private kj::TaskSet::ErrorHandler {
 public:
  ClientCore(KjLoop& loop, std::shared_ptr<ClusterIdentity> identity, const ClientOptions& options);
  // Everything pending completes with kCancelled.
  ~ClientCore();

  KjLoop& loop() { return loop_; }
  SchedulerLink& scheduler() { return *scheduler_; }
  MapKeeper& map() { return *map_; }

  // The first map: tried again until the deadline, except when the scheduler refuses us.
  kj::Promise<Result<bool>> LoadMap(uint64_t deadline_ms);
  void Pull(BucketedBatch batch, PullPlaces out, uint64_t deadline_ms, Completion<bool> done);
  // The producer has begun `sequence`; options.deadline_ms is not 0.
  void Push(std::shared_ptr<Producer> producer, Sequence sequence, BucketedBatch batch,
            std::vector<std::span<float>> out, const PushOptions& options, Completion<PushResult> done);
  void Flush(uint64_t deadline_ms, Completion<bool> done);
  void Fold(uint64_t deadline_ms, Completion<bool> done);
  void CommitRound(RoundToCommit commit, uint64_t deadline_ms, Completion<bool> done);
  void Expire(ExpiryRun run, uint64_t deadline_ms, Completion<ExpiryReport> done);
  void Clocks(TableId table, uint64_t deadline_ms, Completion<std::vector<WorkerClock>> done);
  void Stats(std::vector<TableId> tables, uint64_t deadline_ms, Completion<std::vector<TableStats>> done);
  // From now on the producer hears what is logged.
  void Attach(std::weak_ptr<Producer> producer) { jobs_.push_back(std::move(producer)); }

  // A question to the scheduler that may be repeated: asked again until the deadline while the scheduler
  // cannot be reached.
  template <typename T, typename Make, typename Read>
  kj::Promise<Result<T>> Ask(std::string what, Make make, Read read, uint64_t deadline_ms,
                             uint64_t back_off_ms = 10);
  // One that may not: only connecting is tried again. kOutcomeUnknown when it was sent and not answered.
  template <typename T, typename Make, typename Read>
  kj::Promise<Result<T>> AskOnce(std::string what, Make make, Read read, uint64_t deadline_ms);
  std::string Waits(uint64_t for_ms) const { return dispatcher_->Waits(for_ms); }
  // Runs the promise to `done`, which gets kCancelled if the core goes first.
  template <typename T>
  void Spawn(std::string what, kj::Promise<Result<T>> promise, Completion<T> done);

 private:
  struct Drain {  // a flush that waits for the pushes before it
    std::set<uint64_t> pushes;
    kj::Own<kj::PromiseFulfiller<void>> done;
  };

  // Of calls that name no epoch: a server that served a shard before would take them as well, so that the map
  // is looked at first.
  template <typename Make>
  void StartAtPrimaries(uint64_t deadline_ms, Make make);
  void LogSeen(std::span<const UnitPosition> positions);
  void PushEnded(uint64_t push);
  kj::Promise<Result<bool>> Drained(uint64_t deadline_ms);
  kj::Promise<Result<bool>> FlushLogs(uint64_t deadline_ms);
  uint64_t NowMs() {
    return static_cast<uint64_t>((loop_.timer().now() - kj::origin<kj::TimePoint>()) / kj::MILLISECONDS);
  }
  void taskFailed(kj::Exception&& e) override;

  KjLoop& loop_;
  const ClientOptions options_;
  std::unique_ptr<ConnectionCache> connections_;
  std::unique_ptr<SchedulerLink> scheduler_;
  LogTracker log_;
  std::vector<std::weak_ptr<Producer>> jobs_;
  uint64_t next_push_ = 0;
  std::set<uint64_t> pushes_;  // in flight
  std::vector<Drain> drains_;
  std::unique_ptr<MapKeeper> map_;
  std::unique_ptr<Dispatcher> dispatcher_;
  std::unique_ptr<kj::TaskSet> tasks_;
};

template <typename T, typename Make, typename Read>
kj::Promise<Result<T>> ClientCore::Ask(std::string what, Make make, Read read, uint64_t deadline_ms,
                                       uint64_t back_off_ms) {
  const uint64_t begin = NowMs();
  const uint64_t attempt_ms = std::min(deadline_ms, options_.attempt_timeout_ms);
  return scheduler_->Call(what, attempt_ms, make)
      .then([this, what, make, read, deadline_ms, back_off_ms,
             begin](auto&& answer) mutable -> kj::Promise<Result<T>> {
        if (answer.ok()) return Result<T>(read(*answer));
        const Code code = answer.status().code();
        const uint64_t spent = NowMs() - begin + back_off_ms;
        const bool again =
            code == Code::kUnavailable || code == Code::kDeadlineExceeded || code == Code::kCancelled;
        if (!again || spent >= deadline_ms) return Result<T>(answer.status());
        return loop_.Sleep(back_off_ms)
            .then([this, what, make, read, left = deadline_ms - spent, back_off_ms]() mutable {
              return Ask<T>(std::move(what), std::move(make), std::move(read), left,
                            std::min<uint64_t>(back_off_ms * 2, 500));
            });
      });
}

template <typename T, typename Make, typename Read>
kj::Promise<Result<T>> ClientCore::AskOnce(std::string what, Make make, Read read, uint64_t deadline_ms) {
  const uint64_t begin = NowMs();
  // A harmless question first: it finds the scheduler, however long that takes.
  return LoadMap(deadline_ms)
      .then([this, what, make, read, deadline_ms,
             begin](Result<bool>&& reached) mutable -> kj::Promise<Result<T>> {
        if (!reached.ok()) return Result<T>(reached.status().Prepend(what));
        return scheduler_->Get().then(
            [this, what, make, read, deadline_ms, begin](auto&& scheduler) mutable -> kj::Promise<Result<T>> {
              if (!scheduler.ok()) return Result<T>(scheduler.status().Prepend(what));
              const uint64_t spent = NowMs() - begin;
              const uint64_t left = deadline_ms > spent ? deadline_ms - spent : 1;
              auto request = make(*scheduler);
              auto sent = request.send();
              using Response = decltype(sent.wait(std::declval<kj::WaitScope&>()));
              return WithDeadline<Response>(loop_.timer(), left, kj::mv(sent), what)
                  .then([what, read](Result<Response>&& answer) mutable -> Result<T> {
                    if (!answer.ok())
                      return OutcomeUnknown(answer.status().message() + "; it may have been done");
                    const Status status = ReadStatus(answer->getStatus());
                    if (!status.ok()) return status.Prepend(what);
                    return read(*answer);
                  });
            });
      });
}

template <typename T>
void ClientCore::Spawn(std::string what, kj::Promise<Result<T>> promise, Completion<T> done) {
  auto shared = std::make_shared<Completion<T>>(std::move(done));
  tasks_->add(promise.then(
      [shared](Result<T>&& result) { (*shared)(std::move(result)); },
      [shared, what](kj::Exception&& e) { (*shared)(Internal(what + ": " + e.getDescription().cStr())); }));
}

}  // namespace penstock
