// BaseStore: the base of one node, a RocksDB that holds the folded rows and, in the same atomic step, what
// they cover.
//
// It is changed only by ingesting finished files, both column families in one call: no memtable, no WAL, no
// stalls. So its state is always that after some whole fold, and a crash at any moment leaves the one before
// or the one after.
//
//   column family `rows`   key: incarnation u64, table u32, key u64, all big-endian (20 bytes)
//                          value: RowValueHeader (20 bytes, little-endian), then float32 values and slots
//   column family `meta`   key: shard u32 big-endian; value: CRC-32C u32, reserved u32, proto::ShardMeta as a
//   flat message
//                          key "PENSTOCK": the stamp, format u32, CRC-32C u32 of the rest, cluster u64
//
// The folder of files under construction is the base's own with ".ingest" appended; what an interrupted fold
// left there is removed by Open. Rule 5 of docs/protocol.md.
//
// Safe to read from any thread; one fold at a time. Damage is kDataLoss and names the file or folder; a
// folder of another cluster is kPermissionDenied; an unknown format or a base that is open elsewhere
// kFailedPrecondition; a full disk kOverloaded.
#pragma once

#include <capnp/serialize.h>
#include <kj/array.h>
#include <rocksdb/db.h>
#include <rocksdb/table.h>

#include <atomic>
#include <compare>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "common/base/ids.h"
#include "common/base/status.h"
#include "proto/delta.capnp.h"

namespace penstock {

struct BaseOptions {
  uint64_t cluster = 0;
  size_t block_cache_bytes = size_t{64} << 20;
  uint64_t fold_bytes = uint64_t{256} << 20;  // about the size of a fold's file
  rocksdb::Env* env = nullptr;                // nullptr: the machine's own
};

// One row as stored. In visits `floats` (values, then slots) is valid during the call.
struct BaseRow {
  TableId table = 0;
  Key key = 0;
  Lsn lsn = 0;  // of the delta that brought it
  uint32_t push_count = 0;
  uint32_t flags = 0;
  uint16_t layout = 0;  // proto::TableDelta.layout
  std::span<const float> floats;
};

struct StoredRow {
  BaseRow row;  // its floats are those below
  std::vector<float> floats;
};

// Where a row is.
struct RowPlace {
  Incarnation incarnation = 0;
  TableId table = 0;
  Key key = 0;
  auto operator<=>(const RowPlace&) const = default;
};

// Many rows in two blocks of memory.
class StoredRows {
 public:
  size_t size() const { return heads_.size(); }
  // Whether the base has the row; false rows come from GetRows only.
  bool found(size_t i) const { return heads_[i].found; }
  // Good as long as this lives unchanged.
  BaseRow row(size_t i) const {
    BaseRow row = heads_[i].row;
    row.floats = {floats_.data() + heads_[i].first, heads_[i].count};
    return row;
  }
  // Of a scan: the key where the next one begins; nullopt: there are no more rows.
  const std::optional<Key>& next() const { return next_; }
  void Add(const BaseRow& row);
  void AddAbsent() { heads_.push_back({}); }

 private:
  struct Head {
    BaseRow row;
    size_t first = 0, count = 0;  // of floats_
    bool found = false;
  };
  friend class BaseStore;
  std::vector<Head> heads_;
  std::vector<float> floats_;
  std::optional<Key> next_;
};

// What the base knows of one shard.
class StoredMeta {
 public:
  // `words`: a flat proto::ShardMeta. Throws kj::Exception when they are no message.
  explicit StoredMeta(kj::Array<capnp::word> words);
  StoredMeta(StoredMeta&&) = default;
  StoredMeta& operator=(StoredMeta&&) = default;

  // Good as long as this lives, moves included.
  proto::ShardMeta::Reader reader() const { return message_->getRoot<proto::ShardMeta>(); }

 private:
  kj::Array<capnp::word> words_;
  std::unique_ptr<capnp::FlatArrayMessageReader> message_;
};

class BaseStore {
 public:
  // Makes the folder when there is none.
  static Result<std::unique_ptr<BaseStore>> Open(const std::string& dir, const BaseOptions& options);
  ~BaseStore();
  BaseStore(const BaseStore&) = delete;
  BaseStore& operator=(const BaseStore&) = delete;

  const std::string& dir() const { return dir_; }
  uint64_t cluster() const { return options_.cluster; }

  // All shards, ascending.
  Result<std::vector<StoredMeta>> LoadMeta() const;
  // All rows of a shard's life, ascending by table and key. Ends at the first status that is not ok.
  using RowVisitor = std::function<Status(const BaseRow&)>;
  Status ForEachRow(Incarnation incarnation, const RowVisitor& visit) const;
  // At most `count` rows of a table from `first` on, ascending, and about 4 MiB of them.
  Result<StoredRows> Scan(Incarnation incarnation, TableId table, Key first, size_t count) const;
  // The rows at these places, which are ascending, in that order.
  Result<StoredRows> GetRows(std::span<const RowPlace> places) const;
  // kNotFound when the row is not in the base.
  Result<StoredRow> Get(Incarnation incarnation, TableId table, Key key) const;

  // Bytes that background compaction still has to move; a fold slows down by it.
  uint64_t CompactionDebtBytes() const;
  uint64_t DiskBytes() const;
  // Of the files of rows: what is stored for keys, older versions and deletions included.
  struct Entries {
    uint64_t all = 0;
    uint64_t deletions = 0;
  };
  Result<Entries> CountEntries() const;
  // Merges all files of rows, so that deletions and what they delete take no more space. Takes minutes for
  // tens of GB, beside reads and a fold; ends early when `cancel` becomes true.
  Status Compact(std::atomic<bool>& cancel);
  // Reads every block of every file against its checksum.
  Status VerifyChecksums() const;

 private:
  friend class BaseWriter;
  BaseStore(const std::string& dir, const BaseOptions& options);

  rocksdb::Options TableOptions() const;
  rocksdb::DBOptions DatabaseOptions() const;
  std::string IngestDir() const { return dir_ + ".ingest"; }
  Status RemoveLeftovers();
  Status OpenDatabase();
  Status CheckStamp();
  Status WriteStamp();
  bool Empty() const;
  Status Ingest(const std::string& rows_file, const std::string& meta_file);
  void LetFoldsGather();
  bool TakesDirectWrites() const;
  Status ToStatus(const rocksdb::Status& status, std::string_view what) const;
  Status ParseRow(const rocksdb::Slice& key, const rocksdb::Slice& value, BaseRow* row,
                  std::vector<float>* floats) const;
  Result<StoredMeta> ParseMeta(const rocksdb::Slice& key, const rocksdb::Slice& value) const;

  const std::string dir_;
  const BaseOptions options_;
  rocksdb::Env* env_;
  std::shared_ptr<rocksdb::Cache> cache_;
  bool direct_ = false;                          // files are written past the system's page cache
  mutable std::atomic<bool> looked_up_ = false;  // rows, since the last ingest
  uint64_t gathering_bytes_ = 0;                 // LetFoldsGather; of who ingests
  std::unique_ptr<rocksdb::DB> db_;
  // Owned by db_, released before it.
  rocksdb::ColumnFamilyHandle* default_ = nullptr;
  rocksdb::ColumnFamilyHandle* rows_ = nullptr;
  rocksdb::ColumnFamilyHandle* meta_ = nullptr;
};

}  // namespace penstock
