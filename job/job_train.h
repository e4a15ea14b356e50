// JobTrain: the [train] section of a job file: how the training runs.
//
// Declared and checked here; job_spec.h puts the sections together and checks what concerns several of them.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "common/base/options.h"
#include "common/base/status.h"

namespace penstock {

struct JobTrain {
  uint32_t passes = 1;
  uint32_t batch_size = 64;
  std::string consistency = "async";
  uint32_t staleness = 3;  // ssp
  uint32_t streams = 4;    // sync
  uint64_t seed = 1;
  bool shuffle = true;
  uint32_t inflight = 2;
  bool evaluate = true;
  bool ledger = false;
  uint32_t evaluate_every = 0;
  uint32_t early_stop_patience = 0;
  std::string early_stop_metric = "loss";
  double early_stop_min_delta = 0;
  bool keep_best = false;

  // Adds every key to `options`, bound to the members of this object.
  void Declare(OptionSet* options);
  // What single keys cannot say. InvalidArgument names the keys.
  Status Validate() const;
  bool ssp() const { return consistency == "ssp"; }
  bool sync() const { return consistency == "sync"; }
};

}  // namespace penstock
