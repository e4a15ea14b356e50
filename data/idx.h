// IdxDataset: images and labels in the idx format of MNIST, held unpacked in memory.
//
// An idx file is 00 00 08 D, then D big-endian 32-bit sizes (records first), then the unsigned bytes, record
// after record.
#pragma once

#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "data/dataset.h"

namespace penstock {

// The files of the images and of the labels, where `paths` has both or the images alone ("images-idx3"
// becomes "labels-idx1"). InvalidArgument where it has neither, or the name of the labels cannot be told.
Result<std::vector<std::string>> IdxPaths(std::vector<std::string> paths);

struct IdxArray {
  std::vector<uint32_t> sizes;                        // [D]; sizes[0] is the records
  std::shared_ptr<const std::vector<uint8_t>> bytes;  // records * product of the other sizes
  uint64_t record_bytes() const;
};

// Reads and checks one idx file, plain, gzip or zstd. InvalidArgument names the file and says what is wrong:
// another magic, too short, too long, damaged gzip or zstd.
Result<IdxArray> ReadIdx(const std::string& path);

// Keeps what ReadIdx gave for as long as somebody uses it, so that a process unpacks a file once. A file that
// changed on disk is read again. Thread-safe; concurrent requests wait for the one that reads.
class IdxCache {
 public:
  Result<IdxArray> Get(const std::string& path);

 private:
  struct Entry {
    FileIdentity identity;
    std::vector<uint32_t> sizes;
    std::weak_ptr<const std::vector<uint8_t>> bytes;
  };
  std::mutex mutex_;
  std::map<std::string, Entry> entries_;
};

class IdxDataset final : public Dataset {
 public:
  // paths: images, labels.
  static Result<std::unique_ptr<Dataset>> Open(std::vector<std::string> paths, const DatasetOptions& options);
  IdxDataset(std::vector<std::string> paths, IdxArray images, IdxArray labels, uint64_t size_bytes,
             const DatasetOptions& options);

  bool dense() const override { return true; }
  uint64_t features() const override { return images_.record_bytes(); }
  uint64_t size_bytes() const override { return size_bytes_; }
  Result<DataIndex> Index() const override;

 protected:
  Result<Examples> Read(PartitionRange range) const override;
  bool in_memory() const override { return true; }

 private:
  const IdxArray images_, labels_;
  const uint64_t size_bytes_;
  const DatasetOptions options_;
};

}  // namespace penstock
