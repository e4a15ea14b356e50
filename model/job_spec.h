// JobSpec: a training job as its file says it, declared once, checked, and passed around by value.
//
// A job file is TOML with the sections [job] [data] [model] [optimizer] [train] (conf/jobs has examples;
// docs/training.md lists every key). Single keys are overridden as "section.key=value". Relative paths of
// data are taken from the current directory, of the file as of overrides, and become absolute when the job is
// loaded: workers run elsewhere.
#pragma once

#include <cstdint>
#include <nlohmann/json_fwd.hpp>
#include <string>
#include <vector>

#include "common/base/options.h"
#include "common/base/status.h"
#include "common/cluster/table_spec.h"
#include "model/loss.h"

namespace penstock {

struct JobSpec {
  std::string name;

  struct Data {
    std::string train;
    std::string test;
    std::string format = "libsvm";
    std::string train_labels;
    std::string test_labels;
    double pixel_mean = 0;
    uint64_t max_bad_records = 0;
    uint32_t partitions = 0;
  } data;

  struct Model {
    std::string kind = "linear";
    std::string loss = "logistic";
    std::vector<int64_t> hidden;
    std::string activation = "relu";
    uint32_t classes = 0;
    uint64_t features = 0;
    bool bias = true;
    double l1 = 0;
    double l2 = 0;
    bool l2_all = false;
  } model;

  struct Optimizer {
    std::string kind = "sgd";
    double learning_rate = 0.1;
    double l1 = 0;
    double l2 = 0;
    double beta1 = 0.9;
    double beta2 = 0.999;
    double epsilon = 1e-8;
    double beta = 1;
    double initial_accumulator = 0;
  } optimizer;

  struct Train {
    uint32_t passes = 1;
    uint32_t batch_size = 64;
    std::string consistency = "async";
    std::string durability = "logged";
    uint64_t seed = 1;
    bool shuffle = true;
    uint32_t inflight = 2;
    bool evaluate = true;
  } train;

  // Adds every key to `options`, bound to the members of this object, which must outlive the set and stay
  // where it is.
  void Declare(OptionSet* options);
  // What single keys cannot say: which go together. InvalidArgument names the keys.
  Status Validate() const;

  // Of a validated job.
  LossKind loss() const;
  Durability durability() const;
  OptimizerSpec OptimizerOf() const;
};

// Reads a job file, then applies overrides ("train.passes=5") in their order, checks everything and makes
// paths absolute. Errors name file, key, value and what is allowed.
Result<JobSpec> LoadJob(const std::string& path, const std::vector<std::string>& overrides);

// As a job travels and is journaled: {"job": {...}, "data": {...}, ...}. JobFromJson checks it again; a
// member "plan" beside the sections is for worker/data (JobPlan) and is passed over.
nlohmann::json JobToJson(const JobSpec& job);
Result<JobSpec> JobFromJson(const nlohmann::json& json);

}  // namespace penstock
