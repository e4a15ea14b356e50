// LossKind: which loss a job minimises. What each computes, and from what labels, is model/loss.h's.
#pragma once

#include <cstdint>
#include <string_view>

#include "common/base/status.h"

namespace penstock {

enum class LossKind : uint8_t { kLogistic = 0, kSoftmax = 1, kSquared = 2, kHinge = 3 };

// Labels are 0 and 1, and scores above 0 say 1.
inline bool IsBinary(LossKind kind) { return kind == LossKind::kLogistic || kind == LossKind::kHinge; }

std::string_view ToString(LossKind);
// The error names the allowed words.
Result<LossKind> ParseLossKind(std::string_view word);

}  // namespace penstock
