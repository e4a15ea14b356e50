#include "data/data_plan.h"

#include <algorithm>
#include <limits>
#include <nlohmann/json.hpp>

#include "common/base/strings.h"
#include "data/column_moments.h"
#include "data/file_list.h"
#include "data/idx.h"

namespace penstock {
namespace {

constexpr uint64_t kPartitionBytes = 16 << 20;
constexpr uint64_t kLeastPartitions = 8;
constexpr uint64_t kMostPartitions = 65536;

uint32_t PartitionCount(const JobSpec& job, DataRole role, const Dataset& dataset, const DataIndex& index) {
  if (job.data.partitions != 0) return job.data.partitions;
  if (job.train.sync() && role == DataRole::kTrain) return job.train.streams;
  const uint64_t bytes = job.data.format == "idx" ? index.extent() * dataset.features() : index.extent();
  const uint64_t by_size = std::clamp(bytes / kPartitionBytes, kLeastPartitions, kMostPartitions);
  return static_cast<uint32_t>(std::clamp<uint64_t>(index.records() / job.train.batch_size, 1, by_size));
}

bool HoldsOut(const JobSpec& job) { return job.data.test.empty() && job.data.holdout_every != 0; }

// The option whose files a role reads.
std::string OptionOf(const JobSpec& job, DataRole role) {
  return role == DataRole::kTrain || HoldsOut(job) ? "data.train" : "data.test";
}
const std::string& FilesOf(const JobSpec& job, DataRole role) {
  return role == DataRole::kTrain || HoldsOut(job) ? job.data.train : job.data.test;
}

// What stands for the job's own when a role's data are opened.
struct Opening {
  uint64_t max_bad_records = 0;
  bool planned = false;
};

Result<std::unique_ptr<Dataset>> OpenRole(const JobSpec& job, const std::vector<NumericScale>& scales,
                                          DataRole role, const Opening& opening,
                                          std::shared_ptr<IdxCache> cache) {
  PENSTOCK_ASSIGN_OR_RETURN(std::vector<std::string> paths, ExpandFiles(FilesOf(job, role)));
  const std::string& labels =
      role == DataRole::kTrain || HoldsOut(job) ? job.data.train_labels : job.data.test_labels;
  if (!labels.empty()) paths.push_back(labels);
  DatasetOptions options{.loss = job.loss(),
                         .classes = job.model.classes,
                         .features = job.data.format == "libsvm" ? job.model.features : 0,
                         .pixel_mean = static_cast<float>(job.data.pixel_mean),
                         .max_bad_records = opening.max_bad_records,
                         .idx_cache = std::move(cache)};
  options.schema = job.data.schema();
  if (options.schema) options.schema->set_scales(scales);
  options.header = job.data.header;
  options.planned = opening.planned;
  options.delimiter = job.data.field_delimiter();
  options.separator = job.data.value_separator();
  if (HoldsOut(job)) {
    options.holdout = {job.data.holdout_every, job.data.holdout_offset, role == DataRole::kTest};
  }
  return Dataset::Open(job.data.format, paths, options);
}

// What one reading of a role's data tells beside its plan.
struct Reading {
  RecordTally tally;
  ColumnMoments moments;
};

// The good records of each partition, and of all. scaled: their moments are wanted.
Status ReadAll(const Dataset& dataset, bool scaled, DataPlan* plan, Reading* reading) {
  plan->records = 0;
  double labels = 0, weights = 0;
  for (PartitionRange& range : plan->partitions) {
    PENSTOCK_ASSIGN_OR_RETURN(const Examples examples, dataset.ReadPartition(range));
    range.records = examples.size();
    for (size_t i = 0; i < examples.size(); ++i) {
      const double weight = examples.weights.empty() ? 1 : examples.weights[i];
      labels += weight * examples.labels[i];
      weights += weight;
    }
    plan->records += examples.size();
    plan->bad_records += examples.bad_records;
    reading->tally.Add(examples);
    if (scaled && !examples.features.empty()) reading->moments.Add(examples.features, examples.dim);
  }
  plan->label_mean = weights > 0 ? labels / weights : 0;
  return Status::Ok();
}

// What would end the job, or make it learn something else, once it runs.
Status CheckRecords(const JobSpec& job, DataRole role, const DataPlan& plan, const Reading& reading) {
  const std::string& files = FilesOf(job, role);
  if (plan.records == 0) {
    const std::string held_out = HoldsOut(job) ? (role == DataRole::kTest ? " held out" : " left") : "";
    const std::string& first_bad = reading.tally.first_bad;
    return InvalidArgument("'" + files + "' has no " + (first_bad.empty() ? "" : "good ") + "records" +
                           held_out + (first_bad.empty() ? "" : ": " + first_bad));
  }
  return reading.tally.Check(job, files);
}

Result<DataPlan> PlanRole(const JobSpec& job, DataRole role, const std::shared_ptr<IdxCache>& cache,
                          std::vector<NumericScale>* scales) {
  PENSTOCK_ASSIGN_OR_RETURN(const auto dataset,
                            OpenRole(job, *scales, role, {std::numeric_limits<uint64_t>::max()}, cache));
  DataPlan plan;
  PENSTOCK_ASSIGN_OR_RETURN(plan.fingerprint, dataset->Fingerprint());
  plan.size_bytes = dataset->size_bytes();
  plan.dense = dataset->dense();
  plan.features = dataset->features();
  plan.fields = dataset->fields();
  plan.categories = plan.fields > 0 ? job.data.hash_buckets : 0;
  {
    PENSTOCK_ASSIGN_OR_RETURN(const DataIndex index, dataset->Index());
    plan.partitions = index.Cut(PartitionCount(job, role, *dataset, index));
  }
  Reading reading;
  const bool scaled = role == DataRole::kTrain && job.data.scale != "none";
  PENSTOCK_RETURN_IF_ERROR(ReadAll(*dataset, scaled, &plan, &reading));
  PENSTOCK_RETURN_IF_ERROR(CheckRecords(job, role, plan, reading));
  if (role == DataRole::kTrain && job.data.partitions > plan.partitions.size() &&
      plan.partitions.size() == dataset->paths().size()) {
    return InvalidArgument("data.partitions is " + std::to_string(job.data.partitions) + ", and '" +
                           FilesOf(job, role) + "' stands for packed files only (" +
                           std::to_string(plan.partitions.size()) +
                           "), each of which is one partition: it would have no effect");
  }
  if (scaled) *scales = reading.moments.Scales(job.data.scale);
  return plan;
}

Result<DataPlan> PlanData(const JobSpec& job, DataRole role, const std::shared_ptr<IdxCache>& cache,
                          std::vector<NumericScale>* scales) {
  auto plan = PlanRole(job, role, cache, scales);
  if (!plan.ok()) return plan.status().Prepend(OptionOf(job, role));
  return plan;
}

// What is learned from is not what is tested on, however the files are called.
Status CheckTestApart(const JobSpec& job) {
  if (job.data.test.empty()) return Status::Ok();
  const auto identities =
      [](const std::string& list) -> Result<std::vector<std::pair<std::string, FileIdentity>>> {
    PENSTOCK_ASSIGN_OR_RETURN(const std::vector<std::string> paths, ExpandFiles(list));
    std::vector<std::pair<std::string, FileIdentity>> files;
    for (const std::string& path : paths) {
      PENSTOCK_ASSIGN_OR_RETURN(const FileReader file, FileReader::Open(path));
      files.emplace_back(path, file.identity());
    }
    return files;
  };
  const auto train = identities(job.data.train);
  if (!train.ok()) return train.status().Prepend("data.train");
  const auto test = identities(job.data.test);
  if (!test.ok()) return test.status().Prepend("data.test");
  for (const auto& [path, identity] : *test) {
    for (const auto& [trained, its] : *train) {
      if (!identity.IsSameFile(its)) continue;
      return InvalidArgument(
          "data.test: '" + path + "' is " +
          (path == trained ? "also a file of data.train" : "the file '" + trained + "' of data.train") +
          ": a test on what was learned says nothing (data.holdout_every keeps records apart)");
    }
  }
  return Status::Ok();
}

nlohmann::json ToJson(const DataPlan& plan) {
  nlohmann::json partitions = nlohmann::json::array();
  for (const PartitionRange& range : plan.partitions) {
    partitions.push_back({range.begin, range.end, range.file, range.first_record, range.records});
  }
  return {{"fingerprint", plan.fingerprint}, {"size_bytes", plan.size_bytes},
          {"records", plan.records},         {"dense", plan.dense},
          {"features", plan.features},       {"fields", plan.fields},
          {"categories", plan.categories},   {"label_mean", plan.label_mean},
          {"bad_records", plan.bad_records}, {"partitions", std::move(partitions)}};
}

DataPlan FromJson(const nlohmann::json& json) {
  DataPlan plan;
  json.at("fingerprint").get_to(plan.fingerprint);
  json.at("size_bytes").get_to(plan.size_bytes);
  json.at("records").get_to(plan.records);
  json.at("dense").get_to(plan.dense);
  json.at("features").get_to(plan.features);
  json.at("fields").get_to(plan.fields);
  json.at("categories").get_to(plan.categories);
  json.at("label_mean").get_to(plan.label_mean);
  plan.bad_records = json.value("bad_records", uint64_t{0});
  for (const auto& range : json.at("partitions")) {
    plan.partitions.push_back({.begin = range.at(0).get<uint64_t>(),
                               .end = range.at(1).get<uint64_t>(),
                               .file = range.at(2).get<uint32_t>(),
                               .first_record = range.at(3).get<uint64_t>(),
                               .records = range.at(4).get<uint64_t>()});
  }
  return plan;
}

Result<std::unique_ptr<Dataset>> OpenScaled(const JobSpec& job, const JobPlan& plan, DataRole role,
                                            bool planned, std::shared_ptr<IdxCache> cache) {
  const auto schema = job.data.schema();
  const size_t scaled = job.data.scale == "none" || !schema ? 0 : schema->dim();
  if (plan.scales.size() != scaled) {
    return InvalidArgument("data.scale is '" + job.data.scale + "', for which the job's plan must have " +
                           std::to_string(scaled) + " scales: it has " + std::to_string(plan.scales.size()));
  }
  auto dataset = OpenRole(job, plan.scales, role, {job.data.max_bad_records, planned}, std::move(cache));
  if (!dataset.ok()) return dataset.status().Prepend(OptionOf(job, role));
  return dataset;
}

}  // namespace

Result<std::unique_ptr<Dataset>> OpenJobData(const JobSpec& job, const JobPlan& plan, DataRole role,
                                             std::shared_ptr<IdxCache> cache) {
  return OpenScaled(job, plan, role, /*planned=*/false, std::move(cache));
}

Result<std::unique_ptr<Dataset>> OpenPlannedData(const JobSpec& job, const JobPlan& plan, DataRole role,
                                                 std::shared_ptr<IdxCache> cache) {
  const DataPlan* const its = role == DataRole::kTrain ? &plan.train : plan.test ? &*plan.test : nullptr;
  if (its == nullptr) return InvalidArgument("the job has no test data");
  PENSTOCK_ASSIGN_OR_RETURN(auto dataset, OpenScaled(job, plan, role, /*planned=*/true, std::move(cache)));
  PENSTOCK_RETURN_IF_ERROR(CheckUnchanged(*dataset, *its));
  return dataset;
}

Result<JobPlan> MakeJobPlan(const JobSpec& job) {
  const auto cache = std::make_shared<IdxCache>();
  JobPlan plan;
  PENSTOCK_RETURN_IF_ERROR(CheckTestApart(job));
  PENSTOCK_ASSIGN_OR_RETURN(plan.train, PlanData(job, DataRole::kTrain, cache, &plan.scales));
  if (job.data.test.empty() && !HoldsOut(job)) return plan;
  PENSTOCK_ASSIGN_OR_RETURN(plan.test, PlanData(job, DataRole::kTest, cache, &plan.scales));
  if (plan.test->features != plan.train.features) {
    return InvalidArgument("data.test has " + std::to_string(plan.test->features) +
                           " features an example, data.train has " + std::to_string(plan.train.features));
  }
  return plan;
}

uint64_t RoundsPerPass(const DataPlan& plan, uint32_t batch_size) {
  uint64_t rounds = 0;
  for (const PartitionRange& stream : plan.partitions) {
    // ceil(records / (batch_size / streams))
    rounds = std::max(rounds, (stream.records * plan.partitions.size() + batch_size - 1) / batch_size);
  }
  return rounds;
}

void RecordTally::Add(const Examples& examples) {
  bad += examples.bad_records;
  most_bad = std::max(most_bad, examples.bad_records);
  minus_ones |= examples.minus_ones;
  zeros |= examples.zeros;
  others |= std::ranges::any_of(examples.labels, [](float label) { return label > 0; });
  if (first_bad.empty() && !examples.bad_messages.empty()) first_bad = examples.bad_messages.front();
}

Status RecordTally::Check(const JobSpec& job, const std::string& files) const {
  if (most_bad > job.data.max_bad_records) {
    std::string message = first_bad;
    if (bad > 1) {
      message += "; in all " + std::to_string(bad) + " records are malformed, up to " +
                 std::to_string(most_bad) + " in a partition";
    }
    return InvalidArgument(message + " (data.max_bad_records allows " +
                           std::to_string(job.data.max_bad_records) + " in a partition)");
  }
  if (minus_ones && zeros) {
    return InvalidArgument(
        "'" + files + "' has labels -1 and 0" + (others ? " beside 1, three values" : "") + ": model.loss '" +
        job.model.loss +
        "' takes two, the lower written as -1 or as 0 throughout ('softmax' takes classes 0 to "
        "model.classes - 1)");
  }
  return Status::Ok();
}

Status CheckUnchanged(const Dataset& dataset, const DataPlan& plan) {
  PENSTOCK_ASSIGN_OR_RETURN(const std::string now, dataset.Fingerprint());
  if (now == plan.fingerprint) return Status::Ok();
  const auto was = StrSplit(plan.fingerprint, '+'), is = StrSplit(now, '+');  // of each file
  if (was.size() != is.size()) {
    return FailedPrecondition("there are " + std::to_string(is.size()) + " files, there were " +
                              std::to_string(was.size()));
  }
  const auto differs =
      static_cast<size_t>(std::mismatch(was.begin(), was.end(), is.begin()).first - was.begin());
  return FailedPrecondition("'" + dataset.paths()[differs] + "': its fingerprint was " +
                            std::string(was[differs]) + ", is " + std::string(is[differs]));
}

Status CheckRecordCount(const Dataset& dataset, const PartitionRange& range, uint64_t records) {
  if (records == range.records) return Status::Ok();
  return FailedPrecondition("'" + dataset.paths()[range.file] + "' has " + std::to_string(records) +
                            " good records in a partition (from " + std::to_string(range.begin) +
                            " on) that had " + std::to_string(range.records));
}

void to_json(nlohmann::json& json, const JobPlan& plan) {
  json = {{"train", ToJson(plan.train)}};
  if (plan.test) json["test"] = ToJson(*plan.test);
  if (plan.scales.empty()) return;
  auto& scales = json["scales"] = nlohmann::json::array();
  for (const NumericScale& scale : plan.scales) scales.push_back({scale.logarithm, scale.mean, scale.factor});
}

void from_json(const nlohmann::json& json, JobPlan& plan) {
  plan.train = FromJson(json.at("train"));
  plan.test.reset();
  if (json.contains("test")) plan.test = FromJson(json.at("test"));
  plan.scales.clear();
  if (!json.contains("scales")) return;
  for (const auto& scale : json.at("scales")) {
    plan.scales.push_back({.logarithm = scale.at(0).get<bool>(),
                           .mean = scale.at(1).get<double>(),
                           .factor = scale.at(2).get<double>()});
  }
}

}  // namespace penstock
