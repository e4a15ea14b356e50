// The files of one fold: written in the order of their keys, and ingested together.
#include "server/storage/base_writer.h"

#include <rocksdb/env.h>

#include <optional>

#include "server/storage/base_format.h"

namespace penstock {

struct BaseWriter::File {
  std::string path;
  rocksdb::ColumnFamilyHandle* family;
  std::optional<rocksdb::SstFileWriter> writer;
  bool finished = false;
};

BaseWriter::BaseWriter(BaseStore& base)
    : base_(base),
      rows_file_(new File{base.IngestDir() + "/rows.sst", base.rows_, {}, false}),
      meta_file_(new File{base.IngestDir() + "/meta.sst", base.meta_, {}, false}) {}

BaseWriter::~BaseWriter() {
  for (File* file : {rows_file_.get(), meta_file_.get()}) {
    const bool begun = file->writer || file->finished;
    file->writer.reset();
    if (begun)
      base_.env_->DeleteFile(file->path).PermitUncheckedError();  // gone already when it was ingested
  }
}

Result<rocksdb::SstFileWriter*> BaseWriter::Writer(File& file) {
  if (file.finished) return Internal("base " + base_.dir() + ": " + file.path + " is finished");
  if (!file.writer) {
    // What a fold writes is read again by the next compaction at the earliest.
    rocksdb::EnvOptions options;
    options.use_direct_writes = base_.direct_;
    file.writer.emplace(options, base_.TableOptions(), file.family, false);
    PENSTOCK_RETURN_IF_ERROR(base_.ToStatus(file.writer->Open(file.path), "create " + file.path));
  }
  return &*file.writer;
}

Status BaseWriter::PutRow(Incarnation incarnation, const BaseRow& row) {
  const RowValueHeader header{static_cast<uint32_t>(row.lsn),
                              static_cast<uint32_t>(row.lsn >> 32),
                              row.push_count,
                              row.flags,
                              row.layout,
                              0};
  value_.assign(reinterpret_cast<const char*>(&header), sizeof(header));
  value_.append(reinterpret_cast<const char*>(row.floats.data()), row.floats.size_bytes());
  PENSTOCK_ASSIGN_OR_RETURN(rocksdb::SstFileWriter * writer, Writer(*rows_file_));
  return base_.ToStatus(writer->Put(RowKey(incarnation, row.table, row.key).slice(), value_), "write rows");
}

Status BaseWriter::DeleteRow(Incarnation incarnation, TableId table, Key key) {
  PENSTOCK_ASSIGN_OR_RETURN(rocksdb::SstFileWriter * writer, Writer(*rows_file_));
  return base_.ToStatus(writer->Delete(RowKey(incarnation, table, key).slice()), "write rows");
}

Status BaseWriter::RemoveTable(Incarnation incarnation, TableId table) {
  PENSTOCK_ASSIGN_OR_RETURN(rocksdb::SstFileWriter * writer, Writer(*rows_file_));
  const RowKey begin(incarnation, table, 0), end(incarnation, table + 1, 0);
  return base_.ToStatus(writer->DeleteRange(begin.slice(), end.slice()), "write rows");
}

Status BaseWriter::RemoveIncarnation(Incarnation incarnation) {
  PENSTOCK_ASSIGN_OR_RETURN(rocksdb::SstFileWriter * writer, Writer(*rows_file_));
  const RowKey begin(incarnation, 0, 0), end(incarnation + 1, 0, 0);
  return base_.ToStatus(writer->DeleteRange(begin.slice(), end.slice()), "write rows");
}

Status BaseWriter::PutMeta(ShardId shard, kj::ArrayPtr<const capnp::word> words) {
  const auto bytes = words.asBytes();
  const uint32_t header[2] = {Crc32c(0, bytes.begin(), bytes.size()), 0};
  static_assert(sizeof(header) == kMetaHeaderBytes);
  value_.assign(reinterpret_cast<const char*>(header), sizeof(header));
  value_.append(reinterpret_cast<const char*>(bytes.begin()), bytes.size());
  PENSTOCK_ASSIGN_OR_RETURN(rocksdb::SstFileWriter * writer, Writer(*meta_file_));
  return base_.ToStatus(writer->Put(ShardKey(shard).slice(), value_), "write meta");
}

Status BaseWriter::RemoveMeta(ShardId shard) {
  PENSTOCK_ASSIGN_OR_RETURN(rocksdb::SstFileWriter * writer, Writer(*meta_file_));
  return base_.ToStatus(writer->Delete(ShardKey(shard).slice()), "write meta");
}

Status BaseWriter::Close(File& file) {
  if (!file.writer) return Status::Ok();
  rocksdb::ExternalSstFileInfo info;
  PENSTOCK_RETURN_IF_ERROR(base_.ToStatus(file.writer->Finish(&info), "finish " + file.path));
  bytes_ += info.file_size;
  file.writer.reset();
  file.finished = true;
  return Status::Ok();
}

Status BaseWriter::Finish() {
  PENSTOCK_RETURN_IF_ERROR(Close(*rows_file_));
  return Close(*meta_file_);
}

Status BaseWriter::Commit() {
  return base_.Ingest(rows_file_->finished ? rows_file_->path : "",
                      meta_file_->finished ? meta_file_->path : "");
}

}  // namespace penstock
