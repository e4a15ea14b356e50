#include "scheduler/train_policy.h"

#include "common/base/strings.h"

namespace penstock {

Result<TrainPolicy> ReadTrainPolicy(const nlohmann::json& submission) {
  const auto policy = submission.find("policy");
  if (policy == submission.end()) return TrainPolicy{};
  if (!policy->is_object()) return InvalidArgument("job: policy is no object");
  try {
    return policy->get<TrainPolicy>();
  } catch (const nlohmann::json::exception& e) {
    return InvalidArgument(StrCat("job: policy: ", e.what()));
  }
}

}  // namespace penstock
