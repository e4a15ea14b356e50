#include "common/net/kj_loop.h"

#include <glog/logging.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <chrono>
#include <utility>

namespace penstock {
namespace {

class LoggingErrorHandler : public kj::TaskSet::ErrorHandler {
 public:
  explicit LoggingErrorHandler(const std::string& loop) : loop_(loop) {}
  void taskFailed(kj::Exception&& e) override {
    LOG(WARNING) << loop_ << ": background task failed: " << e.getDescription().cStr();
  }

 private:
  const std::string& loop_;
};

}  // namespace

KjLoop::KjLoop(std::string name, uint64_t spin_us)
    : name_(std::move(name)), spin_us_(spin_us), wake_fd_(eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC)) {
  CHECK_GE(wake_fd_, 0) << "eventfd";
  std::promise<void> ready;
  auto started = ready.get_future();
  thread_ = std::thread([this, &ready] { Main(ready); });
  started.wait();
}

KjLoop::~KjLoop() noexcept {
  Stop();
  close(wake_fd_);
}

void KjLoop::Post(Task task) {
  {
    std::lock_guard lock(mutex_);
    if (stopping_) return;
    queue_.push_back(std::move(task));
    posted_ = true;
    if (!std::exchange(asleep_, false)) return;  // it spins, or was woken for an earlier task and drains all
  }
  Wake();
}

void KjLoop::Stop() {
  {
    std::lock_guard lock(mutex_);
    stopping_ = true;
    posted_ = true;
  }
  Wake();
  if (thread_.joinable()) thread_.join();
}

void KjLoop::Wake() {
  const uint64_t one = 1;
  [[maybe_unused]] ssize_t n = write(wake_fd_, &one, sizeof one);
}

kj::Promise<void> KjLoop::Watch(kj::UnixEventPort::FdObserver& wake) {
  return wake.whenBecomesReadable().then([this, &wake] {
    uint64_t count;
    [[maybe_unused]] ssize_t n = read(wake_fd_, &count, sizeof count);
    work_->fulfill();
    return Watch(wake);
  });
}

// Runs the loop until there is something to drain. A loop that may spin comes back after each message, too,
// and begins to spin anew.
void KjLoop::AwaitWork() {
  auto work = kj::newPromiseAndFulfiller<void>();
  work_ = kj::mv(work.fulfiller);
  if (spin_us_ > 0) {
    if (Spin(work.promise)) return;
    std::lock_guard lock(mutex_);
    if (posted_) return;
    asleep_ = true;
  }
  work.promise.wait(io_->waitScope);
}

// False: nothing has come for so long.
bool KjLoop::Spin(kj::Promise<void>& work) {
  using Clock = std::chrono::steady_clock;
  const auto end = Clock::now() + std::chrono::microseconds(spin_us_);
  do {
    if (work.poll(io_->waitScope) || posted_) return true;
    sched_yield();  // the thread that is waited for may be waiting for this processor
  } while (Clock::now() < end);
  return false;
}

void KjLoop::Settle() {
  std::promise<void> done;
  auto future = done.get_future();
  // A closure that is posted comes between events: one that is ready may follow it.
  Post([&] { Detach(kj::evalLast([&] { done.set_value(); }), "settle"); });
  future.wait();
}

void KjLoop::Drain() {
  std::deque<Task> batch;
  {
    std::lock_guard lock(mutex_);
    batch.swap(queue_);
    posted_ = stopping_;
    // A loop that does not spin only looks for tasks when it is woken.
    asleep_ = spin_us_ == 0;
  }
  for (auto& task : batch) task();
}

void KjLoop::Main(std::promise<void>& ready) {
  pthread_setname_np(pthread_self(), name_.substr(0, 15).c_str());
  // A peer that went away is an error of the write and not the end of the process, whatever the program does
  // with SIGPIPE.
  sigset_t pipe;
  sigemptyset(&pipe);
  sigaddset(&pipe, SIGPIPE);
  pthread_sigmask(SIG_BLOCK, &pipe, nullptr);
  auto io = kj::setupAsyncIo();
  LoggingErrorHandler errors(name_);
  {
    kj::TaskSet tasks(errors);
    kj::UnixEventPort::FdObserver observer(io.unixEventPort, wake_fd_,
                                           kj::UnixEventPort::FdObserver::OBSERVE_READ);
    io_ = &io;
    tasks_ = &tasks;
    auto watch = Watch(observer).eagerlyEvaluate(nullptr);
    ready.set_value();
    bool stop = false;
    while (!stop) {
      AwaitWork();
      Drain();
      std::lock_guard lock(mutex_);
      stop = stopping_ && queue_.empty();
    }
  }
  work_ = nullptr;
  tasks_ = nullptr;
  io_ = nullptr;
}

void KjLoop::Detach(kj::Promise<void> promise, std::string what) {
  tasks_->add(promise.catch_([this, what = std::move(what)](kj::Exception&& e) {
    LOG(WARNING) << name_ << ": " << what << ": " << e.getDescription().cStr();
  }));
}

}  // namespace penstock
