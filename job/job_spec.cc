#include "job/job_spec.h"

#include <algorithm>
#include <nlohmann/json.hpp>

#include "job/job_check.h"

namespace penstock {
namespace {

Status CheckName(const std::string& name) {
  const bool allowed =
      !name.empty() && name.size() <= 100 && std::isalnum(static_cast<unsigned char>(name[0])) &&
      name.find_first_not_of("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_.-") ==
          std::string::npos;
  if (allowed) return Status::Ok();
  return InvalidArgument(
      "job.name is '" + name +
      "', allowed are 1 to 100 letters, digits, '_', '.' and '-', a letter or digit first");
}

constexpr char kOverride[] = "--set";

// What is tested on is said in two ways, of which one excludes the other: an override with one of them takes
// the place of the file's other one.
void ReplaceHeldOut(const OptionSet& options, JobData* data) {
  const auto overridden = [&](const char* key) { return options.OriginOf(key) == kOverride; };
  const bool files = overridden("data.test") && !data->test.empty();
  const bool rule = overridden("data.holdout_every") && data->holdout_every != 0;
  if (files && !rule && !overridden("data.holdout_offset")) data->holdout_every = data->holdout_offset = 0;
  if (!rule || files) return;
  data->test.clear();
  if (!overridden("data.test_labels")) data->test_labels.clear();
}

}  // namespace

void JobSpec::Declare(OptionSet* options) {
  options->DescribeSection("job", "The job itself.");
  options->Add("job", "name", &name,
               {.help = "Its tables are called <name>/weights, <name>/layer1, ...", .required = true});
  data.Declare(options);
  model.Declare(options);
  table.Declare(options);
  train.Declare(options);
  options->AddFamily<JobTable>(
      "tables",
      "What is different in one table of the job: the keys of the sections optimizer, schedule, "
      "initializer, admission, expiry and train that are written in [tables.NAME.SECTION] take the place of "
      "the job's own for the table NAME: 'weights' of linear, fm, mf and of deep with wide; 'factors' of fm "
      "and mf; 'layer1', 'layer2', ... and 'embeddings' of deep. A section with a kind of its own takes "
      "nothing over from the job's.",
      &tables);
}

Status JobSpec::Validate() const {
  PENSTOCK_RETURN_IF_ERROR(CheckName(name));
  PENSTOCK_RETURN_IF_ERROR(data.Validate());
  PENSTOCK_RETURN_IF_ERROR(model.Validate());
  PENSTOCK_RETURN_IF_ERROR(model.ValidateFor(data));
  PENSTOCK_RETURN_IF_ERROR(OnlyWith(!train.sync(), data.partitions == 0, "data.partitions",
                                    "train.consistency 'async' or 'ssp' (sync has train.streams)"));
  const auto check = [&](const JobTable& its, const std::string& prefix) -> Status {
    PENSTOCK_RETURN_IF_ERROR(its.Validate(prefix));
    PENSTOCK_RETURN_IF_ERROR(OnlyWith(!model.l2_all, !its.rows.any(),
                                      prefix + "admission or " + prefix + "expiry",
                                      "model.l2_all = false (it steps all rows at every minibatch)"));
    return OnlyWith(!train.sync(), !its.rows.any(), prefix + "admission or " + prefix + "expiry",
                    "train.consistency 'async' or 'ssp'");
  };
  PENSTOCK_RETURN_IF_ERROR(check(table, ""));
  for (const auto& [its_name, keys] : tables.items()) {
    PENSTOCK_ASSIGN_OR_RETURN(const JobTable its, TableOf(its_name));
    PENSTOCK_RETURN_IF_ERROR(check(its, "tables." + its_name + "."));
  }
  PENSTOCK_RETURN_IF_ERROR(train.Validate());
  const std::string& metric = train.early_stop_metric;
  const bool squared = loss() == LossKind::kSquared, softmax = loss() == LossKind::kSoftmax;
  if ((metric == "rmse" && !squared) || (metric == "accuracy" && squared) ||
      (metric == "auc" && (squared || softmax))) {
    return InvalidArgument("train.early_stop_metric is '" + metric + "', which model.loss '" + model.loss +
                           "' does not have");
  }
  PENSTOCK_RETURN_IF_ERROR(OnlyWith(train.evaluate_every > 0, metric == "loss", "train.early_stop_metric",
                                    "train.evaluate_every above 0"));
  PENSTOCK_RETURN_IF_ERROR(OnlyWith(train.evaluate_every > 0, train.early_stop_min_delta == 0,
                                    "train.early_stop_min_delta", "train.evaluate_every above 0"));
  const bool usual = train.inflight == 1 || train.inflight == JobTrain().inflight;
  return OnlyWith(!train.sync(), usual, "train.inflight above 2",
                  "train.consistency 'async' or 'ssp' (sync has one push in flight)");
}

LossKind JobSpec::loss() const {
  const auto kind = ParseLossKind(model.loss);
  return kind.ok() ? *kind : LossKind::kLogistic;
}

Durability JobSpec::DurabilityOf(const JobTable& its) const {
  const auto level = ParseDurability(its.durability);
  const Durability least = train.sync() ? Durability::kLogged : Durability::kMemory;
  return level.ok() ? std::max(*level, least) : Durability::kLogged;
}

Result<JobTable> JobSpec::TableOf(const std::string& name) const {
  JobTable its = table;
  const auto keys = tables.find(name);
  if (keys == tables.end()) return its;
  const auto has_kind = [&](const char* section) {
    return keys->contains(section) && keys->at(section).contains("kind");
  };
  if (has_kind("optimizer")) its.optimizer = {};
  if (has_kind("schedule")) its.schedule = {};
  if (has_kind("initializer")) its.initializer = {};
  OptionSet options;
  its.Declare(&options);
  PENSTOCK_RETURN_IF_ERROR(options.FromJson(*keys, "tables." + name));
  its.optimizer.Resolve(model.kind);
  return its;
}

Result<JobSpec> LoadJob(const std::string& path, const std::vector<std::string>& overrides) {
  JobSpec job;
  OptionSet options;
  job.Declare(&options);
  PENSTOCK_RETURN_IF_ERROR(options.LoadFile(path));
  for (const std::string& assignment : overrides)
    PENSTOCK_RETURN_IF_ERROR(options.Set(assignment, kOverride));
  ReplaceHeldOut(options, &job.data);
  PENSTOCK_RETURN_IF_ERROR(options.Validate().Prepend(path));
  job.table.optimizer.Resolve(job.model.kind);
  PENSTOCK_RETURN_IF_ERROR(job.Validate().Prepend(path));
  for (std::string* file : {&job.data.train, &job.data.test, &job.data.train_labels, &job.data.test_labels})
    *file = AbsoluteFiles(*file);
  return job;
}

nlohmann::json JobToJson(const JobSpec& job) {
  JobSpec copy = job;
  OptionSet options;
  copy.Declare(&options);
  return options.ToJson();
}

Result<JobSpec> JobFromJson(const nlohmann::json& json) {
  nlohmann::json sections = json;
  if (sections.is_object()) sections.erase("plan");
  JobSpec job;
  OptionSet options;
  job.Declare(&options);
  PENSTOCK_RETURN_IF_ERROR(options.FromJson(sections, "job"));
  PENSTOCK_RETURN_IF_ERROR(options.Validate());
  job.table.optimizer.Resolve(job.model.kind);
  PENSTOCK_RETURN_IF_ERROR(job.Validate());
  return job;
}

}  // namespace penstock
