// KjLoop: a thread with a KJ event loop, and the only way for other threads to reach it.
//
// Everything that is made on a loop (promises, capabilities, connections) belongs to that loop's thread.
// Other threads call Post, which hands over a closure through a mutex and wakes the loop by an eventfd. libkj
// is not instrumented for TSan, so no other way of crossing threads (kj::Executor, cross-thread fulfillers)
// is used: the mutex here is what TSan can see.
//
// A loop may spin: for `spin_us` microseconds after its last task or message it looks for the next one again
// and again before it sleeps. That saves the time of waking it, takes a processor meanwhile, and costs an
// idle loop nothing.
#pragma once

#include <absl/functional/any_invocable.h>
#include <kj/async-io.h>
#include <kj/async-unix.h>

#include <atomic>
#include <deque>
#include <future>
#include <memory>
#include <mutex>
#include <string>
#include <thread>

#include "common/base/status.h"

namespace penstock {

class KjLoop {
 public:
  using Task = absl::AnyInvocable<void()>;

  // Starts the thread; returns when the loop runs. 0: it never spins.
  explicit KjLoop(std::string name, uint64_t spin_us = 0);
  ~KjLoop() noexcept;  // Stop(). Said, because kj's own destructors may throw
  KjLoop(const KjLoop&) = delete;
  KjLoop& operator=(const KjLoop&) = delete;

  // Any thread. Tasks run on the loop in the order of their posting. After Stop they are destroyed unrun.
  void Post(Task task);

  // Any thread but the loop's: runs fn on the loop and waits for what it returns.
  template <typename Fn>
  auto Run(Fn fn) -> decltype(fn()) {
    std::promise<decltype(fn())> done;
    auto future = done.get_future();
    Post([&] {
      if constexpr (std::is_void_v<decltype(fn())>) {
        fn();
        done.set_value();
      } else {
        done.set_value(fn());
      }
    });
    return future.get();
  }

  // Any thread but the loop's: waits until the loop has run all that is ready, and what that has made ready.
  // What these would use may be destroyed after it.
  void Settle();

  // Runs `tasks` that are waiting, then ends the thread. What loop-owned objects there are must be destroyed
  // before (by Run).
  void Stop();

  const std::string& name() const { return name_; }
  bool OnLoop() const { return std::this_thread::get_id() == thread_.get_id(); }

  // The following: on the loop's thread only.
  kj::AsyncIoContext& io() { return *io_; }
  kj::Timer& timer() { return io_->provider->getTimer(); }
  // Milliseconds of the timer, which only rise.
  uint64_t NowMs() {
    return static_cast<uint64_t>((timer().now() - kj::origin<kj::TimePoint>()) / kj::MILLISECONDS);
  }
  // Runs a promise that nobody waits for; a failure is logged as `what`.
  void Detach(kj::Promise<void> promise, std::string what);
  // Resolves after `ms` milliseconds.
  kj::Promise<void> Sleep(uint64_t ms) { return timer().afterDelay(ms * kj::MILLISECONDS); }
  // A message has come, so that more may be near: spins, where it may.
  void NoteMessage() {
    if (spin_us_ > 0) work_->fulfill();
  }

 private:
  void Main(std::promise<void>& ready);
  void Wake();
  kj::Promise<void> Watch(kj::UnixEventPort::FdObserver& wake);
  void AwaitWork();
  bool Spin(kj::Promise<void>& work);
  void Drain();

  const std::string name_;
  const uint64_t spin_us_;
  int wake_fd_ = -1;
  std::mutex mutex_;
  std::deque<Task> queue_;            // guarded by mutex_
  bool stopping_ = false;             // guarded by mutex_
  bool asleep_ = true;                // guarded by mutex_: who posts next must write to wake_fd_
  std::atomic<bool> posted_ = false;  // a task or the end, for a loop that spins
  kj::AsyncIoContext* io_ = nullptr;  // the loop's thread only, like what follows
  kj::TaskSet* tasks_ = nullptr;
  kj::Own<kj::PromiseFulfiller<void>> work_;  // ends AwaitWork
  std::thread thread_;
};

}  // namespace penstock
