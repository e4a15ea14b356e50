#include "job/loss_kind.h"

#include <string>

namespace penstock {
namespace {

constexpr std::string_view kNames[] = {"logistic", "softmax", "squared", "hinge"};

}  // namespace

std::string_view ToString(LossKind kind) { return kNames[static_cast<size_t>(kind)]; }

Result<LossKind> ParseLossKind(std::string_view word) {
  for (size_t i = 0; i < std::size(kNames); ++i) {
    if (kNames[i] == word) return static_cast<LossKind>(i);
  }
  return InvalidArgument("loss '" + std::string(word) + "' is none of logistic, softmax, squared, hinge");
}

}  // namespace penstock
