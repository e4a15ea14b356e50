// The queue of BlockingThread.
#include "server/node/blocking_thread.h"

#include <pthread.h>

namespace penstock {

BlockingThread::~BlockingThread() {
  {
    std::lock_guard lock(mutex_);
    stopping_ = true;
  }
  wake_.notify_all();
  thread_.join();
  *alive_ = false;
}

void BlockingThread::Submit(std::unique_ptr<Job> job) {
  const uint64_t number = next_++;
  {
    std::lock_guard lock(mutex_);
    queue_.emplace_back(number, job.get());
  }
  jobs_.emplace(number, std::move(job));
  wake_.notify_one();
}

void BlockingThread::Main() {
  pthread_setname_np(pthread_self(), "base-reads");
  std::unique_lock lock(mutex_);
  for (;;) {
    wake_.wait(lock, [this] { return stopping_ || !queue_.empty(); });
    if (stopping_) return;
    const auto [number, job] = queue_.front();
    queue_.pop_front();
    lock.unlock();
    job->Execute();
    loop_.Post([this, number = number, alive = alive_] {
      if (!*alive) return;
      const auto found = jobs_.find(number);
      const std::unique_ptr<Job> done = std::move(found->second);
      jobs_.erase(found);
      done->Finish();
    });
    lock.lock();
  }
}

}  // namespace penstock
