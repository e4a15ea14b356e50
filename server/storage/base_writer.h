// BaseWriter: one fold's change of the base (base_store.h).
#pragma once

#include <rocksdb/sst_file_writer.h>

#include <memory>
#include <string>

#include "server/storage/base_store.h"

namespace penstock {

// Rows come in ascending order of (incarnation, table, key), each at most
// once; shards ascending; removals of ranges in any order, and they do not touch rows put by the same writer.
// Nothing is visible, and nothing survives, before Commit has returned ok.
class BaseWriter {
 public:
  explicit BaseWriter(BaseStore& base);
  ~BaseWriter();  // removes files that were not committed
  BaseWriter(const BaseWriter&) = delete;
  BaseWriter& operator=(const BaseWriter&) = delete;

  Status PutRow(Incarnation incarnation, const BaseRow& row);
  Status DeleteRow(Incarnation incarnation, TableId table, Key key);
  Status RemoveTable(Incarnation incarnation, TableId table);
  Status RemoveIncarnation(Incarnation incarnation);
  Status RemoveMeta(ShardId shard);
  Status PutMeta(ShardId shard, kj::ArrayPtr<const capnp::word> words);
  // Closes and syncs the files.
  Status Finish();
  // Makes them part of the base, atomically and durably. After Finish.
  Status Commit();
  // Of the files, after Finish.
  uint64_t bytes() const { return bytes_; }

 private:
  struct File;
  Result<rocksdb::SstFileWriter*> Writer(File& file);
  Status Close(File& file);

  BaseStore& base_;
  std::unique_ptr<File> rows_file_, meta_file_;
  std::string value_;  // scratch
  uint64_t bytes_ = 0;
};

}  // namespace penstock
