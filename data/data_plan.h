// JobPlan: what a job's submitter finds out about its data, once, so that every worker cuts it in the same
// way.
//
// It travels and is journaled with the job. A worker opens the same files and refuses to go on when they are
// not the ones that were planned with: minibatches are a function of the data (MinibatchPlan), and so must be
// every re-run.
#pragma once

#include <memory>
#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <string>
#include <vector>

#include "common/base/status.h"
#include "data/dataset.h"
#include "job/job_spec.h"
#include "model/batch.h"

namespace penstock {

struct DataPlan {
  std::string fingerprint;  // Dataset::Fingerprint
  uint64_t size_bytes = 0;
  uint64_t records = 0;  // good ones, of all partitions
  bool dense = false;
  uint64_t features = 0;                   // Dataset::features
  uint64_t fields = 0;                     // Dataset::fields
  uint64_t categories = 0;                 // DataShape::categories
  double label_mean = 0;                   // of the good records, weighted where they have weights
  std::vector<PartitionRange> partitions;  // with the number of good records of each
  uint64_t bad_records = 0;                // malformed ones, of all partitions
};

struct JobPlan {
  DataPlan train;
  std::optional<DataPlan> test;      // absent where the job neither names nor holds out test data
  std::vector<NumericScale> scales;  // of the numeric columns, by data.scale; empty with "none"

  DataShape shape() const {
    return {.dense = train.dense,
            .features = train.features,
            .training_examples = train.records,
            .label_mean = train.label_mean,
            .fields = train.fields,
            .categories = train.categories};
  }
};

enum class DataRole { kTrain, kTest };

// The data set of a job, its numbers scaled as the plan says; data.test or data.holdout_every must be set for
// kTest. Errors are prefixed with the option that names the file.
Result<std::unique_ptr<Dataset>> OpenJobData(const JobSpec& job, const JobPlan& plan, DataRole role,
                                             std::shared_ptr<IdxCache> cache = nullptr);

// The data that the plan was made of, for whoever goes on with its job. What is refused of a header when a
// job is submitted is not looked at. FailedPrecondition, naming the file, if the data are not those of the
// plan any more; InvalidArgument where it has no such data.
Result<std::unique_ptr<Dataset>> OpenPlannedData(const JobSpec& job, const JobPlan& plan, DataRole role,
                                                 std::shared_ptr<IdxCache> cache = nullptr);

// Reads all data, which tells where it is cut, how many good records each partition has and by what numbers
// are scaled. data.partitions = 0 means one for every 16 MiB of (unpacked) data, at least 8, and never so
// many that a partition has less than one full minibatch. InvalidArgument says what would end the job later:
// more malformed records in a partition than max_bad_records, no good ones, labels -1 and 0 beside each
// other, a test file that is one of the training files, test and training data that differ in kind.
Result<JobPlan> MakeJobPlan(const JobSpec& job);

// The optimizer steps of a pass of a sync job: so many that no stream gives more than its share of batch_size
// to any.
uint64_t RoundsPerPass(const DataPlan& plan, uint32_t batch_size);

// What is wrong with records as such, gathered over the partitions of a role's data, or over other pieces.
struct RecordTally {
  std::string first_bad;                   // message of the first malformed record
  uint64_t bad = 0, most_bad = 0;          // malformed records, and those of one piece
  bool minus_ones = false, zeros = false;  // as Examples has them
  bool others = false;                     // labels above 0

  void Add(const Examples& examples);
  // InvalidArgument, naming the files: more malformed records in a piece than data.max_bad_records, labels -1
  // and 0 beside each other.
  Status Check(const JobSpec& job, const std::string& files) const;
};

// FailedPrecondition, naming the file, if the data are not those of the plan any more.
Status CheckUnchanged(const Dataset& dataset, const DataPlan& plan);

// FailedPrecondition, naming the file, if a partition has not as many good records as were planned with:
// minibatches are numbered by them.
Status CheckRecordCount(const Dataset& dataset, const PartitionRange& range, uint64_t records);

void to_json(nlohmann::json& json, const JobPlan& plan);
// Missing members throw nlohmann's exceptions.
void from_json(const nlohmann::json& json, JobPlan& plan);

}  // namespace penstock
