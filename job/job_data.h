// JobData: the [data] section of a job file: which files, in which format, cut and checked how.
//
// Declared and checked here; job_spec.h puts the sections together and checks what concerns several of them.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "common/base/options.h"
#include "common/base/status.h"
#include "job/feature_schema.h"

namespace penstock {

// Characters of data.delimiter.
inline constexpr size_t kMaxDelimiter = 8;

struct JobData {
  std::string train;
  std::string test;
  std::string format = "libsvm";
  std::string train_labels;
  std::string test_labels;
  double pixel_mean = 0;
  std::vector<std::string> columns;
  std::string header = "auto";
  std::string delimiter;
  std::string multi_separator = "|";
  std::string scale = "none";
  uint64_t hash_buckets = 0;
  uint64_t max_bad_records = 0;
  uint32_t partitions = 0;
  uint64_t holdout_every = 0;
  uint64_t holdout_offset = 0;

  // Adds every key to `options`, bound to the members of this object.
  void Declare(OptionSet* options);
  // What single keys cannot say. InvalidArgument names the keys.
  Status Validate() const;

  // Of validated data: what stands between fields, and between the values of a column of kind multi.
  std::string field_delimiter() const;
  char value_separator() const;
  // Of validated data: the columns of csv, tsv, ratings and clicklog; nullopt for libsvm and idx.
  std::optional<FeatureSchema> schema() const;
};

// A list of files as data.train has it ("a,b*"), each made absolute from the current directory.
std::string AbsoluteFiles(const std::string& list);

}  // namespace penstock
