#include "worker/train/job_context.h"

#include <glog/logging.h>

namespace penstock {

std::string JobTableName(const std::string& job_name, uint32_t job, const std::string& model_table) {
  return job_name + "." + std::to_string(job) + model_table.substr(model_table.find('/'));
}

Result<std::unique_ptr<JobContext>> JobContext::Create(Client& client, const LeaseInfo& lease, std::shared_ptr<IdxCache> cache) {
  std::unique_ptr<JobContext> context(new JobContext());
  context->cache_ = std::move(cache);
  const auto fail = [&](const Status& status) { return status.Prepend("job '" + lease.job_name + "'"); };
  try {
    auto job = JobSpec::FromJson(lease.spec.at("options"));
    if (!job.ok()) return fail(job.status());
    context->job_ = std::move(*job);
    const auto& train = lease.spec.at("plan").at("train");
    DataShape shape{.dense = train.at("dense").get<bool>(),
                    .features = train.at("features").get<uint64_t>(),
                    .training_examples = train.at("records").get<uint64_t>()};
    auto model = CreateModel(context->job_, shape);
    if (!model.ok()) return fail(model.status());
    context->model_ = std::move(*model);
  } catch (const nlohmann::json::exception& e) {
    return fail(InvalidArgument(std::string("its specification: ") + e.what()));
  }
  for (const TableSpec& wanted : context->model_->Tables()) {
    auto table = client.OpenTable(JobTableName(lease.job_name, lease.job, wanted.name));
    if (!table.ok()) return fail(table.status());
    context->tables_.push_back(*table);
  }
  return context;
}

Result<const Dataset*> JobContext::Data(const LeaseInfo& lease) {
  const bool test = lease.phase == proto::Lease::Phase::EVALUATE_TEST;
  auto& data = test ? test_ : train_;
  if (data == nullptr) {
    auto opened = OpenDataset(job_, test, cache_);
    if (!opened.ok()) return opened.status();
    auto fingerprint = (*opened)->Fingerprint();
    if (!fingerprint.ok()) return fingerprint.status();
    const auto planned = lease.spec.at("plan").at(test ? "test" : "train").value("fingerprint", "");
    if (*fingerprint != planned) {
      return FailedPrecondition(std::string(test ? "test" : "training") + " data " + (test ? job_.data.test : job_.data.train) +
                                " has changed since the job was submitted (fingerprint " + *fingerprint + ", was " + planned + ")");
    }
    data = std::move(*opened);
  }
  return data.get();
}

}  // namespace penstock
