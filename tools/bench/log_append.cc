#include "tools/bench/log_append.h"

#include <algorithm>
#include <chrono>
#include <filesystem>
#include <map>
#include <nlohmann/json.hpp>
#include <numeric>
#include <vector>

#include "common/base/strings.h"
#include "server/shard/shard.h"
#include "server/storage/delta_log.h"
#include "server/storage/replay.h"
#include "tools/bench/workload.h"

namespace penstock {
namespace {

using Clock = std::chrono::steady_clock;

constexpr TableId kLogTable = 1;
constexpr uint64_t kCluster = 1;

// A chain of deltas of one shard, each as a record of the log.
Result<std::vector<LogRecord>> MakeDeltas(const LogOptions& options, uint64_t* bytes) {
  TableSpec spec{.id = kLogTable, .name = "bench", .dim = options.dim};
  spec.optimizer.kind = OptimizerKind::kAdd;
  Shard shard({.cluster = kCluster, .shard = 0, .incarnation = 1});
  PENSTOCK_RETURN_IF_ERROR(shard.CreateTable(spec));
  PENSTOCK_RETURN_IF_ERROR(shard.BeginEpoch(1, 1));
  std::vector<Key> keys(options.keys);
  const std::vector<float> values(options.keys * options.dim, 1);
  std::vector<LogRecord> records;
  *bytes = 0;
  for (Sequence sequence = 1; *bytes < options.mib << 20; ++sequence) {
    std::iota(keys.begin(), keys.end(), sequence % 16 * options.keys);
    PENSTOCK_RETURN_IF_ERROR(
        shard.PushUnit({.producer = 1, .sequence = sequence, .low = sequence}, kLogTable, keys, values.data())
            .status());
    PENSTOCK_ASSIGN_OR_RETURN(BuiltDelta delta, shard.BuildDelta());
    *bytes += delta.words.asBytes().size();
    LogRecord record;
    record.sections.push_back(
        {.shard = 0, .incarnation = 1, .delta = kj::mv(delta.words), .checksum = delta.checksum});
    records.push_back(std::move(record));
  }
  return records;
}

// Seconds that it takes to append all of them, one after the other, each synced if `sync`.
Result<double> Append(FileLayer& files, const std::string& dir, const std::vector<LogRecord>& records,
                      bool sync) {
  PENSTOCK_ASSIGN_OR_RETURN(const auto log, DeltaLog::Open(files, dir, {.cluster = kCluster, .node = 1}, {}));
  const auto begin = Clock::now();
  for (const LogRecord& record : records) {
    PENSTOCK_RETURN_IF_ERROR(log->Append({&record, 1}));
    if (sync) PENSTOCK_RETURN_IF_ERROR(log->Sync());
  }
  return std::chrono::duration<double>(Clock::now() - begin).count();
}

Status Check(FileLayer& files, const std::string& dir, size_t deltas) {
  PENSTOCK_ASSIGN_OR_RETURN(
      const ReplayReport report,
      Replay(files, dir, kCluster, {},
             [](ShardId, Incarnation, const proto::Delta::Reader&, uint32_t) { return Status::Ok(); }));
  if (report.deltas == deltas && report.damaged.empty() && report.discarded_bytes == 0) return Status::Ok();
  return DataLoss(StrCat("the log holds ", report.deltas, " of the ", deltas, " deltas that were appended"));
}

}  // namespace

Status CheckLogOptions(const LogOptions& o) {
  if (o.keys < 1 || o.keys > 1'000'000)
    return InvalidArgument(StrCat("--keys ", o.keys, ": must be from 1 to 1000000"));
  if (o.dim < 1 || o.dim > 65536)
    return InvalidArgument(StrCat("--dim ", o.dim, ": must be from 1 to 65536"));
  if (o.keys * (sizeof(Key) + sizeof(float) * o.dim) > kMaxUnitBytes)
    return InvalidArgument(
        StrCat("--keys ", o.keys, " of --dim ", o.dim, ": a unit has at most ", kMaxUnitBytes, " bytes"));
  if (o.mib < 1 || o.mib > 16384)
    return InvalidArgument(StrCat("--mib ", o.mib, ": must be from 1 to 16384"));
  if (o.repeats < 1) return InvalidArgument("--repeats 0: must be at least 1");
  return Status::Ok();
}

Result<LogFigures> RunLogBench(const LogOptions& options, const std::string& folder,
                               const std::function<bool()>& interrupted) {
  PENSTOCK_RETURN_IF_ERROR(CheckLogOptions(options));
  LogFigures figures;
  uint64_t bytes = 0;
  PENSTOCK_ASSIGN_OR_RETURN(const std::vector<LogRecord> records, MakeDeltas(options, &bytes));
  figures.deltas = records.size();
  figures.delta_bytes = bytes / records.size();
  PosixFileLayer files;
  for (const bool sync : {false, true}) {
    std::vector<double> rates;
    for (uint32_t i = 0; i < options.repeats; ++i) {
      if (interrupted()) return Cancelled("interrupted");
      const std::string dir = StrCat(folder, "/", sync ? "synced-" : "logged-", i);
      PENSTOCK_ASSIGN_OR_RETURN(const double seconds, Append(files, dir, records, sync));
      PENSTOCK_RETURN_IF_ERROR(Check(files, dir, records.size()));
      rates.push_back(static_cast<double>(bytes) / seconds);
      std::error_code ignored;
      std::filesystem::remove_all(dir, ignored);
    }
    (sync ? figures.synced_bytes_per_second : figures.logged_bytes_per_second) = Spread::Of(std::move(rates));
  }
  return figures;
}

nlohmann::json LogResult(const LogOptions& options, const LogFigures& figures) {
  return {{"work", "log"},
          {"dim", options.dim},
          {"keys", options.keys},
          {"mib", options.mib},
          {"repeats", options.repeats},
          {"deltas", figures.deltas},
          {"delta_bytes", figures.delta_bytes},
          {"checked", true},
          {"logged_bytes_per_second", SpreadJson(figures.logged_bytes_per_second)},
          {"synced_bytes_per_second", SpreadJson(figures.synced_bytes_per_second)}};
}

}  // namespace penstock
