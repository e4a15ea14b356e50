// RocksDB as an ingest-only store: opening and reading it.
#include "server/storage/base_store.h"

#include <glog/logging.h>
#include <rocksdb/cache.h>
#include <rocksdb/env.h>
#include <rocksdb/filter_policy.h>
#include <rocksdb/iterator.h>
#include <rocksdb/sst_file_writer.h>

#include <algorithm>
#include <climits>
#include <cstring>
#include <optional>

#include "common/base/crc32c.h"
#include "server/storage/base_format.h"

namespace penstock {
namespace {

// A fold's file covers all shards, so merging it rewrites the whole level below; reading it in vain costs a
// look at its filter.
constexpr int kFolds = 8;
constexpr size_t kScanReadaheadBytes = size_t{4} << 20;

}  // namespace

// --- Opening.

BaseStore::BaseStore(const std::string& dir, const BaseOptions& options)
    : dir_(dir), options_(options), env_(options.env != nullptr ? options.env : rocksdb::Env::Default()) {
  cache_ = rocksdb::NewLRUCache(options_.block_cache_bytes);
}

BaseStore::~BaseStore() {
  if (db_ == nullptr) return;
  for (rocksdb::ColumnFamilyHandle* handle : {default_, rows_, meta_}) {
    if (handle != nullptr) db_->DestroyColumnFamilyHandle(handle).PermitUncheckedError();
  }
  db_->Close().PermitUncheckedError();
}

Result<std::unique_ptr<BaseStore>> BaseStore::Open(const std::string& dir, const BaseOptions& options) {
  std::unique_ptr<BaseStore> base(new BaseStore(dir, options));
  PENSTOCK_RETURN_IF_ERROR(base->OpenDatabase());
  PENSTOCK_RETURN_IF_ERROR(base->CheckStamp());
  return base;
}

rocksdb::DBOptions BaseStore::DatabaseOptions() const {
  rocksdb::DBOptions options;
  options.env = env_;
  options.create_if_missing = true;
  options.create_missing_column_families = true;
  options.paranoid_checks = true;
  options.wal_recovery_mode = rocksdb::WALRecoveryMode::kTolerateCorruptedTailRecords;
  options.max_background_jobs = 2;
  options.use_direct_io_for_flush_and_compaction = direct_;
  options.max_open_files = 512;
  options.bytes_per_sync = size_t{4} << 20;
  options.skip_stats_update_on_db_open = true;
  options.stats_dump_period_sec = 0;
  options.stats_persist_period_sec = 0;
  options.info_log_level = rocksdb::InfoLogLevel::WARN_LEVEL;
  options.keep_log_file_num = 2;
  options.max_log_file_size = size_t{4} << 20;
  return options;
}

rocksdb::Options BaseStore::TableOptions() const {
  rocksdb::BlockBasedTableOptions table;
  table.block_cache = cache_;
  table.block_size = 4 << 10;  // rows are read one by one, and each reads and checks a block
  table.index_block_restart_interval = 8;
  table.format_version = 5;
  table.checksum = rocksdb::kXXH3;
  table.filter_policy.reset(rocksdb::NewBloomFilterPolicy(10));
  table.cache_index_and_filter_blocks = true;
  rocksdb::ColumnFamilyOptions family;
  family.table_factory.reset(rocksdb::NewBlockBasedTableFactory(table));
  family.compression = rocksdb::kNoCompression;  // trained floats do not compress
  family.write_buffer_size = size_t{1} << 20;    // never written to
  family.target_file_size_base = size_t{64} << 20;
  family.level_compaction_dynamic_level_bytes = true;
  family.level0_file_num_compaction_trigger = kFolds;
  // One level between them and the last, where there can be one, and of a good part of its size: each merge
  // rewrites as much of the lower level as that is larger.
  family.max_bytes_for_level_base = kFolds * options_.fold_bytes;
  family.max_bytes_for_level_multiplier = 5;
  // Folds are the only writers and slow down by themselves: RocksDB never stalls them.
  family.level0_slowdown_writes_trigger = INT_MAX;
  family.level0_stop_writes_trigger = INT_MAX;
  family.soft_pending_compaction_bytes_limit = 0;
  family.hard_pending_compaction_bytes_limit = 0;
  return rocksdb::Options(DatabaseOptions(), family);
}

Status BaseStore::OpenDatabase() {
  PENSTOCK_RETURN_IF_ERROR(ToStatus(env_->CreateDirIfMissing(dir_), "create"));
  PENSTOCK_RETURN_IF_ERROR(ToStatus(env_->CreateDirIfMissing(IngestDir()), "create"));
  direct_ = TakesDirectWrites();
  gathering_bytes_ = kFolds * options_.fold_bytes;
  const rocksdb::Options options = TableOptions();
  std::vector<rocksdb::ColumnFamilyDescriptor> families;
  for (const char* name : {"default", "rows", "meta"}) families.emplace_back(name, options);
  std::vector<rocksdb::ColumnFamilyHandle*> handles;
  rocksdb::DB* db = nullptr;
  const rocksdb::Status status = rocksdb::DB::Open(DatabaseOptions(), dir_, families, &handles, &db);
  if (status.IsIOError() && status.ToString().find("LOCK") != std::string::npos) {
    return FailedPrecondition("base " + dir_ + " is in use by another process: " + status.ToString());
  }
  // A column family that this version does not know belongs to another format.
  if (status.IsInvalidArgument()) return FailedPrecondition("base " + dir_ + ": " + status.ToString());
  PENSTOCK_RETURN_IF_ERROR(ToStatus(status, "open"));
  db_.reset(db);
  // Merging files is never urgent, answering calls is. An environment of a test may have no threads.
  env_->LowerThreadPoolCPUPriority(rocksdb::Env::LOW, rocksdb::CpuPriority::kLow).PermitUncheckedError();
  default_ = handles[0];
  rows_ = handles[1];
  meta_ = handles[2];
  return RemoveLeftovers();  // after the lock was taken
}

// Some file systems have none.
bool BaseStore::TakesDirectWrites() const {
  rocksdb::EnvOptions options;
  options.use_direct_writes = true;
  const std::string path = IngestDir() + "/probe";
  std::unique_ptr<rocksdb::WritableFile> file;
  const bool takes = env_->NewWritableFile(path, &file, options).ok();
  file.reset();
  env_->DeleteFile(path).PermitUncheckedError();
  return takes;
}

Status BaseStore::RemoveLeftovers() {
  std::vector<std::string> names;
  PENSTOCK_RETURN_IF_ERROR(ToStatus(env_->GetChildren(IngestDir(), &names), "list " + IngestDir()));
  for (const std::string& name : names) {
    if (!name.ends_with(".sst")) continue;
    PENSTOCK_RETURN_IF_ERROR(ToStatus(env_->DeleteFile(IngestDir() + "/" + name), "remove " + name));
  }
  return Status::Ok();
}

bool BaseStore::Empty() const {
  for (rocksdb::ColumnFamilyHandle* family : {default_, rows_, meta_}) {
    rocksdb::ColumnFamilyMetaData data;
    db_->GetColumnFamilyMetaData(family, &data);
    if (data.file_count > 0) return false;
  }
  return true;
}

Status BaseStore::CheckStamp() {
  std::string value;
  const rocksdb::Status found = db_->Get(rocksdb::ReadOptions(), meta_, StampKey(), &value);
  if (found.IsNotFound() && Empty()) return WriteStamp();
  if (found.IsNotFound()) return DataLoss("base " + dir_ + " has rows but no stamp");
  PENSTOCK_RETURN_IF_ERROR(ToStatus(found, "read the stamp"));
  Stamp stamp;
  if (value.size() != sizeof(stamp)) {
    return FailedPrecondition("base " + dir_ + ": a stamp of " + std::to_string(value.size()) +
                              " bytes; this version knows format " + std::to_string(kBaseFormat));
  }
  std::memcpy(&stamp, value.data(), sizeof(stamp));
  if (stamp.crc != StampCrc(stamp)) return DataLoss("base " + dir_ + ": the stamp fails its checksum");
  if (stamp.format != kBaseFormat) {
    return FailedPrecondition("base " + dir_ + " has format " + std::to_string(stamp.format) +
                              "; this version knows format " + std::to_string(kBaseFormat));
  }
  if (stamp.cluster != options_.cluster) {
    return PermissionDenied("base " + dir_ + " belongs to cluster " + std::to_string(stamp.cluster) +
                            ", not " + std::to_string(options_.cluster));
  }
  return Status::Ok();
}

Status BaseStore::WriteStamp() {
  Stamp stamp{kBaseFormat, 0, options_.cluster};
  stamp.crc = StampCrc(stamp);
  const std::string path = IngestDir() + "/stamp.sst";
  rocksdb::SstFileWriter writer(rocksdb::EnvOptions(), TableOptions(), meta_);
  PENSTOCK_RETURN_IF_ERROR(ToStatus(writer.Open(path), "write the stamp"));
  PENSTOCK_RETURN_IF_ERROR(ToStatus(
      writer.Put(StampKey(), {reinterpret_cast<const char*>(&stamp), sizeof(stamp)}), "write the stamp"));
  PENSTOCK_RETURN_IF_ERROR(ToStatus(writer.Finish(), "write the stamp"));
  return Ingest("", path);
}

Status BaseStore::ToStatus(const rocksdb::Status& status, std::string_view what) const {
  if (status.ok()) return Status::Ok();
  std::string message = "base " + dir_ + ": " + std::string(what) + ": " + status.ToString();
  if (status.IsCorruption()) return DataLoss(std::move(message));
  if (status.IsNoSpace()) return Overloaded(std::move(message), 1000);
  // A file that the manifest names and that is gone.
  if (status.IsPathNotFound() || (status.IsIOError() && message.find("No such file") != std::string::npos)) {
    return DataLoss(std::move(message));
  }
  return Internal(std::move(message));
}

// --- Reading.

Status BaseStore::ParseRow(const rocksdb::Slice& key, const rocksdb::Slice& value, BaseRow* row,
                           std::vector<float>* floats) const {
  RowValueHeader header;
  if (key.size() != kRowKeyBytes || value.size() < sizeof(header) ||
      (value.size() - sizeof(header)) % sizeof(float) != 0) {
    return DataLoss("base " + dir_ + ": a row with a key of " + std::to_string(key.size()) +
                    " and a value of " + std::to_string(value.size()) + " bytes");
  }
  std::memcpy(&header, value.data(), sizeof(header));
  row->table = GetBigEndian<uint32_t>(key.data() + 8);
  row->key = GetBigEndian<uint64_t>(key.data() + 12);
  row->lsn = uint64_t{header.lsn_high} << 32 | header.lsn_low;
  row->push_count = header.push_count;
  row->flags = header.flags;
  row->layout = header.layout;
  floats->resize((value.size() - sizeof(header)) / sizeof(float));
  std::memcpy(floats->data(), value.data() + sizeof(header), floats->size() * sizeof(float));
  row->floats = *floats;
  return Status::Ok();
}

Status BaseStore::ForEachRow(Incarnation incarnation, const RowVisitor& visit) const {
  const RowKey begin(incarnation, 0, 0), end(incarnation + 1, 0, 0);
  const rocksdb::Slice upper = end.slice();
  rocksdb::ReadOptions options;
  options.verify_checksums = true;
  options.fill_cache = false;
  options.readahead_size = kScanReadaheadBytes;
  if (incarnation + 1 != 0) options.iterate_upper_bound = &upper;
  const std::unique_ptr<rocksdb::Iterator> at(db_->NewIterator(options, rows_));
  BaseRow row;
  std::vector<float> floats;
  for (at->Seek(begin.slice()); at->Valid(); at->Next()) {
    PENSTOCK_RETURN_IF_ERROR(ParseRow(at->key(), at->value(), &row, &floats));
    PENSTOCK_RETURN_IF_ERROR(visit(row));
  }
  return ToStatus(at->status(), "read rows");
}

Result<StoredRow> BaseStore::Get(Incarnation incarnation, TableId table, Key key) const {
  looked_up_ = true;
  const RowKey at(incarnation, table, key);
  rocksdb::PinnableSlice value;
  const rocksdb::Status found = db_->Get(rocksdb::ReadOptions(), rows_, at.slice(), &value);
  if (found.IsNotFound())
    return NotFound("row " + std::to_string(key) + " of table " + std::to_string(table) + " in the base");
  PENSTOCK_RETURN_IF_ERROR(ToStatus(found, "read a row"));
  StoredRow stored;
  PENSTOCK_RETURN_IF_ERROR(ParseRow(at.slice(), value, &stored.row, &stored.floats));
  return stored;
}

void StoredRows::Add(const BaseRow& row) {
  heads_.push_back({.row = row, .first = floats_.size(), .count = row.floats.size(), .found = true});
  floats_.insert(floats_.end(), row.floats.begin(), row.floats.end());
}

Result<StoredRows> BaseStore::Scan(Incarnation incarnation, TableId table, Key first, size_t count) const {
  constexpr size_t kScanFloats = (size_t{4} << 20) / sizeof(float);
  const RowKey begin(incarnation, table, first), end(incarnation, table + 1, 0);
  const rocksdb::Slice upper = end.slice();
  rocksdb::ReadOptions options;
  options.fill_cache = false;
  options.iterate_upper_bound = &upper;
  const std::unique_ptr<rocksdb::Iterator> at(db_->NewIterator(options, rows_));
  StoredRows rows;
  BaseRow row;
  std::vector<float> floats;
  for (at->Seek(begin.slice()); at->Valid(); at->Next()) {
    PENSTOCK_RETURN_IF_ERROR(ParseRow(at->key(), at->value(), &row, &floats));
    if (rows.size() == count || rows.floats_.size() >= kScanFloats) {
      rows.next_ = row.key;
      break;
    }
    rows.Add(row);
  }
  PENSTOCK_RETURN_IF_ERROR(ToStatus(at->status(), "read rows"));
  return rows;
}

Result<StoredRows> BaseStore::GetRows(std::span<const RowPlace> places) const {
  constexpr size_t kAtOnce = 256;
  looked_up_ = true;
  StoredRows rows;
  BaseRow row;
  std::vector<float> floats;
  std::vector<RowKey> keys;
  std::vector<rocksdb::Slice> slices;
  std::vector<rocksdb::PinnableSlice> values(std::min(kAtOnce, places.size()));
  std::vector<rocksdb::Status> statuses(values.size());
  // Rows that are asked for stay in their owner's memory; the cache is for indexes and filters.
  rocksdb::ReadOptions options;
  options.fill_cache = false;
  for (size_t first = 0; first < places.size(); first += kAtOnce) {
    const auto part = places.subspan(first, std::min(kAtOnce, places.size() - first));
    keys.clear();
    slices.clear();
    for (const RowPlace& place : part) keys.emplace_back(place.incarnation, place.table, place.key);
    for (const RowKey& key : keys) slices.push_back(key.slice());
    db_->MultiGet(options, rows_, part.size(), slices.data(), values.data(), statuses.data(),
                  /*sorted_input=*/true);
    for (size_t i = 0; i < part.size(); ++i) {
      if (statuses[i].IsNotFound()) {
        rows.AddAbsent();
        continue;
      }
      PENSTOCK_RETURN_IF_ERROR(ToStatus(statuses[i], "read a row"));
      PENSTOCK_RETURN_IF_ERROR(ParseRow(slices[i], values[i], &row, &floats));
      rows.Add(row);
      values[i].Reset();
    }
  }
  return rows;
}

StoredMeta::StoredMeta(kj::Array<capnp::word> words) : words_(std::move(words)) {
  capnp::ReaderOptions options;
  options.traversalLimitInWords =
      kj::maxValue;  // it is read as often as its owner likes, and passed its checksum
  message_ = std::make_unique<capnp::FlatArrayMessageReader>(words_, options);
}

Result<StoredMeta> BaseStore::ParseMeta(const rocksdb::Slice& key, const rocksdb::Slice& value) const {
  std::string name = "base " + dir_ + ": meta";
  if (key.size() != kShardKeyBytes || value.size() <= kMetaHeaderBytes ||
      value.size() % sizeof(capnp::word) != 0) {
    return DataLoss(name + ": a key of " + std::to_string(key.size()) + " and a value of " +
                    std::to_string(value.size()) + " bytes");
  }
  const ShardId shard = GetBigEndian<uint32_t>(key.data());
  name += " of shard " + std::to_string(shard);
  uint32_t crc;
  std::memcpy(&crc, value.data(), sizeof(crc));
  const size_t bytes = value.size() - kMetaHeaderBytes;
  if (crc != Crc32c(0, value.data() + kMetaHeaderBytes, bytes)) return DataLoss(name + " fails its checksum");
  auto words = kj::heapArray<capnp::word>(bytes / sizeof(capnp::word));
  std::memcpy(words.begin(), value.data() + kMetaHeaderBytes, bytes);
  try {
    StoredMeta stored(std::move(words));
    const auto meta = stored.reader();
    if (meta.getFormat() != proto::DELTA_FORMAT) {
      return FailedPrecondition(name + " has format " + std::to_string(meta.getFormat()) +
                                "; this version knows format " + std::to_string(proto::DELTA_FORMAT));
    }
    if (meta.getCluster() != options_.cluster || meta.getShard() != shard) {
      return DataLoss(name + " is of shard " + std::to_string(meta.getShard()) + " of cluster " +
                      std::to_string(meta.getCluster()));
    }
    return stored;
  } catch (const kj::Exception& e) {
    return DataLoss(name + ": " + e.getDescription().cStr());
  }
}

Result<std::vector<StoredMeta>> BaseStore::LoadMeta() const {
  std::vector<StoredMeta> shards;
  rocksdb::ReadOptions options;
  options.verify_checksums = true;
  options.fill_cache = false;
  const std::unique_ptr<rocksdb::Iterator> at(db_->NewIterator(options, meta_));
  for (at->SeekToFirst(); at->Valid(); at->Next()) {
    if (at->key() == StampKey()) continue;
    PENSTOCK_ASSIGN_OR_RETURN(StoredMeta meta, ParseMeta(at->key(), at->value()));
    shards.push_back(std::move(meta));
  }
  PENSTOCK_RETURN_IF_ERROR(ToStatus(at->status(), "read meta"));
  return shards;
}

uint64_t BaseStore::CompactionDebtBytes() const {
  uint64_t bytes = 0;
  db_->GetIntProperty(rows_, rocksdb::DB::Properties::kEstimatePendingCompactionBytes, &bytes);
  return bytes;
}

uint64_t BaseStore::DiskBytes() const {
  uint64_t rows = 0, meta = 0;
  db_->GetIntProperty(rows_, rocksdb::DB::Properties::kTotalSstFilesSize, &rows);
  db_->GetIntProperty(meta_, rocksdb::DB::Properties::kTotalSstFilesSize, &meta);
  return rows + meta;
}

Status BaseStore::VerifyChecksums() const { return ToStatus(db_->VerifyChecksum(), "verify"); }

// --- Changing.

// Either path may be empty: nothing for that family.
Status BaseStore::Ingest(const std::string& rows_file, const std::string& meta_file) {
  rocksdb::IngestExternalFileOptions options;
  options.move_files = true;
  options.write_global_seqno = false;
  std::vector<rocksdb::IngestExternalFileArg> args;
  const auto add = [&](rocksdb::ColumnFamilyHandle* family, const std::string& path) {
    if (path.empty()) return;
    args.emplace_back();
    args.back().column_family = family;
    args.back().external_files = {path};
    args.back().options = options;
  };
  add(rows_, rows_file);
  add(meta_, meta_file);
  if (args.empty()) return Status::Ok();
  const rocksdb::Status ingested = db_->IngestExternalFiles(args);
  // Each file has brought its index and filter into the cache, which nobody needs while all rows are in
  // memory.
  if (!looked_up_.exchange(false)) cache_->EraseUnRefEntries();
  if (ingested.ok() && !rows_file.empty()) LetFoldsGather();
  return ToStatus(ingested, "ingest");
}

// Until their files are as large together as all rows, where kFolds of them are larger than that: merging a
// part of them rewrites all rows as well.
void BaseStore::LetFoldsGather() {
  uint64_t live = 0;
  if (!db_->GetIntProperty(rows_, rocksdb::DB::Properties::kEstimateLiveDataSize, &live)) return;
  const uint64_t bytes = std::max(kFolds * options_.fold_bytes, live);
  if (bytes <= gathering_bytes_ + gathering_bytes_ / 4) return;
  gathering_bytes_ = bytes;
  const rocksdb::Status set = db_->SetOptions(rows_, {{"max_bytes_for_level_base", std::to_string(bytes)}});
  LOG_IF(WARNING, !set.ok()) << "base " << dir_ << ": " << set.ToString();
}

}  // namespace penstock
