#include "server/shard/schedule.h"

#include <algorithm>
#include <cmath>
#include <numbers>

namespace penstock {

double ScheduleFactor(const ScheduleSpec& schedule, uint64_t step) {
  if (step <= schedule.warmup_steps)
    return static_cast<double>(step) / static_cast<double>(schedule.warmup_steps);
  const uint64_t after = step - schedule.warmup_steps;
  const auto decay = static_cast<double>(schedule.decay_steps);
  switch (schedule.kind) {
    case ScheduleKind::kConstant:
      return 1;
    case ScheduleKind::kStep: {
      const uint64_t drops = after / schedule.decay_steps;
      return std::pow(static_cast<double>(schedule.decay_rate), static_cast<double>(drops));
    }
    case ScheduleKind::kCosine: {
      const double done = static_cast<double>(std::min(after, schedule.decay_steps)) / decay;
      const double low = schedule.minimum;
      return low + (1 - low) * (1 + std::cos(std::numbers::pi * done)) / 2;
    }
    case ScheduleKind::kInverseSqrt:
      return 1 / std::sqrt(1 + static_cast<double>(after) / decay);
  }
  return 1;
}

}  // namespace penstock
