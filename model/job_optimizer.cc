#include "model/job_optimizer.h"

#include "model/job_check.h"

namespace penstock {

void JobOptimizer::Declare(OptionSet* o) {
  o->DescribeSection("optimizer",
                     "How the servers apply a gradient, the mean over a minibatch, to the rows it touches.");
  o->Add("optimizer", "kind", &kind,
         {.help = "The update formula.", .choices = {"sgd", "adagrad", "adam", "ftrl"}});
  o->Add("optimizer", "learning_rate", &learning_rate,
         {.help = "Above 0; alpha of ftrl.", .min = 0, .max = 1e6});
  o->Add("optimizer", "l1", &l1, {.help = "ftrl's lambda_1.", .min = 0, .max = 1e6});
  o->Add("optimizer", "l2", &l2,
         {.help = "Weight decay: l2*w is added to the gradient of each touched row; ftrl's lambda_2.",
          .min = 0,
          .max = 1e6});
  o->Add("optimizer", "beta1", &beta1, {.help = "adam.", .min = 0, .max = 0.9999999});
  o->Add("optimizer", "beta2", &beta2, {.help = "adam.", .min = 0, .max = 0.9999999});
  o->Add("optimizer", "epsilon", &epsilon, {.help = "adam and adagrad.", .min = 0, .max = 1});
  o->Add("optimizer", "beta", &beta, {.help = "ftrl.", .min = 0, .max = 1e6});
  o->Add("optimizer", "initial_accumulator", &initial_accumulator,
         {.help = "adagrad.", .min = 0, .max = 1e6});
}

Status JobOptimizer::Validate() const {
  const JobOptimizer defaults;
  const bool adam = kind == "adam", adagrad = kind == "adagrad", ftrl = kind == "ftrl";
  if (learning_rate <= 0) return InvalidArgument("optimizer.learning_rate must be above 0");
  RETURN_IF_ERROR(
      OnlyWith(ftrl, l1 == 0, "optimizer.l1", "optimizer.kind 'ftrl' (for others there is model.l1)"));
  RETURN_IF_ERROR(OnlyWith(ftrl, beta == defaults.beta, "optimizer.beta", "optimizer.kind 'ftrl'"));
  RETURN_IF_ERROR(OnlyWith(adam, beta1 == defaults.beta1, "optimizer.beta1", "optimizer.kind 'adam'"));
  RETURN_IF_ERROR(OnlyWith(adam, beta2 == defaults.beta2, "optimizer.beta2", "optimizer.kind 'adam'"));
  RETURN_IF_ERROR(OnlyWith(adam || adagrad, epsilon == defaults.epsilon, "optimizer.epsilon",
                           "optimizer.kind 'adam' or 'adagrad'"));
  return OnlyWith(adagrad, initial_accumulator == 0, "optimizer.initial_accumulator",
                  "optimizer.kind 'adagrad'");
}

}  // namespace penstock
