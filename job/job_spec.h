// JobSpec: a training job as its file says it, declared once, checked, and passed around by value.
//
// A job file is TOML with the sections [job] [data] [model] [optimizer] [schedule] [initializer] [admission]
// [expiry] [train], and [tables.NAME.SECTION] for what is different in one of its tables (docs/training.md
// lists every key). Single keys are overridden as "section.key=value". Relative paths of data are taken from
// the current directory, of the file as of overrides, and become absolute when the job is loaded: workers run
// elsewhere.
#pragma once

#include <cstdint>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "common/base/options.h"
#include "common/base/status.h"
#include "common/cluster/table_spec.h"
#include "job/job_data.h"
#include "job/job_model.h"
#include "job/job_table.h"
#include "job/job_train.h"
#include "job/loss_kind.h"

namespace penstock {

struct JobSpec {
  std::string name;

  JobData data;
  JobModel model;
  JobTable table;  // all tables, where `tables` says nothing else
  JobTrain train;
  nlohmann::json tables = nlohmann::json::object();  // {"layer1": {"optimizer": {"learning_rate": 0.01}}}

  // Adds every key to `options`, bound to the members of this object, which must outlive the set and stay
  // where it is.
  void Declare(OptionSet* options);
  // What single keys cannot say: which go together. InvalidArgument names the keys.
  Status Validate() const;

  // What the job says of the table `name` ("layer1"): [tables.<name>.*] over the sections of the job. Where
  // it names a kind of its own for optimizer, schedule or initializer, that section starts from the defaults
  // and takes nothing over: what another kind reads has no meaning there.
  Result<JobTable> TableOf(const std::string& name) const;
  // Of a validated job.
  LossKind loss() const;
  // Of a table with these options; of those that are not the model's with `table`.
  Durability DurabilityOf(const JobTable& its) const;
};

// Reads a job file, then applies overrides ("train.passes=5") in their order, checks everything and makes
// paths absolute. An override of data.test takes the place of the file's hold-out rule, and the other way
// round. Errors name file, key, value and what is allowed.
Result<JobSpec> LoadJob(const std::string& path, const std::vector<std::string>& overrides);

// As a job travels and is journaled: {"job": {...}, "data": {...}, ...}. JobFromJson checks it again; a
// member "plan" beside the sections is for worker/data (JobPlan) and is passed over.
nlohmann::json JobToJson(const JobSpec& job);
Result<JobSpec> JobFromJson(const nlohmann::json& json);

}  // namespace penstock
