// JobInitializer: the [initializer] section of a job file: the weights of rows before their first step.
//
// Declared here; what goes together is checked where servers check it (ValidateInitializer, table_spec.h).
#pragma once

#include <string>

#include "common/base/options.h"
#include "common/cluster/table_spec.h"

namespace penstock {

// Inputs and outputs of a layer; 0, 0 of a table that is none.
struct Fans {
  uint32_t in = 0, out = 0;
};

struct JobInitializer {
  std::string kind = "model";
  InitializerSpec numbers;  // all but the kind

  // Adds every key to `options`, bound to the members of this object.
  void Declare(OptionSet* options);
  // For a table to which the model gives `initial`, and which has `fans` where the job gives none.
  InitializerSpec spec(const InitializerSpec& initial, Fans fans) const;
};

}  // namespace penstock
