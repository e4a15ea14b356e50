#include "server/node/open_storage.h"

#include <glog/logging.h>

#include <algorithm>
#include <chrono>
#include <filesystem>
#include <optional>

#include "common/base/atomic_file.h"
#include "server/node/row_loader.h"

namespace penstock {
namespace {

constexpr size_t kRowsRead = 4096;                    // of the base, at a time
constexpr uint32_t kSpares = 4;                       // to begin with (FoldRunner)
constexpr uint64_t kTellingLog = uint64_t{16} << 20;  // a shorter one says nothing of replay's speed

class Opener {
 public:
  Opener(FileLayer& files, const StorageOptions& options, const NodeState& state, std::string aside)
      : files_(files), options_(options), state_(state), aside_(std::move(aside)) {}

  Result<Storage> Open() {
    BaseOptions base{.cluster = state_.cluster, .block_cache_bytes = options_.block_cache_bytes};
    if (options_.fold_bytes != 0) base.fold_bytes = options_.fold_bytes;
    PENSTOCK_ASSIGN_OR_RETURN(opened_.base, BaseStore::Open(options_.data_dir + "/base", base));
    PENSTOCK_ASSIGN_OR_RETURN(const std::vector<StoredMeta> metas, opened_.base->LoadMeta());
    for (const auto& meta : metas) PENSTOCK_RETURN_IF_ERROR(LoadShard(meta.reader()));
    PENSTOCK_ASSIGN_OR_RETURN(const LogTail tail, ReplayLog());
    PENSTOCK_RETURN_IF_ERROR(LoadRowsNeeded(metas));
    for (auto& [id, shard] : opened_.shards) GiveSpecs(*shard);
    PENSTOCK_ASSIGN_OR_RETURN(opened_.log, DeltaLog::Open(files_, LogDir(),
                                                          {.cluster = state_.cluster,
                                                           .node = state_.node,
                                                           .segment_bytes = options_.segment_bytes,
                                                           .spare_segments = kSpares},
                                                          tail));
    return std::move(opened_);
  }

 private:
  using Clock = std::chrono::steady_clock;
  static int64_t MsSince(Clock::time_point begin) {
    return std::chrono::duration_cast<std::chrono::milliseconds>(Clock::now() - begin).count();
  }
  std::string LogDir() const { return options_.data_dir + "/log"; }

  Status LoadShard(proto::ShardMeta::Reader meta) {
    const ShardId id = meta.getShard();
    auto shard = std::make_unique<Shard>(
        ShardOptions{.cluster = state_.cluster, .shard = id, .incarnation = meta.getIncarnation()});
    PENSTOCK_RETURN_IF_ERROR(shard->LoadMeta(meta));
    replayed_from_[id] = FoldedOf(meta);
    opened_.folded[id] = {meta.getIncarnation(), meta.getLsn(), meta.getChecksum()};
    opened_.shards[id] = std::move(shard);
    return Status::Ok();
  }

  Result<LogTail> ReplayLog() {
    PENSTOCK_RETURN_IF_ERROR(MakeDirectories(LogDir()));
    const auto begun = Clock::now();
    PENSTOCK_ASSIGN_OR_RETURN(
        ReplayReport report,
        Replay(
            files_, LogDir(), state_.cluster, replayed_from_,
            [this](ShardId shard, Incarnation incarnation, const proto::Delta::Reader& delta,
                   uint32_t checksum) { return ReplayDelta(shard, incarnation, delta, checksum); },
            aside_, options_.reported));
    for (const std::string& path : report.put_aside) {
      LOG(WARNING) << options_.name << ": log that stood behind a bad place and was never synced is kept in "
                   << path;
    }
    LOG(INFO) << options_.name << ": " << report.deltas << " deltas replayed in " << MsSince(begun) << " ms";
    uint64_t bytes = 0;
    for (const SegmentInfo& segment : report.tail.segments) bytes += segment.bytes;
    if (bytes >= kTellingLog)
      opened_.replay_speed = bytes * 1000 / static_cast<uint64_t>(std::max<int64_t>(MsSince(begun), 1));
    for (const auto& [shard, reason] : report.damaged) {
      LOG(ERROR) << options_.name << ": shard " << shard << " is damaged: " << reason;
      const auto replayed = report.shards.find(shard);
      opened_.damaged[shard] = {reason, replayed == report.shards.end() ? 0 : replayed->second.incarnation};
    }
    return report.tail;
  }

  Status ReplayDelta(ShardId id, Incarnation incarnation, const proto::Delta::Reader& delta,
                     uint32_t checksum) {
    auto& shard = opened_.shards[id];
    if (shard == nullptr || shard->incarnation() < incarnation) {
      shard = std::make_unique<Shard>(
          ShardOptions{.cluster = state_.cluster, .shard = id, .incarnation = incarnation});
      opened_.folded.erase(id);
    }
    return shard->ApplyDelta(delta, checksum);
  }

  // After the log, whose rows are newer.
  Status LoadRowsNeeded(const std::vector<StoredMeta>& metas) {
    const auto begun = Clock::now();
    if (state_.suspect) PENSTOCK_RETURN_IF_ERROR(opened_.base->VerifyChecksums());
    for (const auto& meta : metas)
      PENSTOCK_RETURN_IF_ERROR(LoadTables(meta.reader(), options_.loaded_bytes / metas.size()));
    LOG(INFO) << options_.name << ": " << opened_.shards.size()
              << " shards from disk, rows that are needed at once in " << MsSince(begun) << " ms";
    return Status::Ok();
  }

  Status LoadTables(proto::ShardMeta::Reader meta, uint64_t limit) {
    Shard& shard = *opened_.shards[meta.getShard()];
    if (shard.incarnation() != meta.getIncarnation()) return Status::Ok();
    for (const auto entry : meta.getTables()) {
      const TableId table = entry.getTable();
      if (state_.suspect || NeedsRows(shard, table)) {
        PENSTOCK_RETURN_IF_ERROR(LoadTable(shard, table, limit));
      } else {
        shard.SetUnread(table, 0);
      }
    }
    return Status::Ok();
  }

  // A commit takes all rows that are open, and in a table with such a rule each row says how late it is.
  bool NeedsRows(const Shard& shard, TableId table) const {
    const auto spec = state_.tables.find(table);
    return shard.open_round(table) > 0 ||
           (spec != state_.tables.end() && spec->second.expiry.unused_passes > 0);
  }

  // As many rows as the limit allows stay in memory.
  Status LoadTable(Shard& shard, TableId table, uint64_t limit) const {
    std::optional<Key> next = 0;
    while (next) {
      PENSTOCK_ASSIGN_OR_RETURN(const StoredRows rows,
                                opened_.base->Scan(shard.incarnation(), table, *next, kRowsRead));
      PENSTOCK_RETURN_IF_ERROR(
          LoadRows(shard, table, rows, [&](size_t) { return shard.ResidentBytes() < limit; }));
      next = rows.next();
    }
    return Status::Ok();
  }

  void GiveSpecs(Shard& shard) const {
    for (const auto& [table, spec] : state_.tables) {
      const Status given = shard.CreateTable(spec);
      if (!given.ok()) LOG(ERROR) << options_.name << ": shard " << shard.id() << ": " << given.ToString();
    }
  }

  FileLayer& files_;
  const StorageOptions& options_;
  const NodeState& state_;
  const std::string aside_;  // for the end of the log
  Storage opened_;
  std::map<ShardId, ShardFolded> replayed_from_;
};

Status PutAside(FileLayer& files, const std::string& data_dir, const std::string& aside) {
  PENSTOCK_RETURN_IF_ERROR(files.MakeDir(aside));
  for (const char* folder : {"base", "base.ingest", "log"}) {
    std::error_code error;
    const std::string from = data_dir + "/" + folder;
    if (!std::filesystem::exists(from)) continue;
    std::filesystem::rename(from, aside + "/" + folder, error);
    if (error) return Unavailable("put " + from + " aside: " + error.message());
  }
  PENSTOCK_RETURN_IF_ERROR(files.SyncDir(aside));
  return files.SyncDir(data_dir);
}

}  // namespace

Result<Storage> OpenStorage(FileLayer& files, const StorageOptions& options, const NodeState& state,
                            DamagedFolder& damaged) {
  const auto open = [&] { return Opener(files, options, state, damaged.Next()).Open(); };
  auto opened = open();
  if (opened.status().code() == Code::kDataLoss && state.copied) {
    LOG(ERROR) << options.name << ": " << opened.status().message();
    const std::string aside = damaged.Next();
    PENSTOCK_RETURN_IF_ERROR(PutAside(files, options.data_dir, aside));
    LOG(ERROR) << options.name << ": what is damaged was put aside in " << aside
               << "; its shards are seeded again by their other copies";
    opened = open();
  }
  // Said in the status; a file that cannot be removed does not keep the server from serving.
  if (const Status trimmed = damaged.Trim(); !trimmed.ok())
    LOG(ERROR) << options.name << ": " << trimmed.message();
  return opened;
}

}  // namespace penstock
