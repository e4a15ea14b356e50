#include "server/node/log_appender.h"

#include <glog/logging.h>

namespace penstock {

LogAppender::LogAppender(DeltaLog& log, ServerMetrics& metrics)
    : log_(log), metrics_(metrics), appender_([this] { AppendLoop(); }), syncer_([this] { SyncLoop(); }) {}

LogAppender::~LogAppender() {
  {
    std::lock_guard lock(mutex_);
    stopping_ = true;
  }
  wake_appender_.notify_all();
  appender_.join();
  {
    std::lock_guard lock(mutex_);
    appender_done_ = true;
  }
  wake_syncer_.notify_all();
  syncer_.join();
}

void LogAppender::Submit(WindowRecord window) {
  {
    std::lock_guard lock(mutex_);
    waiting_.push_back(std::move(window));
  }
  wake_appender_.notify_one();
}

Status LogAppender::Seal() {
  std::unique_lock lock(mutex_);
  seal_wanted_ = true;
  wake_appender_.notify_one();
  seal_done_.wait(lock, [&] { return !seal_wanted_ || stopping_; });
  return seal_wanted_ ? Cancelled("the log is closing") : seal_status_;
}

void LogAppender::AppendLoop() {
  std::unique_lock lock(mutex_);
  for (;;) {
    wake_appender_.wait(lock, [&] { return !waiting_.empty() || seal_wanted_ || stopping_; });
    if (!waiting_.empty()) {
      std::vector<WindowRecord> batch;
      batch.swap(waiting_);
      lock.unlock();
      Write(std::move(batch));
      lock.lock();
    } else if (stopping_) {
      seal_done_.notify_all();
      return;
    }
    if (seal_wanted_) {
      lock.unlock();
      Status sealed = log_.Seal();
      lock.lock();
      seal_status_ = std::move(sealed);
      seal_wanted_ = false;
      seal_done_.notify_all();
    }
  }
}

Status LogAppender::Admit(const WindowRecord& window, uint64_t generation) {
  if (window.recovery || window.generation == generation) return Status::Ok();
  std::lock_guard lock(mutex_);
  return failure_;
}

void LogAppender::Write(std::vector<WindowRecord> batch) {
  // Before anything is written: a sync that fails beside the write may be about the file that it goes to.
  const uint64_t generation = generation_;
  std::vector<LogRecord> records;
  std::vector<WindowRecord*> admitted;
  bool recovery = false;
  uint64_t bytes = 0;
  for (WindowRecord& window : batch) {
    const Status status = Admit(window, generation);
    if (!status.ok()) {
      window.logged(status);
      if (window.sync) window.synced(status);
      continue;
    }
    recovery |= window.recovery;
    admitted.push_back(&window);
    if (window.record.sections.empty()) continue;  // it waits for what was appended before
    for (const auto& section : window.record.sections) bytes += section.delta.size() * sizeof(capnp::word);
    records.push_back(std::move(window.record));
  }
  Status status;
  if (recovery && log_.failed()) status = log_.StartFreshSegment();
  if (status.ok() && !records.empty()) status = log_.Append(records);
  metrics_.log_bytes_written += bytes;
  metrics_.log_bytes = log_.Bytes();
  if (!status.ok()) SetFailure(status);
  // Told before they are handed to the syncer, so that no core hears of a sync before it has heard of the
  // write.
  for (WindowRecord* window : admitted) window->logged(status);
  std::unique_lock lock(mutex_);
  for (WindowRecord* window : admitted) {
    if (window->sync && status.ok()) sync_waiting_.push_back({generation, std::move(window->synced)});
  }
  const bool wake = !sync_waiting_.empty();
  lock.unlock();
  if (wake) wake_syncer_.notify_one();
  for (WindowRecord* window : admitted) {
    if (window->sync && !status.ok()) window->synced(status);
  }
}

void LogAppender::SetFailure(const Status& status) {
  std::lock_guard lock(mutex_);
  failure_ = status;
  ++generation_;
}

void LogAppender::SyncLoop() {
  std::unique_lock lock(mutex_);
  for (;;) {
    wake_syncer_.wait(lock, [&] { return !sync_waiting_.empty() || appender_done_; });
    if (sync_waiting_.empty()) return;
    std::vector<SyncWaiter> batch;
    batch.swap(sync_waiting_);
    lock.unlock();
    const Status status = log_.Sync();
    if (!status.ok()) SetFailure(status);
    lock.lock();
    // What was written before a failure lies in a file that this sync did not touch.
    const uint64_t generation = generation_;
    const Status failure = failure_;
    lock.unlock();
    for (auto& waiter : batch)
      waiter.done(!status.ok() || waiter.generation == generation ? status : failure);
    lock.lock();
  }
}

}  // namespace penstock
