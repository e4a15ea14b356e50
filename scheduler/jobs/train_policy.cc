#include "scheduler/jobs/train_policy.h"

#include <cmath>

#include "common/base/strings.h"
#include "job/loss_kind.h"

namespace penstock {
namespace {

Status Check(const TrainPolicy& policy) {
  PENSTOCK_RETURN_IF_ERROR(ParseLossKind(policy.loss).status());
  const std::string& metric = policy.metric;
  if (metric != "loss" && metric != "accuracy" && metric != "auc" && metric != "rmse")
    return InvalidArgument(StrCat("metric is '", metric, "', allowed are loss, accuracy, auc and rmse"));
  if (!(policy.min_delta >= 0) || !std::isfinite(policy.min_delta))
    return InvalidArgument(StrCat("min_delta is ", policy.min_delta, ", allowed is 0 or more"));
  if (policy.patience > 0 && policy.evaluate_every == 0)
    return InvalidArgument("patience needs evaluate_every");
  if (policy.keep_best && policy.evaluate_every == 0)
    return InvalidArgument("keep_best needs evaluate_every");
  return Status::Ok();
}

}  // namespace

Result<TrainPolicy> ReadTrainPolicy(const nlohmann::json& submission) {
  const auto member = submission.find("policy");
  if (member == submission.end()) return TrainPolicy{};
  if (!member->is_object()) return InvalidArgument("job: policy is no object");
  try {
    TrainPolicy policy = member->get<TrainPolicy>();
    PENSTOCK_RETURN_IF_ERROR(Check(policy).Prepend("job: policy"));
    return policy;
  } catch (const nlohmann::json::exception& e) {
    return InvalidArgument(StrCat("job: policy: ", e.what()));
  }
}

}  // namespace penstock
