// JobOptimizer: the [optimizer] section of a job file: how servers apply gradients.
//
// Declared and checked here; job_spec.h puts the sections together and checks what concerns several of them.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "common/base/options.h"
#include "common/base/status.h"

namespace penstock {

struct JobOptimizer {
  std::string kind = "sgd";
  double learning_rate = 0.1;
  double l1 = 0;
  double l2 = 0;
  double beta1 = 0.9;
  double beta2 = 0.999;
  double epsilon = 1e-8;
  double beta = 1;
  double initial_accumulator = 0;

  // Adds every key to `options`, bound to the members of this object.
  void Declare(OptionSet* options);
  // What single keys cannot say. InvalidArgument names the keys.
  Status Validate() const;
};

}  // namespace penstock
