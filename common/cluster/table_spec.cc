// Words, shapes and JSON of TableSpec; what is valid is in table_check.cc.
#include "common/cluster/table_spec.h"

#include <nlohmann/json.hpp>

namespace penstock {
namespace {

constexpr std::string_view kDurabilities[] = {"memory", "logged", "synced"};
constexpr std::string_view kOptimizers[] = {"assign", "add",         "sgd",      "adagrad", "adam",
                                            "ftrl",   "momentum",    "nesterov", "rmsprop", "adamw",
                                            "lamb",   "adagrad_row", "adam_row"};
constexpr std::string_view kInitializers[] = {"zeros",  "constant", "uniform",
                                              "normal", "xavier",   "truncated_normal"};
constexpr std::string_view kSchedules[] = {"constant", "step", "cosine", "inverse_sqrt"};
constexpr std::string_view kCodecs[] = {"f32", "bf16"};

template <typename Enum, size_t N>
Result<Enum> Parse(std::string_view what, const std::string_view (&words)[N], std::string_view word) {
  std::string allowed;
  for (size_t i = 0; i < N; ++i) {
    if (words[i] == word) return static_cast<Enum>(i);
    allowed += (i ? ", " : "") + std::string(words[i]);
  }
  return InvalidArgument(std::string(what) + " '" + std::string(word) + "' is none of " + allowed);
}

}  // namespace

std::string_view ToString(Durability d) { return kDurabilities[static_cast<size_t>(d)]; }
std::string_view ToString(OptimizerKind k) { return kOptimizers[static_cast<size_t>(k)]; }
std::string_view ToString(InitializerKind k) { return kInitializers[static_cast<size_t>(k)]; }
std::string_view ToString(ScheduleKind k) { return kSchedules[static_cast<size_t>(k)]; }
std::string_view ToString(Codec c) { return kCodecs[static_cast<size_t>(c)]; }
Result<Durability> ParseDurability(std::string_view w) {
  return Parse<Durability>("durability", kDurabilities, w);
}
Result<OptimizerKind> ParseOptimizerKind(std::string_view w) {
  return Parse<OptimizerKind>("optimizer kind", kOptimizers, w);
}
Result<InitializerKind> ParseInitializerKind(std::string_view w) {
  return Parse<InitializerKind>("initializer kind", kInitializers, w);
}
Result<ScheduleKind> ParseScheduleKind(std::string_view w) {
  return Parse<ScheduleKind>("schedule kind", kSchedules, w);
}
Result<Codec> ParseCodec(std::string_view w) { return Parse<Codec>("codec", kCodecs, w); }

uint32_t TableSpec::slots() const {
  switch (optimizer.kind) {
    case OptimizerKind::kAssign:
    case OptimizerKind::kAdd:
    case OptimizerKind::kSgd:
      return 0;
    case OptimizerKind::kAdagrad:
    case OptimizerKind::kMomentum:
    case OptimizerKind::kNesterov:
    case OptimizerKind::kRmsprop:
      return dim;
    case OptimizerKind::kAdam:
    case OptimizerKind::kAdamw:
    case OptimizerKind::kLamb:
    case OptimizerKind::kFtrl:
      return 2 * dim;
    case OptimizerKind::kAdagradRow:
      return 1;
    case OptimizerKind::kAdamRow:
      return dim + 1;
  }
  return 0;
}

void to_json(nlohmann::json& j, const TableSpec& s) {
  const auto& o = s.optimizer;
  const auto& i = s.initializer;
  j = {{"id", s.id},
       {"name", s.name},
       {"dim", s.dim},
       {"optimizer",
        {{"kind", ToString(o.kind)},
         {"learning_rate", o.learning_rate},
         {"l1", o.l1},
         {"l2", o.l2},
         {"beta1", o.beta1},
         {"beta2", o.beta2},
         {"epsilon", o.epsilon},
         {"beta", o.beta},
         {"initial_accumulator", o.initial_accumulator},
         {"momentum", o.momentum},
         {"clip_value", o.clip_value},
         {"clip_norm", o.clip_norm}}},
       {"initializer",
        {{"kind", ToString(i.kind)},
         {"value", i.value},
         {"low", i.low},
         {"high", i.high},
         {"mean", i.mean},
         {"stddev", i.stddev},
         {"fan_in", i.fan_in},
         {"fan_out", i.fan_out}}},
       {"seed", s.seed},
       {"durability", ToString(s.durability)},
       {"allow_non_finite", s.allow_non_finite},
       {"dense_size", s.dense_size},
       {"schedule",
        {{"kind", ToString(s.schedule.kind)},
         {"warmup_steps", s.schedule.warmup_steps},
         {"decay_steps", s.schedule.decay_steps},
         {"decay_rate", s.schedule.decay_rate},
         {"minimum", s.schedule.minimum}}},
       {"accumulate", s.accumulate},
       {"admission", {{"min_count", s.admission.min_count}, {"probability", s.admission.probability}}},
       {"expiry",
        {{"ttl_seconds", s.expiry.ttl_seconds},
         {"unused_passes", s.expiry.unused_passes},
         {"min_norm", s.expiry.min_norm}}},
       {"codec", ToString(s.codec)}};
}

void from_json(const nlohmann::json& j, TableSpec& s) {
  auto word = [](auto result) {
    if (!result.ok()) throw std::invalid_argument(result.status().message());
    return *result;
  };
  j.at("id").get_to(s.id);
  j.at("name").get_to(s.name);
  j.at("dim").get_to(s.dim);
  const auto& o = j.at("optimizer");
  s.optimizer.kind = word(ParseOptimizerKind(o.at("kind").get<std::string>()));
  o.at("learning_rate").get_to(s.optimizer.learning_rate);
  o.at("l1").get_to(s.optimizer.l1);
  o.at("l2").get_to(s.optimizer.l2);
  o.at("beta1").get_to(s.optimizer.beta1);
  o.at("beta2").get_to(s.optimizer.beta2);
  o.at("epsilon").get_to(s.optimizer.epsilon);
  o.at("beta").get_to(s.optimizer.beta);
  o.at("initial_accumulator").get_to(s.optimizer.initial_accumulator);
  o.at("momentum").get_to(s.optimizer.momentum);
  o.at("clip_value").get_to(s.optimizer.clip_value);
  o.at("clip_norm").get_to(s.optimizer.clip_norm);
  const auto& i = j.at("initializer");
  s.initializer.kind = word(ParseInitializerKind(i.at("kind").get<std::string>()));
  i.at("value").get_to(s.initializer.value);
  i.at("low").get_to(s.initializer.low);
  i.at("high").get_to(s.initializer.high);
  i.at("mean").get_to(s.initializer.mean);
  i.at("stddev").get_to(s.initializer.stddev);
  i.at("fan_in").get_to(s.initializer.fan_in);
  i.at("fan_out").get_to(s.initializer.fan_out);
  j.at("seed").get_to(s.seed);
  s.durability = word(ParseDurability(j.at("durability").get<std::string>()));
  j.at("allow_non_finite").get_to(s.allow_non_finite);
  j.at("dense_size").get_to(s.dense_size);
  const auto& h = j.at("schedule");
  s.schedule.kind = word(ParseScheduleKind(h.at("kind").get<std::string>()));
  h.at("warmup_steps").get_to(s.schedule.warmup_steps);
  h.at("decay_steps").get_to(s.schedule.decay_steps);
  h.at("decay_rate").get_to(s.schedule.decay_rate);
  h.at("minimum").get_to(s.schedule.minimum);
  j.at("accumulate").get_to(s.accumulate);
  j.at("admission").at("min_count").get_to(s.admission.min_count);
  j.at("admission").at("probability").get_to(s.admission.probability);
  j.at("expiry").at("ttl_seconds").get_to(s.expiry.ttl_seconds);
  j.at("expiry").at("unused_passes").get_to(s.expiry.unused_passes);
  j.at("expiry").at("min_norm").get_to(s.expiry.min_norm);
  s.codec = word(ParseCodec(j.at("codec").get<std::string>()));
}

}  // namespace penstock
