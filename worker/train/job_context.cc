#include "worker/train/job_context.h"

#include <glog/logging.h>

#include <algorithm>
#include <nlohmann/json.hpp>

#include "job/job_table_names.h"
#include "worker/train/ledger.h"

namespace penstock {

Result<std::unique_ptr<JobContext>> JobContext::Create(Client& client, const LeaseInfo& lease,
                                                       const DataRoots& roots,
                                                       std::shared_ptr<IdxCache> cache,
                                                       PartitionStore& store) {
  std::unique_ptr<JobContext> context(new JobContext(store));
  context->cache_ = std::move(cache);
  Status status = context->Load(client, lease);
  if (status.ok() && lease.limit_files) status = roots.CheckJob(context->job_.data);
  if (!status.ok()) return status.Prepend("job '" + lease.job_name + "'");
  return context;
}

Status JobContext::Load(Client& client, const LeaseInfo& lease) {
  try {
    PENSTOCK_ASSIGN_OR_RETURN(job_, JobFromJson(lease.spec->at("options")));
    plan_ = lease.spec->at("data_plan").get<JobPlan>();
  } catch (const nlohmann::json::exception& e) {
    return InvalidArgument(std::string("its specification: ") + e.what());
  }
  PENSTOCK_ASSIGN_OR_RETURN(model_, CreateModel(job_, plan_.shape()));
  for (const TableSpec& wanted : model_->Tables()) {
    PENSTOCK_ASSIGN_OR_RETURN(TableSpec table,
                              client.OpenTable(JobTableName(lease.job_name, lease.job, wanted.name)));
    tables_.push_back(std::move(table));
    if (!job_.train.keep_best) continue;
    PENSTOCK_ASSIGN_OR_RETURN(TableSpec best,
                              client.OpenTable(BestTableName(lease.job_name, lease.job, wanted.name)));
    best_tables_.push_back(std::move(best));
  }
  if (job_.train.ledger) {
    PENSTOCK_ASSIGN_OR_RETURN(ledger_, client.OpenTable(JobTableName(lease.job_name, lease.job, "/ledger")));
  }
  return Status::Ok();
}

Key JobContext::LedgerBaseOf(const LeaseInfo& lease, uint32_t partition) const {
  return LedgerBase(plan_.train, lease.pass, partition);
}

ScheduleSteps JobContext::ScheduleStepsOf(const LeaseInfo& lease) const {
  const uint64_t batch = job_.train.batch_size, partitions = std::max<uint32_t>(lease.partitions, 1);
  const uint64_t a_pass = (plan_.train.records + batch - 1) / batch;
  const uint64_t a_partition = (a_pass + partitions - 1) / partitions;
  return {lease.pass * a_pass + lease.position * a_partition + 1};
}

uint64_t JobContext::RoundsPerPass() const {
  return penstock::RoundsPerPass(plan_.train, job_.train.batch_size);
}

Result<const Examples*> JobContext::ReadStream(const LeaseInfo& lease, uint32_t stream) {
  auto& examples = streams_[stream];
  if (examples != nullptr) return examples.get();
  LeaseInfo its = lease;
  its.partition = stream;
  PENSTOCK_ASSIGN_OR_RETURN(examples, ReadPartition(its));
  for (const auto& message : examples->bad_messages)
    LOG(WARNING) << its.Describe() << ": skipped: " << message;
  return examples.get();
}

Result<std::shared_ptr<const Examples>> JobContext::ReadPartition(const LeaseInfo& lease) {
  const bool test = lease.phase == proto::Lease::Phase::EVALUATE_TEST;
  const DataPlan* plan = !test ? &plan_.train : plan_.test ? &*plan_.test : nullptr;
  if (plan == nullptr) return InvalidArgument(lease.Describe() + ": the job has no test data");
  if (lease.partition >= plan->partitions.size()) {
    return InvalidArgument(lease.Describe() + ": its data has " + std::to_string(plan->partitions.size()) +
                           " partitions");
  }
  auto examples = ReadPlanned(test, *plan, lease.partition);
  if (examples.status().code() != Code::kFailedPrecondition) return examples;
  return InvalidArgument("the data changed since the job was submitted: " + examples.status().message());
}

// kFailedPrecondition: the data are not what the job was planned with.
Result<std::shared_ptr<const Examples>> JobContext::ReadPlanned(bool test, const DataPlan& plan,
                                                                uint32_t partition) {
  auto& data = test ? test_ : train_;
  if (data == nullptr) {
    PENSTOCK_ASSIGN_OR_RETURN(
        data, OpenPlannedData(job_, plan_, test ? DataRole::kTest : DataRole::kTrain, cache_));
  }
  const PartitionRange& range = plan.partitions[partition];
  PENSTOCK_ASSIGN_OR_RETURN(auto examples, store_.Get(data, range));
  PENSTOCK_RETURN_IF_ERROR(CheckRecordCount(*data, range, examples->size()));
  return examples;
}

void JobContext::ReadAhead(const LeaseInfo& lease) {
  const bool test = lease.phase == proto::Lease::Phase::EVALUATE_TEST;
  const auto next = forecast_.After(lease, job_.train);
  if (next) store_.ReadAhead(test ? test_ : train_, (test ? *plan_.test : plan_.train).partitions[*next]);
}

}  // namespace penstock
