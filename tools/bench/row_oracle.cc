#include "tools/bench/row_oracle.h"

#include "common/base/strings.h"

namespace penstock {
namespace {

constexpr int64_t kGreatestPushed = 2;

bool IsLinear(OptimizerKind kind) { return kind == OptimizerKind::kSgd || kind == OptimizerKind::kAdd; }

}  // namespace

std::string RowOracle::Allowed() {
  return "sgd or add, whose sums are exact, adagrad, adam, ftrl, momentum, nesterov, rmsprop, adamw, lamb, "
         "adagrad_row or adam_row";
}

Result<OptimizerSpec> RowOracle::Spec(const std::string& optimizer) {
  const auto kind = ParseOptimizerKind(optimizer);
  if (!kind.ok() || *kind == OptimizerKind::kAssign)
    return InvalidArgument("--optimizer '" + optimizer + "': must be " + Allowed() +
                           "; the result is checked");
  OptimizerSpec spec{.kind = *kind};
  if (*kind == OptimizerKind::kSgd) spec.learning_rate = 1;
  return spec;
}

std::vector<float> RowOracle::Gradient(uint32_t dim, int sign) {
  std::vector<float> gradient;
  for (uint32_t d = 0; d < dim; ++d) gradient.push_back(Pushed(d) * static_cast<float>(sign));
  return gradient;
}

RowOracle::RowOracle(const OptimizerSpec& spec, uint32_t dim)
    : dim_(dim),
      linear_(IsLinear(spec.kind)),
      sign_(spec.kind == OptimizerKind::kSgd ? -1 : 1),
      optimizer_(spec),
      gradient_(Gradient(dim)),
      row_(dim, 0.0f),
      slots_(TableSpec{.dim = dim, .optimizer = spec}.slots()) {
  optimizer_.InitializeSlots(dim_, slots_.data());
  values_.assign(kColumns, 0.0f);
}

void RowOracle::Step() {
  const auto pushes = static_cast<uint32_t>(values_.size() / kColumns);
  optimizer_.Apply(pushes, /*step=*/0, gradient_.data(), dim_, row_.data(), slots_.data());
  for (uint32_t d = 0; d < kColumns; ++d) values_.push_back(d < dim_ ? row_[d] : 0.0f);
}

Status RowOracle::Prepare(int64_t pushes) {
  const auto too_many = [&] {
    return InvalidArgument(StrCat("a row was pushed ", pushes,
                                  " times, too often to tell that none was lost: take fewer --seconds or "
                                  "more --rows"));
  };
  if (linear_) return std::abs(pushes) * kGreatestPushed < kExactFloats ? Status::Ok() : too_many();
  while (values_.size() <= static_cast<size_t>(pushes) * kColumns) {
    const size_t last = values_.size() - kColumns;
    Step();
    if (values_[last] == values_[last + kColumns]) return too_many();
  }
  return Status::Ok();
}

}  // namespace penstock
