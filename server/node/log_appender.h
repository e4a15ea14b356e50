// LogAppender: the one thread of a server that writes the delta log, and the one beside it that syncs.
//
// Cores submit their closed windows from their own threads; the appender takes all that wait and appends them
// by one write, so a write starts when the one before it has returned. Windows that ask for it are then
// synced by the second thread: a slow fsync delays the pushes that wait for it, not the next write. Callbacks
// run on these threads and only post. After a failed write or sync the log's generation rises, and every
// window of an older generation is refused with the failure, until recovery windows (core.h) have been
// appended to a fresh segment and synced (rule 8).
#pragma once

#include <absl/functional/any_invocable.h>

#include <atomic>
#include <condition_variable>
#include <mutex>
#include <thread>
#include <vector>

#include "server/node/server_metrics.h"
#include "server/storage/delta_log.h"

namespace penstock {

struct WindowRecord {
  LogRecord record;
  uint64_t generation = 0;  // of the log, as the core knows it
  bool recovery = false;    // everything unclean of the core: welcome in any generation
  bool sync = false;        // somebody waits for `synced`
  // Each is called once; `synced` only if `sync`.
  absl::AnyInvocable<void(const Status&)> logged;
  absl::AnyInvocable<void(const Status&)> synced;
};

class LogAppender {
 public:
  LogAppender(DeltaLog& log, ServerMetrics& metrics);
  ~LogAppender();  // writes and syncs what waits, ends the threads

  void Submit(WindowRecord window);
  // Seals the open segment between two writes and returns; on the fold's thread.
  Status Seal();
  uint64_t generation() const { return generation_; }

 private:
  struct SyncWaiter {
    uint64_t generation;  // in which the append of its window began
    absl::AnyInvocable<void(const Status&)> done;
  };

  void AppendLoop();
  void SyncLoop();
  void Write(std::vector<WindowRecord> batch);
  Status Admit(const WindowRecord& window, uint64_t generation);
  void SetFailure(const Status& status);

  DeltaLog& log_;
  ServerMetrics& metrics_;
  std::atomic<uint64_t> generation_{1};
  std::mutex mutex_;
  std::condition_variable wake_appender_, wake_syncer_, seal_done_;
  std::vector<WindowRecord> waiting_;  // guarded by mutex_, like what follows
  std::vector<SyncWaiter> sync_waiting_;
  Status failure_;  // what made the current generation
  bool seal_wanted_ = false;
  Status seal_status_;
  bool stopping_ = false;
  bool appender_done_ = false;
  std::thread appender_, syncer_;
};

}  // namespace penstock
