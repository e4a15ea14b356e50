#include "scheduler/state/journal.h"

#include <glog/logging.h>
#include <rocksdb/db.h>
#include <rocksdb/env.h>
#include <rocksdb/options.h>

#include <cstdarg>
#include <cstdio>
#include <filesystem>

#include "common/base/atomic_file.h"
#include "common/base/fault.h"
#include "scheduler/state/journal_format.h"
#include "scheduler/state/journal_snapshots.h"

namespace penstock {
namespace {

// RocksDB names the damaged log file in its information log only: this keeps that line for the error.
class DamageLogger : public rocksdb::Logger {
 public:
  DamageLogger() : rocksdb::Logger(rocksdb::InfoLogLevel::WARN_LEVEL) {}
  using rocksdb::Logger::Logv;
  void Logv(const char* format, va_list arguments) override {
    char line[1024];
    std::vsnprintf(line, sizeof line, format, arguments);
    if (std::string_view(line).find("dropping") == std::string_view::npos) return;
    LOG(WARNING) << "journal: " << line;
    if (line_.empty()) line_ = line;
  }
  const std::string& line() const { return line_; }

 private:
  std::string line_;
};

Status Damaged(const std::string& directory, const std::string& what) {
  return DataLoss("the scheduler's journal in " + directory + " is damaged (" + what +
                  "): restore this directory from a backup, or move " +
                  "it away to begin a new cluster (servers must then begin with empty directories, too)");
}

Status FromRocks(const rocksdb::Status& status, const std::string& directory) {
  if (status.ok()) return Status::Ok();
  const std::string text = "journal in " + directory + ": " + status.ToString();
  if (status.IsNoSpace()) return Overloaded(text + ": free space on the disk of this directory", 1000);
  return Unavailable(text, 1000);
}

rocksdb::Options DatabaseOptions(std::shared_ptr<rocksdb::Logger> logger) {
  rocksdb::Options options;
  options.create_if_missing = true;
  options.paranoid_checks = true;
  options.paranoid_file_checks = true;
  options.track_and_verify_wals_in_manifest = true;
  options.wal_recovery_mode = rocksdb::WALRecoveryMode::kTolerateCorruptedTailRecords;
  options.write_buffer_size = 8 << 20;
  options.max_background_jobs = 2;
  options.compression = rocksdb::kNoCompression;
  options.info_log = std::move(logger);
  return options;
}

// What is missing of a database that was made before; empty: nothing. RocksDB would begin a new one without
// its CURRENT, and go on with what is in tables without its log. Before the first opening has ended, when
// CURRENT still names the first manifest, there may be no log yet.
std::string MissingFile(const std::string& directory) {
  namespace fs = std::filesystem;
  std::error_code error;
  bool log = false, others = false;
  for (const auto& entry : fs::directory_iterator(directory, error)) {
    const std::string name = entry.path().filename().string();
    log = log || name.ends_with(".log");
    others = others || name.starts_with("MANIFEST") || name.ends_with(".sst");
  }
  const auto current = ReadWholeFile(directory + "/CURRENT");
  if (!current.ok()) {
    return !fs::exists(directory + "/CURRENT", error) && (log || others) ? directory + "/CURRENT is missing"
                                                                         : "";
  }
  const bool begun = current->starts_with("MANIFEST-000001\n");
  return log || begun ? "" : "its write-ahead log, " + directory + "/*.log, is missing";
}

// A log in which something was written. RocksDB takes one that cannot be read from its first record on for
// the torn end of an empty one.
std::string WrittenLog(const std::string& directory) {
  std::error_code error;
  for (const auto& entry : std::filesystem::directory_iterator(directory, error)) {
    if (entry.path().extension() == ".log" && entry.file_size(error) > 0) return entry.path().string();
  }
  return "";
}

}  // namespace

Journal::Journal(std::string directory, const JournalOptions& options)
    : directory_(std::move(directory)), options_(options) {}
Journal::~Journal() = default;

uint64_t Journal::snapshot_index() const { return snapshots_->index(); }
void Journal::WaitForSnapshot() { snapshots_->Wait(); }

Result<std::unique_ptr<Journal>> Journal::Open(const std::string& directory, const JournalOptions& options) {
  PENSTOCK_RETURN_IF_ERROR(MakeDirectories(directory).Prepend("journal"));
  std::unique_ptr<Journal> journal(new Journal(directory, options));
  const std::string written = WrittenLog(directory);
  PENSTOCK_RETURN_IF_ERROR(journal->OpenDatabase());
  PENSTOCK_RETURN_IF_ERROR(journal->Load());
  if (!written.empty() && journal->last_index() == 0)
    return Damaged(directory, "nothing in " + written + " can be read");
  return journal;
}

Status Journal::OpenDatabase() {
  if (const std::string missing = MissingFile(directory_); !missing.empty())
    return Damaged(directory_, missing);
  auto logger = std::make_shared<DamageLogger>();
  rocksdb::DB* db = nullptr;
  const rocksdb::Status status = rocksdb::DB::Open(DatabaseOptions(logger), directory_, &db);
  db_.reset(db);
  if (status.ok() || status.IsNoSpace()) return FromRocks(status, directory_);
  if (status.IsCorruption() || status.IsInvalidArgument() || status.IsNotFound()) {
    return Damaged(directory_, status.ToString() + (logger->line().empty() ? "" : "; " + logger->line()));
  }
  if (status.ToString().find("/LOCK") != std::string::npos) {
    return FailedPrecondition("journal in " + directory_ + ": another process has it open (" +
                              status.ToString() + ")");
  }
  // A file that belongs to the database and is not there is damage, not a passing failure.
  if (status.IsPathNotFound()) return Damaged(directory_, status.ToString());
  return FromRocks(status, directory_);
}

Status Journal::Load() {
  uint64_t snapshot_index = 0;
  PENSTOCK_RETURN_IF_ERROR(LoadSnapshot(&snapshot_index));
  PENSTOCK_RETURN_IF_ERROR(LoadCommands());
  snapshots_ = std::make_unique<JournalSnapshots>(state_, last_index_, snapshot_index);
  return Status::Ok();
}

Status Journal::LoadSnapshot(uint64_t* index) {
  std::string text;
  const rocksdb::Status found = db_->Get(VerifiedReads(), kSnapshotKey, &text);
  if (found.IsNotFound()) return Status::Ok();
  if (!found.ok()) return Damaged(directory_, "snapshot: " + found.ToString());
  const auto json = nlohmann::json::parse(text, nullptr, false);
  if (!json.is_object() || !json.contains("v") || !json.contains("index") || !json.contains("state")) {
    return Damaged(directory_, "key 'snapshot' is not a snapshot");
  }
  if (json["v"] != kCommandVersion) {
    return FailedPrecondition("journal in " + directory_ + ": its snapshot has version " + json["v"].dump() +
                              ", this program knows version " + std::to_string(kCommandVersion));
  }
  auto state = ClusterState::FromJson(json["state"]);
  if (!state.ok()) return Damaged(directory_, "key 'snapshot': " + state.status().message());
  state_ = std::move(*state);
  last_index_ = *index = json["index"].get<uint64_t>();
  return Status::Ok();
}

Status Journal::LoadCommands() {
  std::unique_ptr<rocksdb::Iterator> it(db_->NewIterator(VerifiedReads()));
  for (it->Seek(kCommandPrefix); it->Valid() && it->key().starts_with(kCommandPrefix); it->Next()) {
    const std::string key = it->key().ToString();
    const std::string expected = CommandKey(last_index_ + 1);
    if (key != expected) return Damaged(directory_, "key '" + key + "' where '" + expected + "' must be");
    int64_t made_ms = 0;
    const auto command = ReadCommand(key, it->value().ToStringView(), &made_ms);
    if (!command.ok() && command.status().code() == Code::kFailedPrecondition)
      return FailedPrecondition("journal in " + directory_ + ": " + command.status().message());
    if (!command.ok()) return Damaged(directory_, command.status().message());
    const Status applied = state_.Apply(*command, made_ms);
    if (!applied.ok())
      return Damaged(directory_, "key '" + key + "' cannot be applied: " + applied.message());
    ++last_index_;
  }
  if (!it->status().ok()) return Damaged(directory_, it->status().ToString());
  return Status::Ok();
}

Status Journal::Append(const Command& command, int64_t at_ms) {
  // The last write failed and left the database read-only. The index is used again, so that whatever it left
  // is overwritten.
  if (db_ == nullptr) {
    snapshots_->Wait();
    PENSTOCK_RETURN_IF_ERROR(OpenDatabase());
  }
  rocksdb::WriteOptions synced;
  synced.sync = true;
  Status written = PENSTOCK_FAULT("scheduler.journal.write");
  if (written.ok())
    written =
        FromRocks(db_->Put(synced, CommandKey(last_index_ + 1), JournalText(CommandToJson(command, at_ms))),
                  directory_);
  if (written.ok()) written = PENSTOCK_FAULT("scheduler.journal.written");
  if (!written.ok()) {
    db_.reset();
    return written;
  }
  ++last_index_;
  if (last_index_ - snapshots_->index() > options_.snapshot_every) snapshots_->Begin(db_, last_index_);
  return Status::Ok();
}

}  // namespace penstock
