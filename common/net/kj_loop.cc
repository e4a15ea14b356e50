#include "common/net/kj_loop.h"

#include <glog/logging.h>
#include <pthread.h>
#include <signal.h>
#include <sys/eventfd.h>
#include <unistd.h>

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

KjLoop::KjLoop(std::string name) : name_(std::move(name)), wake_fd_(eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC)) {
  CHECK_GE(wake_fd_, 0) << "eventfd";
  std::promise<void> ready;
  auto started = ready.get_future();
  thread_ = std::thread([this, &ready] { Main(ready); });
  started.wait();
}

KjLoop::~KjLoop() {
  Stop();
  close(wake_fd_);
}

void KjLoop::Post(Task task) {
  {
    std::lock_guard lock(mutex_);
    if (stopping_) return;
    queue_.push_back(std::move(task));
    if (queue_.size() > 1) return;  // the loop was woken for the first one and drains all
  }
  const uint64_t one = 1;
  [[maybe_unused]] ssize_t n = write(wake_fd_, &one, sizeof one);
}

void KjLoop::Stop() {
  {
    std::lock_guard lock(mutex_);
    stopping_ = true;
  }
  const uint64_t one = 1;
  [[maybe_unused]] ssize_t n = write(wake_fd_, &one, sizeof one);
  if (thread_.joinable()) thread_.join();
}

void KjLoop::Drain() {
  uint64_t count;
  [[maybe_unused]] ssize_t n = read(wake_fd_, &count, sizeof count);
  std::deque<Task> batch;
  {
    std::lock_guard lock(mutex_);
    batch.swap(queue_);
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
    ready.set_value();
    bool stop = false;
    while (!stop) {
      observer.whenBecomesReadable().wait(io.waitScope);
      Drain();
      std::lock_guard lock(mutex_);
      stop = stopping_ && queue_.empty();
    }
  }
  tasks_ = nullptr;
  io_ = nullptr;
}

void KjLoop::Detach(kj::Promise<void> promise, std::string what) {
  tasks_->add(promise.catch_([this, what = std::move(what)](kj::Exception&& e) {
    LOG(WARNING) << name_ << ": " << what << ": " << e.getDescription().cStr();
  }));
}

}  // namespace penstock
