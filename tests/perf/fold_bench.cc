// How fast one thread folds the delta log into the base: bytes of log a second, in a folder in memory.
// Run: build/release/bin/fold_bench   (the counter "rows" is of the base; every row is in the log `overlap`
// times)
#include <benchmark/benchmark.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <string>
#include <vector>

#include "server/shard/shard.h"
#include "server/storage/base_store.h"
#include "server/storage/delta_log.h"
#include "server/storage/fold.h"

namespace penstock {
namespace {

constexpr uint64_t kCluster = 1;
constexpr TableId kTable = 1;

void Check(const Status& status) {
  if (status.ok()) return;
  std::fprintf(stderr, "%s\n", status.ToString().c_str());
  std::abort();
}
template <typename T>
T Must(Result<T> result) {
  Check(result.status());
  return std::move(*result);
}

// A shard with a log and a base in memory, where the system has such a place.
class Node {
 public:
  explicit Node(uint32_t dim)
      : shard_({.cluster = kCluster, .shard = 1, .incarnation = 1}), values_(10'000 * dim, 0.01f) {
    TableSpec spec;
    spec.id = kTable;
    spec.name = "bench";
    spec.dim = dim;
    spec.optimizer.kind = OptimizerKind::kAdagrad;
    Check(shard_.CreateTable(spec));
    Check(shard_.BeginEpoch(1, 1));
    std::string pattern =
        access("/dev/shm", W_OK) == 0 ? "/dev/shm/penstock-bench-XXXXXX" : "/tmp/penstock-bench-XXXXXX";
    if (mkdtemp(pattern.data()) == nullptr) std::abort();
    folder_ = pattern;
    base_ = Must(BaseStore::Open(folder_ + "/base", {.cluster = kCluster}));
    log_ = Must(DeltaLog::Open(files_, folder_ + "/log", {.cluster = kCluster, .node = 1}, {}));
  }
  ~Node() {
    log_.reset();
    base_.reset();
    std::filesystem::remove_all(folder_);
  }

  // Logs rows 0 .. rows-1.
  void Log(size_t rows) {
    std::vector<Key> keys(10'000);
    for (Key key = 0; key < rows; key += keys.size()) {
      for (size_t i = 0; i < keys.size(); ++i) keys[i] = (key + i) * 7919 % rows;
      ++sequence_;
      Check(shard_
                .PushUnit({.producer = 1, .sequence = sequence_, .low = sequence_}, kTable, keys,
                          values_.data())
                .status());
      LogRecord record;
      BuiltDelta delta = Must(shard_.BuildDelta());
      record.sections.push_back({.shard = 1, .delta = kj::mv(delta.words), .checksum = delta.checksum});
      Check(log_->Append({&record, 1}));
    }
  }
  FoldReport FoldAll() {
    Check(log_->Seal());
    return Must(Fold(files_, log_->dir(), *log_, *base_, kCluster, {}));
  }

 private:
  PosixFileLayer files_;
  std::string folder_;
  Shard shard_;
  std::vector<float> values_;
  Sequence sequence_ = 0;
  std::unique_ptr<BaseStore> base_;
  std::unique_ptr<DeltaLog> log_;
};

void FoldLog(benchmark::State& state) {
  const size_t rows = state.range(1);
  Node node(state.range(0));
  uint64_t bytes = 0;
  for (auto _ : state) {
    state.PauseTiming();
    for (int64_t i = 0; i < state.range(2); ++i) node.Log(rows);
    state.ResumeTiming();
    const FoldReport report = node.FoldAll();
    if (report.rows != rows) std::abort();
    bytes += report.log_bytes;
  }
  state.SetBytesProcessed(static_cast<int64_t>(bytes));
  state.counters["rows"] =
      benchmark::Counter(static_cast<double>(rows) * state.iterations(), benchmark::Counter::kIsRate);
}
BENCHMARK(FoldLog)
    ->ArgNames({"dim", "rows", "overlap"})
    ->Args({16, 100'000, 1})
    ->Args({16, 100'000, 4})
    ->Args({64, 100'000, 4})
    ->Args({16, 1'000'000, 2})
    ->Unit(benchmark::kMillisecond);

}  // namespace
}  // namespace penstock
