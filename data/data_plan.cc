#include "data/data_plan.h"

#include <algorithm>
#include <limits>
#include <nlohmann/json.hpp>

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

// Opens a role's data; `max_bad_records` stands for the job's.
Result<std::unique_ptr<Dataset>> OpenRole(const JobSpec& job, DataRole role, uint64_t max_bad_records,
                                          std::shared_ptr<IdxCache> cache) {
  PENSTOCK_ASSIGN_OR_RETURN(std::vector<std::string> paths, ExpandFiles(FilesOf(job, role)));
  const std::string& labels =
      role == DataRole::kTrain || HoldsOut(job) ? job.data.train_labels : job.data.test_labels;
  if (!labels.empty()) paths.push_back(labels);
  DatasetOptions options{.loss = job.loss(),
                         .classes = job.model.classes,
                         .features = job.data.format == "libsvm" ? job.model.features : 0,
                         .pixel_mean = static_cast<float>(job.data.pixel_mean),
                         .max_bad_records = max_bad_records,
                         .idx_cache = std::move(cache)};
  options.schema = job.data.schema();
  options.header = job.data.header;
  if (!job.data.delimiter.empty()) options.delimiter = job.data.delimiter[0];
  options.separator = job.data.multi_separator[0];
  if (HoldsOut(job)) {
    options.holdout = {job.data.holdout_every, job.data.holdout_offset, role == DataRole::kTest};
  }
  return Dataset::Open(job.data.format, paths, options);
}

// The good records of each partition, and of all.
Status CountGood(const Dataset& dataset, DataPlan* plan, std::string* first_bad) {
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
    if (first_bad->empty() && !examples.bad_messages.empty()) *first_bad = examples.bad_messages.front();
  }
  plan->label_mean = weights > 0 ? labels / weights : 0;
  return Status::Ok();
}

Result<DataPlan> PlanRole(const JobSpec& job, DataRole role, const std::shared_ptr<IdxCache>& cache) {
  PENSTOCK_ASSIGN_OR_RETURN(const auto dataset,
                            OpenRole(job, role, std::numeric_limits<uint64_t>::max(), cache));
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
  std::string first_bad;
  PENSTOCK_RETURN_IF_ERROR(CountGood(*dataset, &plan, &first_bad));
  if (plan.records > 0) return plan;
  const std::string held_out = HoldsOut(job) ? (role == DataRole::kTest ? " held out" : " left") : "";
  return InvalidArgument("'" + FilesOf(job, role) + "' has no " + (first_bad.empty() ? "" : "good ") +
                         "records" + held_out + (first_bad.empty() ? "" : ": " + first_bad));
}

Result<DataPlan> PlanData(const JobSpec& job, DataRole role, const std::shared_ptr<IdxCache>& cache) {
  auto plan = PlanRole(job, role, cache);
  if (!plan.ok()) return plan.status().Prepend(OptionOf(job, role));
  return plan;
}

nlohmann::json ToJson(const DataPlan& plan) {
  nlohmann::json partitions = nlohmann::json::array();
  for (const PartitionRange& range : plan.partitions) {
    partitions.push_back({range.begin, range.end, range.file, range.first_record, range.records});
  }
  return {{"fingerprint", plan.fingerprint},
          {"size_bytes", plan.size_bytes},
          {"records", plan.records},
          {"dense", plan.dense},
          {"features", plan.features},
          {"fields", plan.fields},
          {"categories", plan.categories},
          {"label_mean", plan.label_mean},
          {"partitions", std::move(partitions)}};
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
  for (const auto& range : json.at("partitions")) {
    plan.partitions.push_back({.begin = range.at(0).get<uint64_t>(),
                               .end = range.at(1).get<uint64_t>(),
                               .file = range.at(2).get<uint32_t>(),
                               .first_record = range.at(3).get<uint64_t>(),
                               .records = range.at(4).get<uint64_t>()});
  }
  return plan;
}

}  // namespace

Result<std::unique_ptr<Dataset>> OpenJobData(const JobSpec& job, DataRole role,
                                             std::shared_ptr<IdxCache> cache) {
  auto dataset = OpenRole(job, role, job.data.max_bad_records, std::move(cache));
  if (!dataset.ok()) return dataset.status().Prepend(OptionOf(job, role));
  return dataset;
}

Result<JobPlan> MakeJobPlan(const JobSpec& job) {
  const auto cache = std::make_shared<IdxCache>();
  JobPlan plan;
  PENSTOCK_ASSIGN_OR_RETURN(plan.train, PlanData(job, DataRole::kTrain, cache));
  if (job.data.test.empty() && !HoldsOut(job)) return plan;
  PENSTOCK_ASSIGN_OR_RETURN(plan.test, PlanData(job, DataRole::kTest, cache));
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

Status CheckUnchanged(const Dataset& dataset, const DataPlan& plan) {
  PENSTOCK_ASSIGN_OR_RETURN(const std::string now, dataset.Fingerprint());
  if (now == plan.fingerprint) return Status::Ok();
  return FailedPrecondition("the data changed since the job was submitted: fingerprint was " +
                            plan.fingerprint + ", is " + now);
}

void to_json(nlohmann::json& json, const JobPlan& plan) {
  json = {{"train", ToJson(plan.train)}};
  if (plan.test) json["test"] = ToJson(*plan.test);
}

void from_json(const nlohmann::json& json, JobPlan& plan) {
  plan.train = FromJson(json.at("train"));
  plan.test.reset();
  if (json.contains("test")) plan.test = FromJson(json.at("test"));
}

}  // namespace penstock
