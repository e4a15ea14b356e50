#include "server/node/base_compactor.h"

#include <glog/logging.h>

#include <utility>

namespace penstock {
namespace {

constexpr uint64_t kEntriesADeletion = 8;

}  // namespace

BaseCompactor::BaseCompactor(BaseStore& base, ServerMetrics& metrics)
    : base_(base), metrics_(metrics), thread_([this] { Main(); }) {}

BaseCompactor::~BaseCompactor() {
  cancel_ = true;
  {
    std::lock_guard lock(mutex_);
    stopping_ = true;
  }
  wake_.notify_all();
  thread_.join();
}

void BaseCompactor::Look() {
  {
    std::lock_guard lock(mutex_);
    look_ = true;
  }
  wake_.notify_all();
}

void BaseCompactor::Main() {
  std::unique_lock lock(mutex_);
  while (true) {
    wake_.wait(lock, [this] { return look_ || stopping_; });
    if (stopping_) return;
    look_ = false;
    lock.unlock();
    LookOnce();
    lock.lock();
  }
}

void BaseCompactor::LookOnce() {
  const auto entries = base_.CountEntries();
  if (!entries.ok()) {
    LOG(ERROR) << "compaction: " << entries.status().ToString();
    return;
  }
  if (entries->deletions == 0 || entries->deletions * kEntriesADeletion < entries->all) return;
  const uint64_t before = base_.DiskBytes();
  const Status compacted = base_.Compact(cancel_);
  if (cancel_) return;
  if (!compacted.ok()) {
    LOG(ERROR) << "compaction: " << compacted.ToString();
    return;
  }
  metrics_.compactions++;
  LOG(INFO) << "compaction of the base: " << entries->deletions << " of " << entries->all
            << " entries were deletions; " << before << " bytes became " << base_.DiskBytes();
}

}  // namespace penstock
