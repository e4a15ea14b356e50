// What makes a TableSpec valid: ranges, and that nothing which would be ignored is set.
#include <cctype>
#include <cmath>
#include <initializer_list>
#include <span>

#include "common/cluster/table_spec.h"

namespace penstock {
namespace {

using enum OptimizerKind;

constexpr uint32_t kMaxTtlSeconds = 1u << 25;    // the last touch of a row is kept modulo 2^26 seconds
constexpr double kMaxMinCount = (1u << 24) - 1;  // what a count holds
constexpr double kMaxSteps = 1e15;               // exact as a double
constexpr double kMaxDecay = 0.9999999;          // of a running mean

Status CheckRange(const std::string& key, double value, double low, double high) {
  if (std::isfinite(value) && value >= low && value <= high) return Status::Ok();
  return InvalidArgument(key + " is " + std::to_string(value) + ", allowed is " + std::to_string(low) +
                         " to " + std::to_string(high));
}

// A number that only some kinds read.
template <typename Kind>
struct Field {
  const char* name;
  double value, initial;  // `initial` is the default
  double low, high;
  std::span<const Kind> kinds;
};

// Ranges are checked wherever a field may say something; elsewhere it must be at its default.
template <typename Kind>
Status CheckFields(const std::string& section, const std::string& what, Kind kind,
                   std::initializer_list<Field<Kind>> fields) {
  for (const auto& field : fields) {
    PENSTOCK_RETURN_IF_ERROR(CheckRange(section + field.name, field.value, field.low, field.high));
    if (field.value == field.initial) continue;
    std::string users;
    bool used = false;
    for (const Kind user : field.kinds) {
      used |= user == kind;
      users += (users.empty() ? "" : ", ") + std::string(ToString(user));
    }
    if (!used) {
      return InvalidArgument(section + field.name + " has no meaning for " + what + " '" +
                             std::string(ToString(kind)) + "', only for " + users);
    }
  }
  return Status::Ok();
}

constexpr OptimizerKind kGradients[] = {kSgd,     kAdagrad, kAdam, kFtrl,       kMomentum, kNesterov,
                                        kRmsprop, kAdamw,   kLamb, kAdagradRow, kAdamRow};
constexpr OptimizerKind kFtrlOnly[] = {kFtrl};
constexpr OptimizerKind kAdams[] = {kAdam, kAdamw, kLamb, kAdamRow};
constexpr OptimizerKind kSecondMeans[] = {kRmsprop, kAdam, kAdamw, kLamb, kAdamRow};
constexpr OptimizerKind kRoots[] = {kAdagrad, kRmsprop, kAdam, kAdamw, kLamb, kAdagradRow, kAdamRow};
constexpr OptimizerKind kAdagrads[] = {kAdagrad, kAdagradRow};
constexpr OptimizerKind kVelocities[] = {kMomentum, kNesterov};

constexpr ScheduleKind kDecays[] = {ScheduleKind::kStep, ScheduleKind::kCosine, ScheduleKind::kInverseSqrt};
constexpr ScheduleKind kStepOnly[] = {ScheduleKind::kStep};
constexpr ScheduleKind kCosineOnly[] = {ScheduleKind::kCosine};

constexpr InitializerKind kConstantOnly[] = {InitializerKind::kConstant};
constexpr InitializerKind kUniformOnly[] = {InitializerKind::kUniform};
constexpr InitializerKind kNormals[] = {InitializerKind::kNormal, InitializerKind::kTruncatedNormal};
constexpr InitializerKind kXavierOnly[] = {InitializerKind::kXavier};

Status CheckAdmission(const AdmissionSpec& admission) {
  PENSTOCK_RETURN_IF_ERROR(CheckRange("admission.min_count", admission.min_count, 0, kMaxMinCount));
  PENSTOCK_RETURN_IF_ERROR(CheckRange("admission.probability", admission.probability, 0, 1));
  if (admission.probability > 0) return Status::Ok();
  return InvalidArgument("admission.probability is 0, which would admit no key; allowed is above 0 to 1");
}

Status CheckExpiry(const ExpirySpec& expiry) {
  PENSTOCK_RETURN_IF_ERROR(CheckRange("expiry.min_norm", expiry.min_norm, 0, 1e30));
  if (expiry.ttl_seconds > 0 && expiry.unused_passes > 0)
    return InvalidArgument("expiry.ttl_seconds and expiry.unused_passes exclude each other");
  if (expiry.ttl_seconds <= kMaxTtlSeconds) return Status::Ok();
  return InvalidArgument("expiry.ttl_seconds is " + std::to_string(expiry.ttl_seconds) +
                         ", allowed is 0 to " + std::to_string(kMaxTtlSeconds));
}

// Rules that make rows come and go need a table whose rows may.
Status CheckRulesFit(const TableSpec& spec) {
  if (spec.admission == AdmissionSpec{} && !spec.expiry.any()) return Status::Ok();
  if (spec.dense_size > 0)
    return InvalidArgument(
        "admission.* and expiry.* are for sparse tables: all rows of a dense tensor exist");
  if (!spec.accumulate) return Status::Ok();
  return InvalidArgument(
      "admission.* and expiry.* are not for tables that accumulate: a sync job's result must not depend on "
      "which push came first, or when");
}

Status CheckName(const std::string& name) {
  if (name.empty() || name.size() > 255) {
    return InvalidArgument("the name has " + std::to_string(name.size()) +
                           " characters, allowed is 1 to 255");
  }
  for (const char c : name) {
    if (!std::isalnum(static_cast<unsigned char>(c)) &&
        std::string_view("_./-").find(c) == std::string_view::npos) {
      return InvalidArgument("the name may have letters, digits and _ . / - only");
    }
  }
  return Status::Ok();
}

}  // namespace

Status ValidateOptimizer(const OptimizerSpec& o, const ScheduleSpec& schedule,
                         const std::string& optimizer_section, const std::string& schedule_section) {
  const OptimizerSpec initial;
  PENSTOCK_RETURN_IF_ERROR(CheckFields<OptimizerKind>(
      optimizer_section, "optimizer kind", o.kind,
      {{"learning_rate", o.learning_rate, initial.learning_rate, 0, 1e6, kGradients},
       {"l1", o.l1, initial.l1, 0, 1e6, kFtrlOnly},
       {"l2", o.l2, initial.l2, 0, 1e6, kGradients},
       {"beta1", o.beta1, initial.beta1, 0, kMaxDecay, kAdams},
       {"beta2", o.beta2, initial.beta2, 0, kMaxDecay, kSecondMeans},
       {"epsilon", o.epsilon, initial.epsilon, 0, 1, kRoots},
       {"beta", o.beta, initial.beta, 0, 1e6, kFtrlOnly},
       {"initial_accumulator", o.initial_accumulator, initial.initial_accumulator, 0, 1e6, kAdagrads},
       {"momentum", o.momentum, initial.momentum, 0, kMaxDecay, kVelocities},
       {"clip_value", o.clip_value, initial.clip_value, 0, 1e30, kGradients},
       {"clip_norm", o.clip_norm, initial.clip_norm, 0, 1e30, kGradients}}));
  if (o.kind == kFtrl && o.learning_rate <= 0)
    return InvalidArgument(optimizer_section + "learning_rate must be above 0 for ftrl");

  const ScheduleSpec constant;
  if (schedule == constant) return Status::Ok();
  if (o.kind == kAssign || o.kind == kAdd || o.kind == kFtrl) {
    return InvalidArgument("a schedule (" + schedule_section + "*) has no meaning for optimizer kind '" +
                           std::string(ToString(o.kind)) + "', whose rate is not a factor of its steps");
  }
  PENSTOCK_RETURN_IF_ERROR(CheckRange(schedule_section + "warmup_steps",
                                      static_cast<double>(schedule.warmup_steps), 0, kMaxSteps));
  PENSTOCK_RETURN_IF_ERROR(CheckFields<ScheduleKind>(
      schedule_section, "schedule kind", schedule.kind,
      {{"decay_steps", static_cast<double>(schedule.decay_steps), 0, 0, kMaxSteps, kDecays},
       {"decay_rate", schedule.decay_rate, constant.decay_rate, 0, 1, kStepOnly},
       {"minimum", schedule.minimum, constant.minimum, 0, 1, kCosineOnly}}));
  if (schedule.kind == ScheduleKind::kConstant || schedule.decay_steps > 0) return Status::Ok();
  return InvalidArgument(schedule_section + "decay_steps is 0, schedule kind '" +
                         std::string(ToString(schedule.kind)) + "' needs at least 1");
}

Status ValidateInitializer(const InitializerSpec& i, OptimizerKind optimizer, const std::string& section) {
  const bool zeros = i.kind == InitializerKind::kZeros;
  if (optimizer == kFtrl && !zeros) {
    return InvalidArgument(
        section + "kind must be zeros for optimizer kind 'ftrl', which derives its weights from z and n");
  }
  const InitializerSpec initial;
  PENSTOCK_RETURN_IF_ERROR(CheckFields<InitializerKind>(
      section, "initializer kind", i.kind,
      {{"value", i.value, initial.value, -1e30, 1e30, kConstantOnly},
       {"low", i.low, initial.low, -1e30, 1e30, kUniformOnly},
       {"high", i.high, initial.high, i.low, 1e30, kUniformOnly},
       {"mean", i.mean, initial.mean, -1e30, 1e30, kNormals},
       {"stddev", i.stddev, initial.stddev, 0, 1e30, kNormals},
       {"fan_in", static_cast<double>(i.fan_in), 0, 0, UINT32_MAX, kXavierOnly},
       {"fan_out", static_cast<double>(i.fan_out), 0, 0, UINT32_MAX, kXavierOnly}}));
  if (i.kind == InitializerKind::kXavier && (i.fan_in < 1 || i.fan_out < 1))
    return InvalidArgument(section + "fan_in and fan_out must be at least 1 for xavier");
  return Status::Ok();
}

Status CheckCodec(OptimizerKind kind, Codec codec) {
  if (codec == Codec::kF32 || (kind != kAdd && kind != kAssign)) return Status::Ok();
  return InvalidArgument("codec '" + std::string(ToString(codec)) + "' for a table with optimizer kind '" +
                         std::string(ToString(kind)) +
                         "', whose values are kept as they come: allowed is 'f32'");
}

Status TableSpec::Validate() const {
  auto checked = [&]() -> Status {
    PENSTOCK_RETURN_IF_ERROR(CheckName(name));
    if (dim < 1 || dim > 65536)
      return InvalidArgument("dim is " + std::to_string(dim) + ", allowed is 1 to 65536");
    PENSTOCK_RETURN_IF_ERROR(ValidateOptimizer(optimizer, schedule));
    PENSTOCK_RETURN_IF_ERROR(ValidateInitializer(initializer, optimizer.kind));
    PENSTOCK_RETURN_IF_ERROR(CheckCodec(optimizer.kind, codec));
    PENSTOCK_RETURN_IF_ERROR(CheckAdmission(admission));
    PENSTOCK_RETURN_IF_ERROR(CheckExpiry(expiry));
    return CheckRulesFit(*this);
  }();
  return checked.Prepend("table '" + name + "'");
}

}  // namespace penstock
