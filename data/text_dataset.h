// TextDataset: text files of one format, plain ones read in byte ranges, packed ones (gzip, zstd) as a whole.
//
// Plain or packed is told file by file from its first bytes. A byte-order mark of UTF-8 is passed over.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "data/byte_stream.h"
#include "data/dataset.h"
#include "data/record_parser.h"

namespace penstock {

class TextDataset final : public Dataset {
 public:
  // Looks at the first bytes of every file. InvalidArgument also "FILE:1: ..." where a header is not what it
  // must be.
  static Result<std::unique_ptr<Dataset>> Open(std::vector<std::string> paths,
                                               std::unique_ptr<TextFormat> format,
                                               const DatasetOptions& options);

  bool dense() const override { return format_->dense(); }
  uint64_t features() const override { return format_->features(); }
  uint64_t fields() const override { return format_->fields(); }
  uint64_t size_bytes() const override;
  Result<DataIndex> Index() const override;

 protected:
  Result<Examples> Read(PartitionRange range) const override;

 private:
  struct File {
    uint64_t size = 0;  // as it lies on disk
    Packing packing = Packing::kPlain;
    uint64_t data_begin = 0;  // of the unpacked file: behind byte-order mark and header
  };
  TextDataset(std::vector<std::string> paths, std::unique_ptr<TextFormat> format,
              const DatasetOptions& options)
      : Dataset(std::move(paths)), format_(std::move(format)), options_(options) {}
  Status OpenFile(const std::string& path);
  Status ReadBegin(ByteStream* stream, const std::string& path, File* file) const;
  Status IndexFile(size_t number, DataIndex* index) const;
  // How many line ends the unpacked file has in [begin, end).
  Result<uint64_t> CountLineEnds(uint32_t file, uint64_t begin, uint64_t end) const;
  bool IsEmpty(const char* record) const;

  const std::unique_ptr<TextFormat> format_;
  const DatasetOptions options_;
  std::vector<File> files_;  // beside paths_
};

}  // namespace penstock
