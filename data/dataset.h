// Dataset: a training or test set on disk, cut into partitions at record boundaries.
//
// Formats:
//   libsvm  one text file, "label id:value id:value ... # comment" a line. Ids are kept as they are written
//   (0- or
//           1-based) and must ascend. Empty lines and comment lines are no records. A partition is a byte
//           range and has the records whose first byte lies in it, so cutting a file reads nothing.
//   csv, tsv, ratings, clicklog
//           text of fields, which column_format.h explains.
//   idx     two files of unsigned bytes as MNIST has them: images (records x any shape, pixels scaled to
//   0..1, less
//           pixel_mean) and labels; plain or gzip, told apart by content. A partition is a range of records.
//
// Labels become what Batch::labels says: for logistic and hinge -1 and 0 become 0, +1 becomes 1, anything
// else is malformed; for softmax whole numbers 0 .. classes-1; for squared any finite number.
//
// A malformed record is counted and skipped; the one that passes max_bad_records in one partition ends the
// reading with InvalidArgument "FILE:LINE: what is wrong, what is allowed". (The limit of a whole job is the
// sum over its partitions, which the scheduler keeps.)
//
// What a Dataset gives is constant after Open, and any number of threads may read it at once. The files must
// not change from then on: whatever reads them compares size, inode and time of change with those that Open
// saw, and fails with FailedPrecondition naming the file. Once Fingerprint was taken, a file of up to 64 MiB
// of which only inode or time differ is read as a whole, and is still the same if its contents are. Whether
// the files are those of a job Fingerprint tells.
#pragma once

#include <cstdint>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "common/base/status.h"
#include "data/data_index.h"
#include "data/examples.h"
#include "data/file_reader.h"
#include "job/feature_schema.h"
#include "job/loss_kind.h"

namespace penstock {

class IdxCache;

struct DatasetOptions {
  LossKind loss = LossKind::kLogistic;  // decides which labels are allowed
  uint32_t classes = 2;                 // softmax
  uint64_t features = 0;                // libsvm: ids must be below; 0 allows any id below 2^63
  float pixel_mean = 0;                 // idx: subtracted from the scaled pixels
  uint64_t max_bad_records = 0;
  Holdout holdout = {};  // which records are taken
  // csv, tsv, ratings, clicklog: with the scales that numbers are read by
  std::optional<FeatureSchema> schema = std::nullopt;
  std::string header = "auto";  // csv, tsv, ratings: yes, no, or auto (ColumnFormat)
  bool planned = false;  // the data of a job that runs: a header that would be refused stays what it was
  std::string delimiter = ",";  // csv, ratings: one character, or several up to kMaxDelimiter
  char separator = '|';         // csv, tsv: of the values of a column of kind multi
  std::shared_ptr<IdxCache> idx_cache =
      nullptr;  // shared by a process's data sets so that each file is unpacked once; may be null
};

class Dataset {
 public:
  // paths: of text any number, in the order that records are counted in; idx images and labels, or images
  // alone where the name of the labels follows from it ("images-idx3" becomes "labels-idx1"). NotFound,
  // PermissionDenied or InvalidArgument name the file; an idx file is read and checked as a whole here.
  static Result<std::unique_ptr<Dataset>> Open(const std::string& format,
                                               const std::vector<std::string>& paths,
                                               const DatasetOptions& options);
  virtual ~Dataset() = default;

  virtual bool dense() const = 0;
  virtual uint64_t features() const = 0;         // dense: floats an example; sparse: DatasetOptions::features
  virtual uint64_t fields() const { return 0; }  // of categories, beside dense features
  virtual uint64_t size_bytes() const = 0;       // of the files as they lie on disk
  // Where the records lie. Reads all files of text. Malformed records count as well.
  virtual Result<DataIndex> Index() const = 0;
  // Changes when the contents do: CRC-32C of each whole file up to 64 MiB, beyond that of 64 sampled MiB,
  // with the size.
  Result<std::string> Fingerprint() const;
  const std::vector<std::string>& paths() const { return paths_; }

  // `range` must come from the index of these very files; InvalidArgument where there are not so many.
  Result<Examples> ReadPartition(const PartitionRange& range) const;

 protected:
  explicit Dataset(std::vector<std::string> paths) : paths_(std::move(paths)) {}
  // What ReadPartition gives of files that have not changed.
  virtual Result<Examples> Read(PartitionRange range) const = 0;
  // The data are in memory: reading them does not touch the files again.
  virtual bool in_memory() const { return false; }
  // What the file is now, if its contents are what they were; FailedPrecondition. Something that was read
  // between two checks that give the same was not written to meanwhile.
  Result<FileIdentity> CheckSame(size_t file) const;

  const std::vector<std::string> paths_;

 private:
  struct Seen {
    FileIdentity identity;    // before anything was read, or later with the same fingerprint
    std::string fingerprint;  // of this file; empty: not taken yet
  };
  mutable std::mutex mutex_;
  mutable std::vector<Seen> seen_;  // beside paths_; guarded by mutex_, its size is constant
};

// Appends what the loss makes of `label` (as written), or says why it is not allowed. Shared by the readers.
Status AddLabel(double label, const DatasetOptions& options, Examples* examples);

}  // namespace penstock
