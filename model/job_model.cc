#include "model/job_model.h"

#include "model/job_check.h"

namespace penstock {
namespace {

constexpr uint64_t kMaxAllRows = 1 << 24;
constexpr double kMaxId = 9007199254740992.0;  // 2^53, exact as a double

}  // namespace

void JobModel::Declare(OptionSet* o) {
  o->DescribeSection("model", "What is trained. The objective is sum of losses + l1*|w| + l2/2*||w||^2.");
  o->Add(
      "model", "kind", &kind,
      {.help = "linear: weights by feature. deep: a multi-layer perceptron.", .choices = {"linear", "deep"}});
  o->Add("model", "loss", &loss,
         {.help = "logistic: labels -1 (or 0) and +1. softmax: labels 0 to classes - 1. squared: any number.",
          .choices = {"logistic", "softmax", "squared"}});
  o->Add("model", "classes", &classes,
         {.help = "Number of classes of softmax; 0 for other losses.", .min = 0, .max = 65536});
  o->Add("model", "features", &features,
         {.help = "Sparse data: ids are 0 to features - 1; 0: any id. Needed for deep, l1, l2 and l2_all. "
                  "Dense data say it themselves.",
          .min = 0,
          .max = kMaxId});
  o->Add("model", "hidden", &hidden, {.help = "deep: width of each hidden layer.", .min = 1, .max = 65536});
  o->Add("model", "activation", &activation,
         {.help = "deep: of the hidden layers.", .choices = {"relu", "tanh"}});
  o->Add("model", "bias", &bias, {.help = "linear: an intercept, never regularised."});
  o->Add("model", "l1", &l1,
         {.help = "linear: lambda of |w| in the objective, by subgradient.", .min = 0, .max = 1e12});
  o->Add("model", "l2", &l2,
         {.help = "linear: lambda of ||w||^2/2 in the objective.", .min = 0, .max = 1e12});
  o->Add("model", "l2_all", &l2_all,
         {.help = "linear: step all rows at every minibatch, which makes the gradient of l1 and l2 exact; "
                  "otherwise only the rows of "
                  "the minibatch's features are regularised."});
}

Status JobModel::Validate() const {
  const bool deep = kind == "deep";
  if (loss == "softmax" && classes < 2) {
    return InvalidArgument("model.classes is " + std::to_string(classes) +
                           ", model.loss 'softmax' needs at least 2");
  }
  RETURN_IF_ERROR(OnlyWith(loss == "softmax", classes == 0, "model.classes", "model.loss 'softmax'"));
  RETURN_IF_ERROR(OnlyWith(deep, hidden.empty(), "model.hidden", "model.kind 'deep'"));
  RETURN_IF_ERROR(OnlyWith(deep, activation == "relu", "model.activation", "model.kind 'deep'"));
  RETURN_IF_ERROR(OnlyWith(!deep, bias, "model.bias", "model.kind 'linear'"));
  RETURN_IF_ERROR(OnlyWith(!deep, l1 == 0, "model.l1", "model.kind 'linear'"));
  RETURN_IF_ERROR(
      OnlyWith(!deep, l2 == 0, "model.l2", "model.kind 'linear' (for 'deep' there is optimizer.l2)"));
  RETURN_IF_ERROR(OnlyWith(l1 > 0 || l2 > 0, !l2_all, "model.l2_all", "model.l1 or model.l2 above 0"));
  if (deep && hidden.empty()) {
    return InvalidArgument(
        "model.hidden is empty, model.kind 'deep' needs the width of at least one hidden layer");
  }
  if (l2_all && features > kMaxAllRows) {
    return InvalidArgument("model.features is " + std::to_string(features) +
                           ", model.l2_all steps all rows and allows at most " + std::to_string(kMaxAllRows));
  }
  return Status::Ok();
}

}  // namespace penstock
