// FoldRunner: the thread that folds the log into the base when it has grown long enough (fold_policy.h) or a
// core wants it, and tells the cores what is folded.
#pragma once

#include <atomic>
#include <condition_variable>
#include <functional>
#include <map>
#include <mutex>
#include <thread>

#include "server/node/core.h"
#include "server/node/log_appender.h"
#include "server/storage/base_store.h"
#include "server/storage/fold.h"

namespace penstock {

class FoldRunner {
 public:
  struct Options {
    std::string log_dir;
    uint64_t cluster = 0;
    std::function<uint64_t()> fold_at;  // the log is folded when it has grown past it
    uint64_t segment_bytes = 0;         // of the log
    FoldOptions fold;
    QuarantinedLives quarantined;                // their segments are set aside, until EndQuarantine
    std::function<void(const Status&)> damaged;  // log or base is, as a fold has found; from its thread
    std::atomic<bool>* wanted = nullptr;         // set by cores; cleared before a fold that succeeds
  };
  using Folded = std::vector<std::pair<ShardId, FoldedPoint>>;

  FoldRunner(const Options& options, FileLayer& files, DeltaLog& log, LogAppender& appender, BaseStore& base,
             ServerMetrics& metrics, std::function<void(const Folded&)> on_folded);
  ~FoldRunner();

  // Of the last fold; ok while none has failed since. From any thread.
  Status failure() const;
  // The last fold, where it is a matter of a moment: a log that has grown to some length does not stay. Ends
  // the thread.
  void FoldRest();
  // The shard goes on with what is left of it: the next fold takes its deltas, and segments that were set
  // aside for it go. From any thread.
  void EndQuarantine(ShardId shard);
  // What is on disk of the shard's lives up to this one goes with the next fold, which is begun soon. From
  // any thread.
  void Discard(ShardId shard, Incarnation incarnation);

 private:
  void Main();
  void End();
  void FoldOnce(const QuarantinedLives& quarantined, const DiscardedLives& discarded,
                const std::atomic<bool>* stop);
  void ReleaseMemory();

  const Options options_;
  FileLayer& files_;
  DeltaLog& log_;
  LogAppender& appender_;
  BaseStore& base_;
  ServerMetrics& metrics_;
  std::function<void(const Folded&)> on_folded_;
  FoldMemory memory_;
  mutable std::mutex mutex_;
  std::condition_variable wake_;
  std::atomic<bool> stopping_ = false;  // written under mutex_; ends the fold that runs, too
  QuarantinedLives quarantined_;        // guarded by mutex_
  DiscardedLives discarded_;            // likewise
  Status failure_;                      // likewise
  std::thread thread_;
};

}  // namespace penstock
