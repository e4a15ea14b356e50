// FoldingNode: what the tests of folds share: the storage of one node, and the threads that write and fold
// its log.
#pragma once

#include <atomic>
#include <optional>

#include "common/base/fault.h"
#include "server/node/fold_runner.h"
#include "tests/cluster/child_program.h"
#include "tests/unit/server/storage/fold_fixture.h"

namespace penstock {

inline constexpr int kFoldMs = 20000;  // for what the runner does by itself

class FoldingNode : public ::testing::Test {
 protected:
  ~FoldingNode() override { DisarmAll(); }

  void Open(uint64_t segment_bytes = 4096) {
    segment_bytes_ = segment_bytes;
    node_.set_segment_bytes(segment_bytes);
    ASSERT_STATUS_OK(node_.Open());
  }
  DeltaLog& log() { return node_.log(); }
  Status Write(int records) { return node_.Write(source_, records); }
  // The log is the appender's then: the test goes on to write only where no fold is due.
  void StartFolds() {
    appender_.emplace(log(), metrics_);
    folds_.emplace(FoldRunner::Options{.log_dir = node_.log_dir(),
                                       .cluster = kFoldCluster,
                                       .fold_at = [this] { return fold_at_.load(); },
                                       .segment_bytes = segment_bytes_,
                                       .fold = {},
                                       .quarantined = {},
                                       .damaged = nullptr,
                                       .wanted = &wanted_},
                   files_, log(), *appender_, node_.base(), metrics_, [](const FoldRunner::Folded&) {});
  }
  bool WaitForFolds(uint64_t count) {
    return WaitFor(kFoldMs, [&] { return metrics_.folds >= count; });
  }

  TestFolder folder_;
  PosixFileLayer files_;
  TestNode node_{folder_.path(), files_};
  DeltaSource source_{1};
  ServerMetrics metrics_;
  uint64_t segment_bytes_ = 0;
  std::atomic<bool> wanted_{false};
  std::atomic<uint64_t> fold_at_{UINT64_MAX};
  std::optional<LogAppender> appender_;
  std::optional<FoldRunner> folds_;
};

}  // namespace penstock
