// JobOptimizer and JobSchedule: the [optimizer] and [schedule] sections of a job file: how servers apply
// gradients, and how the learning rate goes.
//
// Declared here; what goes together is checked where servers check it (ValidateOptimizer, table_spec.h).
#pragma once

#include <string>

#include "common/base/options.h"
#include "common/cluster/table_spec.h"

namespace penstock {

struct JobOptimizer {
  std::string kind = "model";
  OptimizerSpec numbers = {.learning_rate = 0};  // all but the kind

  // Adds every key to `options`, bound to the members of this object.
  void Declare(OptionSet* options);
  // What was left to the model (its model.kind) or to the kind gets its value.
  void Resolve(const std::string& model);
  OptimizerSpec spec() const;
};

struct JobSchedule {
  std::string kind = "constant";
  ScheduleSpec numbers;  // all but the kind

  void Declare(OptionSet* options);
  ScheduleSpec spec() const;
};

}  // namespace penstock
