#include "worker/data/data_plan.h"

#include <algorithm>
#include <nlohmann/json.hpp>

#include "worker/data/idx.h"

namespace penstock {
namespace {

constexpr uint64_t kPartitionBytes = 16 << 20;
constexpr uint64_t kLeastPartitions = 8;
constexpr uint64_t kMostPartitions = 65536;

uint32_t PartitionCount(const JobSpec& job, const Dataset& dataset, uint64_t records) {
  if (job.data.partitions != 0) return job.data.partitions;
  const uint64_t bytes = dataset.dense() ? records * dataset.features() : dataset.size_bytes();
  const uint64_t by_size = std::clamp(bytes / kPartitionBytes, kLeastPartitions, kMostPartitions);
  return static_cast<uint32_t>(std::clamp<uint64_t>(records / job.train.batch_size, 1, by_size));
}

Result<DataPlan> PlanData(const JobSpec& job, DataRole role, const std::shared_ptr<IdxCache>& cache) {
  ASSIGN_OR_RETURN(auto dataset, OpenJobData(job, role, cache));
  DataPlan plan;
  ASSIGN_OR_RETURN(plan.fingerprint, dataset->Fingerprint());
  ASSIGN_OR_RETURN(plan.records, dataset->CountRecords());
  plan.size_bytes = dataset->size_bytes();
  plan.dense = dataset->dense();
  plan.features = dataset->features();
  if (plan.records == 0) {
    const bool train = role == DataRole::kTrain;
    return InvalidArgument((train ? "data.train: '" + job.data.train : "data.test: '" + job.data.test) +
                           "' has no records");
  }
  plan.partitions = dataset->Partitions(PartitionCount(job, *dataset, plan.records));
  return plan;
}

nlohmann::json ToJson(const DataPlan& plan) {
  nlohmann::json partitions = nlohmann::json::array();
  for (const PartitionRange& range : plan.partitions) partitions.push_back({range.begin, range.end});
  return {{"fingerprint", plan.fingerprint}, {"size_bytes", plan.size_bytes},
          {"records", plan.records},         {"dense", plan.dense},
          {"features", plan.features},       {"partitions", std::move(partitions)}};
}

DataPlan FromJson(const nlohmann::json& json) {
  DataPlan plan;
  json.at("fingerprint").get_to(plan.fingerprint);
  json.at("size_bytes").get_to(plan.size_bytes);
  json.at("records").get_to(plan.records);
  json.at("dense").get_to(plan.dense);
  json.at("features").get_to(plan.features);
  for (const auto& range : json.at("partitions")) {
    plan.partitions.push_back({range.at(0).get<uint64_t>(), range.at(1).get<uint64_t>()});
  }
  return plan;
}

}  // namespace

Result<std::unique_ptr<Dataset>> OpenJobData(const JobSpec& job, DataRole role,
                                             std::shared_ptr<IdxCache> cache) {
  const bool train = role == DataRole::kTrain;
  std::vector<std::string> paths{train ? job.data.train : job.data.test};
  const std::string& labels = train ? job.data.train_labels : job.data.test_labels;
  if (!labels.empty()) paths.push_back(labels);
  auto dataset = Dataset::Open(job.data.format, paths,
                               {.loss = job.loss(),
                                .classes = job.model.classes,
                                .features = job.data.format == "libsvm" ? job.model.features : 0,
                                .pixel_mean = static_cast<float>(job.data.pixel_mean),
                                .max_bad_records = job.data.max_bad_records,
                                .idx_cache = std::move(cache)});
  if (!dataset.ok()) return dataset.status().Prepend(train ? "data.train" : "data.test");
  return dataset;
}

Result<JobPlan> MakeJobPlan(const JobSpec& job) {
  const auto cache = std::make_shared<IdxCache>();
  JobPlan plan;
  ASSIGN_OR_RETURN(plan.train, PlanData(job, DataRole::kTrain, cache));
  if (job.data.test.empty()) return plan;
  ASSIGN_OR_RETURN(plan.test, PlanData(job, DataRole::kTest, cache));
  if (plan.test->features != plan.train.features) {
    return InvalidArgument("data.test has " + std::to_string(plan.test->features) +
                           " features an example, data.train has " + std::to_string(plan.train.features));
  }
  return plan;
}

Status CheckUnchanged(const Dataset& dataset, const DataPlan& plan) {
  ASSIGN_OR_RETURN(const std::string now, dataset.Fingerprint());
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
