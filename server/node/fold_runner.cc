#include "server/node/fold_runner.h"

#include <glog/logging.h>
#include <malloc.h>
#include <sys/resource.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <cstring>
#include <optional>
#include <utility>

#include "common/net/buffer_pool.h"

namespace penstock {
namespace {
constexpr int kNice = 5;
constexpr auto kLookEvery = std::chrono::milliseconds(20);
constexpr auto kRetryAfterFailure = std::chrono::seconds(2);
// Soon: on a small disk that was full and is free again, a log that is not folded meanwhile takes the space
// that its fold needs.
constexpr auto kRetryOnFullDisk = std::chrono::milliseconds(200);
// Memory that the next fold and the windows before it would have to ask for again is kept for so long.
constexpr auto kKeepMemory = std::chrono::seconds(5);
// Of the log when the server ends: shorter ones stay, longer ones would take their time.
constexpr uint64_t kLeastRest = uint64_t{16} << 20, kGreatestRest = uint64_t{256} << 20;
constexpr uint64_t kMaxSpares = 1024;  // files of the log in reserve
}  // namespace

FoldRunner::FoldRunner(const Options& options, FileLayer& files, DeltaLog& log, LogAppender& appender,
                       BaseStore& base, ServerMetrics& metrics, std::function<void(const Folded&)> on_folded)
    : options_(options),
      files_(files),
      log_(log),
      appender_(appender),
      base_(base),
      metrics_(metrics),
      on_folded_(std::move(on_folded)),
      quarantined_(options.quarantined),
      thread_([this] { Main(); }) {}

FoldRunner::~FoldRunner() { End(); }

void FoldRunner::End() {
  {
    std::lock_guard lock(mutex_);
    stopping_ = true;
  }
  wake_.notify_all();
  if (thread_.joinable()) thread_.join();
}

void FoldRunner::FoldRest() {
  End();
  const uint64_t bytes = log_.Bytes();
  if (bytes >= kLeastRest && bytes <= kGreatestRest) FoldOnce(quarantined_, discarded_, nullptr);
}

Status FoldRunner::failure() const {
  std::lock_guard lock(mutex_);
  return failure_;
}

void FoldRunner::EndQuarantine(ShardId shard) {
  std::lock_guard lock(mutex_);
  quarantined_.erase(shard);
}

void FoldRunner::Discard(ShardId shard, Incarnation incarnation) {
  std::lock_guard lock(mutex_);
  Incarnation& discarded = discarded_[shard];
  if (discarded >= incarnation) return;
  discarded = incarnation;
  *options_.wanted = true;
}

void FoldRunner::Main() {
  // Of this thread alone. Who answers calls goes first, and folds get what is left, of a busy processor about
  // a quarter: where that is too little the log's limit refuses pushes, which leaves more.
  LOG_IF(WARNING, setpriority(PRIO_PROCESS, 0, kNice) != 0) << "fold: setpriority: " << std::strerror(errno);
  using Clock = std::chrono::steady_clock;
  std::optional<Clock::time_point> release;  // when the memory goes
  std::unique_lock lock(mutex_);
  while (!wake_.wait_for(lock, kLookEvery, [this] { return stopping_.load(); })) {
    metrics_.log_bytes = log_.Bytes();
    const bool wanted = options_.wanted->exchange(false);
    const uint64_t fold_at = options_.fold_at();
    metrics_.fold_at_bytes = fold_at;
    if (metrics_.log_bytes < fold_at && !wanted) {
      if (release && Clock::now() >= *release) {
        ReleaseMemory();
        release.reset();
      }
      continue;
    }
    const QuarantinedLives quarantined = quarantined_;
    const DiscardedLives discarded = discarded_;
    lock.unlock();
    log_.KeepSpares(static_cast<uint32_t>(std::min(fold_at / options_.segment_bytes + 1, kMaxSpares)));
    const auto begun = Clock::now();
    FoldOnce(quarantined, discarded, &stopping_);
    lock.lock();
    release = Clock::now() + kKeepMemory;
    if (failure_.ok()) continue;
    if (wanted) *options_.wanted = true;
    // At most half of the time goes into what fails.
    const Clock::duration pause = failure_.code() == Code::kOverloaded ? Clock::duration(kRetryOnFullDisk)
                                                                       : Clock::duration(kRetryAfterFailure);
    wake_.wait_for(lock, std::max(pause, Clock::now() - begun), [this] { return stopping_.load(); });
  }
}

void FoldRunner::FoldOnce(const QuarantinedLives& quarantined, const DiscardedLives& discarded,
                          const std::atomic<bool>* stop) {
  FoldOptions options = options_.fold;
  options.stop = stop;
  options.discarded = discarded;
  const auto fold = [&]() -> Result<FoldReport> {
    PENSTOCK_RETURN_IF_ERROR(appender_.Seal());
    return Fold(files_, options_.log_dir, log_, base_, options_.cluster, quarantined, options, &memory_);
  };
  auto report = fold();
  if (report.status().code() == Code::kCancelled) return;  // the server ends
  Status before;
  {
    std::lock_guard lock(mutex_);
    before = std::exchange(failure_, report.status());
  }
  if (!report.ok()) {
    if (report.status().message() != before.message()) LOG(ERROR) << "fold: " << report.status().ToString();
    metrics_.fold_failures++;
    if (report.status().code() == Code::kDataLoss && options_.damaged) options_.damaged(report.status());
    return;
  }
  for (const auto& [shard, reason] : report->broken) LOG(ERROR) << "fold: shard " << shard << ": " << reason;
  if (!report->removal.ok())
    LOG(WARNING) << "fold: " << report->removal.ToString() << "; the next one tries again";
  Folded folded;
  for (const auto& [shard, point] : report->folded)
    folded.emplace_back(shard, FoldedPoint{point.incarnation, point.lsn, point.checksum});
  on_folded_(folded);
  metrics_.folds++;
  metrics_.log_bytes = log_.Bytes();
}

// The folds' own, and buffers that were used for more than now.
void FoldRunner::ReleaseMemory() {
  memory_.Release();
  BufferPool::OfProcess()->Trim();
  malloc_trim(0);
}

}  // namespace penstock
