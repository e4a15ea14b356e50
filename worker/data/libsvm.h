// LibsvmDataset: a libsvm text file, read in byte ranges (dataset.h has the format).
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "worker/data/dataset.h"
#include "worker/data/file_reader.h"

namespace penstock {

class LibsvmDataset final : public Dataset {
 public:
  static Result<std::unique_ptr<Dataset>> Open(const std::string& path, const DatasetOptions& options);
  LibsvmDataset(FileReader file, const DatasetOptions& options);

  bool dense() const override { return false; }
  uint64_t features() const override { return options_.features; }
  uint64_t size_bytes() const override { return file_.size(); }
  Result<uint64_t> CountRecords() const override;
  Result<Examples> ReadPartition(PartitionRange range) const override;

 protected:
  uint64_t extent() const override { return file_.size(); }

 private:
  struct Text {
    std::vector<char> bytes;  // the lines that begin in a range, whole, each ended by '\n'
    uint64_t offset = 0;      // of bytes[0] in the file
  };
  Result<Text> ReadLines(PartitionRange range) const;
  Result<uint64_t> CountLines(uint64_t end) const;  // newlines in [0, end)

  const FileReader file_;
  const DatasetOptions options_;
};

}  // namespace penstock
