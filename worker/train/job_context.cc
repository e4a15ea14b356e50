#include "worker/train/job_context.h"

#include <nlohmann/json.hpp>

#include "worker/train/ledger.h"

namespace penstock {

std::string JobTableName(const std::string& job_name, uint32_t job, const std::string& model_table) {
  return job_name + "." + std::to_string(job) + model_table.substr(model_table.find('/'));
}

Result<std::unique_ptr<JobContext>> JobContext::Create(Client& client, const LeaseInfo& lease,
                                                       std::shared_ptr<IdxCache> cache) {
  std::unique_ptr<JobContext> context(new JobContext());
  context->cache_ = std::move(cache);
  const Status status = context->Load(client, lease);
  if (!status.ok()) return status.Prepend("job '" + lease.job_name + "'");
  return context;
}

Status JobContext::Load(Client& client, const LeaseInfo& lease) {
  try {
    ASSIGN_OR_RETURN(job_, JobFromJson(lease.spec.at("options")));
    plan_ = lease.spec.at("data_plan").get<JobPlan>();
  } catch (const nlohmann::json::exception& e) {
    return InvalidArgument(std::string("its specification: ") + e.what());
  }
  ASSIGN_OR_RETURN(model_, CreateModel(job_, plan_.shape()));
  for (const TableSpec& wanted : model_->Tables()) {
    ASSIGN_OR_RETURN(TableSpec table, client.OpenTable(JobTableName(lease.job_name, lease.job, wanted.name)));
    tables_.push_back(std::move(table));
  }
  if (job_.train.ledger) {
    ASSIGN_OR_RETURN(ledger_, client.OpenTable(JobTableName(lease.job_name, lease.job, "/ledger")));
  }
  return Status::Ok();
}

Key JobContext::LedgerBaseOf(const LeaseInfo& lease) const {
  return LedgerBase(plan_.train, lease.pass, lease.partition);
}

Result<Examples> JobContext::ReadPartition(const LeaseInfo& lease) {
  const bool test = lease.phase == proto::Lease::Phase::EVALUATE_TEST;
  const DataPlan* plan = !test ? &plan_.train : plan_.test ? &*plan_.test : nullptr;
  if (plan == nullptr) return InvalidArgument(lease.Describe() + ": the job has no test data");
  if (lease.partition >= plan->partitions.size()) {
    return InvalidArgument(lease.Describe() + ": its data has " + std::to_string(plan->partitions.size()) +
                           " partitions");
  }
  auto& data = test ? test_ : train_;
  if (data == nullptr) {
    ASSIGN_OR_RETURN(auto opened, OpenJobData(job_, test ? DataRole::kTest : DataRole::kTrain, cache_));
    RETURN_IF_ERROR(CheckUnchanged(*opened, *plan));
    data = std::move(opened);
  }
  return data->ReadPartition(plan->partitions[lease.partition]);
}

}  // namespace penstock
