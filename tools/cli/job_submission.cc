#include "tools/cli/job_submission.h"

#include <nlohmann/json.hpp>

#include "data/data_plan.h"
#include "job/job_table_names.h"
#include "model/model.h"

namespace penstock {
namespace {

// As the scheduler wants it: it leases partitions by their number.
nlohmann::json Counts(const DataPlan& plan) {
  return {{"partitions", plan.partitions.size()},
          {"records", plan.records},
          {"bytes", plan.size_bytes},
          {"fingerprint", plan.fingerprint}};
}

nlohmann::json RelativeTables(const JobSpec& job, const Model& model) {
  nlohmann::json tables = nlohmann::json::array();
  for (TableSpec spec : model.Tables()) {
    spec.name = spec.name.substr(spec.name.find('/') + 1);
    tables.push_back(spec);
    if (!job.train.keep_best) continue;
    TableSpec best = BestTable(spec);
    best.name = "best/" + spec.name;
    tables.push_back(best);
  }
  if (job.train.ledger) {
    TableSpec ledger{.name = "ledger", .dim = 1, .durability = job.DurabilityOf(job.table)};
    ledger.optimizer.kind = OptimizerKind::kAdd;
    tables.push_back(ledger);
  }
  return tables;
}

}  // namespace

Result<nlohmann::json> MakeSubmission(const JobSpec& job) {
  auto plan = MakeJobPlan(job);
  if (!plan.ok()) {
    // Bad data is not a wrong command line, and a file that may not be read is not the cluster's refusal.
    const bool missing = plan.status().code() == Code::kNotFound;
    return Status(missing ? Code::kNotFound : Code::kFailedPrecondition, plan.status().message());
  }
  PENSTOCK_ASSIGN_OR_RETURN(const auto model, CreateModel(job, plan->shape()));
  if (job.train.early_stop_patience > 0 && !plan->test) {
    return InvalidArgument(
        "train.early_stop_patience needs held-out data: set data.test or data.holdout_every");
  }
  if (job.train.keep_best && !plan->test)
    return InvalidArgument("train.keep_best needs held-out data: set data.test or data.holdout_every");
  nlohmann::json counts = {{"train", Counts(plan->train)}, {"test", nullptr}};
  if (plan->test) counts["test"] = Counts(*plan->test);
  return nlohmann::json{
      {"name", job.name},
      {"options", JobToJson(job)},
      {"tables", RelativeTables(job, *model)},
      {"plan", counts},
      {"data_plan", *plan},
      {"passes", job.train.passes},
      {"consistency", job.train.consistency},
      {"evaluate_train", job.train.evaluate},
      {"evaluate_test", job.train.evaluate && plan->test.has_value()},
      {"policy",
       {{"seed", job.train.seed},
        {"shuffle", job.train.shuffle},
        {"loss", job.model.loss},
        {"evaluate_every", job.train.evaluate_every},
        {"patience", job.train.early_stop_patience},
        {"metric", job.train.early_stop_metric},
        {"min_delta", job.train.early_stop_min_delta},
        {"keep_best", job.train.keep_best},
        {"staleness", job.train.ssp() ? job.train.staleness : 0},
        {"rounds", job.train.sync() ? RoundsPerPass(plan->train, job.train.batch_size) : 0}}}};
}

}  // namespace penstock
