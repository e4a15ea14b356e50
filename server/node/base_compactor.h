// BaseCompactor: the thread that gives back the disk space of deleted rows: after a fold it looks how much of
// the base is deletions, and has RocksDB merge them with what they delete when it is an eighth.
//
// RocksDB's own compactions go by the size of its levels, and a file of deletions is small.
#pragma once

#include <atomic>
#include <condition_variable>
#include <mutex>
#include <thread>

#include "server/node/server_metrics.h"
#include "server/storage/base_store.h"

namespace penstock {

class BaseCompactor {
 public:
  BaseCompactor(BaseStore& base, ServerMetrics& metrics);
  ~BaseCompactor();  // stops a compaction half-way; what it has not done is left for the next

  // Any thread; returns at once.
  void Look();

 private:
  void Main();
  void LookOnce();

  BaseStore& base_;
  ServerMetrics& metrics_;
  std::mutex mutex_;
  std::condition_variable wake_;
  bool look_ = true;       // guarded by mutex_; at the start, too
  bool stopping_ = false;  // guarded by mutex_
  std::atomic<bool> cancel_{false};
  std::thread thread_;
};

}  // namespace penstock
