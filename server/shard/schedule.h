// The factor of the learning rate at a step: a pure function of ScheduleSpec, whose formulas stand in
// common/cluster/table_spec.h. Safe on any thread.
#pragma once

#include <cstdint>

#include "common/cluster/table_spec.h"

namespace penstock {

// `step` is at least 1; the schedule is valid.
double ScheduleFactor(const ScheduleSpec& schedule, uint64_t step);

}  // namespace penstock
