#include "job/job_initializer.h"

namespace penstock {
namespace {

constexpr double kMaxWeight = 1e30;

}  // namespace

void JobInitializer::Declare(OptionSet* o) {
  InitializerSpec& n = numbers;
  o->DescribeSection(
      "initializer",
      "The weights that training starts from, a function of train.seed, the table and the key. "
      "A key that the kind does not read may not be set.");
  o->Add("initializer", "kind", &kind,
         {.help = "model: what the model has for each of its tables (weights: zeros; factors and "
                  "embeddings: normal with stddev 0.05, factors of fm 0.01; layers: uniform in "
                  "+-1/sqrt(inputs of the layer)). "
                  "zeros. constant: value. uniform: in low to high. normal: "
                  "mean and stddev. truncated_normal: the same, drawn again outside of two stddev. xavier: "
                  "uniform in +-sqrt(6/(fan_in + fan_out)). ftrl allows zeros only.",
          .choices = {"model", "zeros", "constant", "uniform", "normal", "truncated_normal", "xavier"}});
  o->Add("initializer", "value", &n.value,
         {.help = "constant: of every weight.", .min = -kMaxWeight, .max = kMaxWeight});
  o->Add("initializer", "low", &n.low, {.help = "uniform: from.", .min = -kMaxWeight, .max = kMaxWeight});
  o->Add("initializer", "high", &n.high,
         {.help = "uniform: to; at least low.", .min = -kMaxWeight, .max = kMaxWeight});
  o->Add("initializer", "mean", &n.mean,
         {.help = "normal, truncated_normal.", .min = -kMaxWeight, .max = kMaxWeight});
  o->Add("initializer", "stddev", &n.stddev,
         {.help = "normal, truncated_normal: standard deviation (of the normal before it is truncated).",
          .min = 0,
          .max = kMaxWeight});
  o->Add("initializer", "fan_in", &n.fan_in,
         {.help = "xavier: inputs of a unit; 0: of the layer, in the layers of deep models."});
  o->Add("initializer", "fan_out", &n.fan_out,
         {.help = "xavier: units that a unit feeds; 0: of the layer, in the layers of deep models."});
}

InitializerSpec JobInitializer::spec(const InitializerSpec& initial, Fans fans) const {
  const auto parsed = ParseInitializerKind(kind);
  if (!parsed.ok()) return initial;  // "model"
  InitializerSpec spec = numbers;
  spec.kind = *parsed;
  if (spec.kind != InitializerKind::kXavier) return spec;
  if (spec.fan_in == 0) spec.fan_in = fans.in;
  if (spec.fan_out == 0) spec.fan_out = fans.out;
  return spec;
}

}  // namespace penstock
