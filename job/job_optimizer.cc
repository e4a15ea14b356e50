#include "job/job_optimizer.h"

namespace penstock {
namespace {

constexpr double kMaxDecay = 0.9999999;
constexpr double kMaxSteps = 1e15;

constexpr const char* kByModel = "model";

float UsualRate(const std::string& kind) {
  if (kind == "momentum" || kind == "nesterov") return 0.01f;
  const bool scaled = kind == "rmsprop" || kind.starts_with("adam") || kind == "lamb";
  return scaled ? 0.001f : 0.1f;
}

// Jobs push gradients, which assign and add would take for values.
std::vector<std::string> GradientKinds() {
  std::vector<std::string> words;
  for (auto kind = OptimizerKind::kSgd; kind <= OptimizerKind::kAdamRow;
       kind = static_cast<OptimizerKind>(static_cast<int>(kind) + 1))
    words.emplace_back(ToString(kind));
  return words;
}

}  // namespace

void JobOptimizer::Declare(OptionSet* o) {
  OptimizerSpec& n = numbers;
  std::vector<std::string> kinds = GradientKinds();
  kinds.insert(kinds.begin(), kByModel);
  o->DescribeSection(
      "optimizer",
      "How the servers apply a gradient, the mean over a minibatch, to the rows that it touches. g is the "
      "gradient of one weight w, lr the learning rate, g' = g + l2*w. Rows that a step does not touch are "
      "not "
      "stepped. A key that the kind does not read may not be set.");
  o->Add("optimizer", "kind", &kind,
         {.help =
              "model: adam for a model of kind deep, adagrad with an initial_accumulator of 0.1 for the "
              "others. sgd: w -= lr*g'. momentum: m = momentum*m + g', w -= lr*m. nesterov: the same m, w -= "
              "lr*(g' + momentum*m). adagrad: h += g'^2, w -= lr*g'/(sqrt(h) + epsilon). rmsprop: v = "
              "beta2*v + (1 - beta2)*g'^2, w -= lr*g'/(sqrt(v) + epsilon). adam: with bias correction by "
              "the row's own count of steps. adamw: Adam on g, with decoupled weight decay, w -= lr*l2*w. "
              "lamb: Adam's step plus l2*w, scaled by |w|/|step| of the row. ftrl: FTRL-proximal. "
              "adagrad_row, adam_row: with one accumulator (second moment) a row, of the mean of g'^2, "
              "which saves memory for long rows.",
          .choices = kinds});
  o->Add(
      "optimizer", "learning_rate", &n.learning_rate,
      {.help = "The factor of each step (of ftrl its alpha), times what the schedule says. 0: 0.1, but 0.01 "
               "for momentum and nesterov and 0.001 for rmsprop, adam, adamw, lamb and adam_row; with kind "
               "model 0.05, for fm 0.02 and for deep 0.001.",
       .min = 0,
       .max = 1e6});
  o->Add("optimizer", "l1", &n.l1,
         {.help = "ftrl's lambda_1: weights whose gradients do not sum up to more stay exactly 0. (For other "
                  "kinds linear models have model.l1.)",
          .min = 0,
          .max = 1e6});
  o->Add("optimizer", "l2", &n.l2,
         {.help = "Weight decay: l2*w is added to the gradient of each touched row (adamw: lr*l2*w is "
                  "subtracted from the weight; lamb: l2*w is added to the step); ftrl's lambda_2.",
          .min = 0,
          .max = 1e6});
  o->Add("optimizer", "beta1", &n.beta1,
         {.help = "adam, adamw, lamb, adam_row: decay of the running mean of gradients, a step.",
          .min = 0,
          .max = kMaxDecay});
  o->Add("optimizer", "beta2", &n.beta2,
         {.help = "adam, adamw, lamb, adam_row, rmsprop: decay of the running mean of squared gradients, a "
                  "step.",
          .min = 0,
          .max = kMaxDecay});
  o->Add("optimizer", "epsilon", &n.epsilon,
         {.help = "adagrad, adagrad_row, rmsprop, adam, adamw, lamb, adam_row: added to the root that the "
                  "step is divided by, so that a small one does not make a large step.",
          .min = 0,
          .max = 1});
  o->Add("optimizer", "beta", &n.beta,
         {.help = "ftrl: added to the root of summed squares; larger makes the first steps smaller.",
          .min = 0,
          .max = 1e6});
  o->Add("optimizer", "initial_accumulator", &n.initial_accumulator,
         {.help = "adagrad, adagrad_row: where h starts; above 0 makes the first steps smaller.",
          .min = 0,
          .max = 1e6});
  o->Add("optimizer", "momentum", &n.momentum,
         {.help = "momentum, nesterov: how much of the last step's m is kept.", .min = 0, .max = kMaxDecay});
  o->Add("optimizer", "clip_value", &n.clip_value,
         {.help = "Each element of a gradient is cut to -clip_value to clip_value; 0: not.",
          .min = 0,
          .max = 1e30});
  o->Add("optimizer", "clip_norm", &n.clip_norm,
         {.help = "The gradient of each row is scaled down to this L2 norm where its own is larger, after "
                  "clip_value; 0: not. A row is that of one key; of a layer of a network 1,024 weights.",
          .min = 0,
          .max = 1e30});
}

void JobOptimizer::Resolve(const std::string& model) {
  float rate = UsualRate(kind);
  if (kind == kByModel) {
    kind = model == "deep" ? "adam" : "adagrad";
    rate = model == "deep" ? 0.001f : model == "fm" ? 0.02f : 0.05f;
    // Else the first steps are of full length, however small the gradients are.
    if (kind == "adagrad" && numbers.initial_accumulator == 0) numbers.initial_accumulator = 0.1f;
  }
  if (numbers.learning_rate == 0) numbers.learning_rate = rate;
}

OptimizerSpec JobOptimizer::spec() const {
  OptimizerSpec spec = numbers;
  if (const auto parsed = ParseOptimizerKind(kind); parsed.ok()) spec.kind = *parsed;
  return spec;
}

void JobSchedule::Declare(OptionSet* o) {
  ScheduleSpec& n = numbers;
  o->DescribeSection(
      "schedule",
      "The factor of optimizer.learning_rate at step t of the job, t = 1, 2, ... It rises from "
      "1/warmup_steps to 1 during the first warmup_steps, and then goes by s = t - warmup_steps. In sync t "
      "is the number of the optimizer step. In async and ssp it counts minibatches as one worker would do "
      "them: passes one after the other, in each the partitions in the order in which they are given out; so "
      "a minibatch that is done again has the same step, and several workers are at several places of this "
      "count at once. Not for ftrl.");
  o->Add("schedule", "kind", &kind,
         {.help = "constant: 1. step: decay_rate ^ floor(s/decay_steps). cosine: from 1 to minimum in "
                  "decay_steps, by half a cosine wave. inverse_sqrt: 1/sqrt(1 + s/decay_steps).",
          .choices = {"constant", "step", "cosine", "inverse_sqrt"}});
  o->Add("schedule", "warmup_steps", &n.warmup_steps,
         {.help = "During so many steps the factor rises linearly; 0: no warm-up.",
          .unit = "steps",
          .min = 0,
          .max = kMaxSteps});
  o->Add("schedule", "decay_steps", &n.decay_steps,
         {.help = "step, cosine, inverse_sqrt, which need it: see kind; at least 1.",
          .unit = "steps",
          .min = 0,
          .max = kMaxSteps});
  o->Add("schedule", "decay_rate", &n.decay_rate,
         {.help = "step: what the factor is multiplied by every decay_steps.", .min = 0, .max = 1});
  o->Add("schedule", "minimum", &n.minimum,
         {.help = "cosine: the factor from the end of the wave on.", .min = 0, .max = 1});
}

ScheduleSpec JobSchedule::spec() const {
  ScheduleSpec spec = numbers;
  if (const auto parsed = ParseScheduleKind(kind); parsed.ok()) spec.kind = *parsed;
  return spec;
}

}  // namespace penstock
