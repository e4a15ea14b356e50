// BlockingThread: one thread beside a loop, for calls that may wait for the disk; they run one after another.
//
// Everything here but the calls themselves happens on the loop's thread. A call may use only what it owns and
// what is safe on any thread.
#pragma once

#include <kj/async.h>

#include <condition_variable>
#include <deque>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <thread>
#include <utility>

#include "common/net/kj_loop.h"

namespace penstock {

class BlockingThread {
 public:
  explicit BlockingThread(KjLoop& loop) : loop_(loop), thread_([this] { Main(); }) {}
  // Waits for the call that runs; those that wait are dropped, and their promises fail.
  ~BlockingThread();

  // Resolves on the loop with what `call` returns; promises resolve in the order of the calls.
  template <typename Call>
  auto Run(Call call) -> kj::Promise<decltype(call())> {
    auto paf = kj::newPromiseAndFulfiller<decltype(call())>();
    auto job = std::make_unique<JobOf<Call>>(std::move(call));
    job->fulfiller = kj::mv(paf.fulfiller);
    Submit(std::move(job));
    return kj::mv(paf.promise);
  }

 private:
  struct Job {
    virtual ~Job() noexcept(false) = default;
    virtual void Execute() = 0;  // on the thread
    virtual void Finish() = 0;   // on the loop
  };
  template <typename Call>
  struct JobOf final : Job {
    using Value = decltype(std::declval<Call>()());
    explicit JobOf(Call c) : call(std::move(c)) {}
    void Execute() override { value.emplace(call()); }
    void Finish() override { fulfiller->fulfill(std::move(*value)); }
    Call call;
    std::optional<Value> value;
    kj::Own<kj::PromiseFulfiller<Value>> fulfiller;
  };

  void Submit(std::unique_ptr<Job> job);
  void Main();

  KjLoop& loop_;
  uint64_t next_ = 0;
  std::map<uint64_t, std::unique_ptr<Job>> jobs_;               // submitted and not finished
  std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);  // false for what comes back too late
  std::mutex mutex_;
  std::condition_variable wake_;
  std::deque<std::pair<uint64_t, Job*>> queue_;  // guarded by mutex_
  bool stopping_ = false;                        // guarded by mutex_
  std::thread thread_;                           // last
};

}  // namespace penstock
