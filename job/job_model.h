// JobModel: the [model] section of a job file: what is trained.
//
// Declared and checked here; job_spec.h puts the sections together and checks what concerns several of them.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "common/base/options.h"
#include "common/base/status.h"
#include "job/job_data.h"

namespace penstock {

struct JobModel {
  std::string kind = "linear";
  std::string loss = "logistic";
  std::vector<int64_t> hidden;
  std::string activation = "relu";
  uint32_t classes = 0;
  uint64_t features = 0;
  bool bias = true;
  double l1 = 0;
  double l2 = 0;
  bool l2_all = false;
  bool l2_scaled = false;
  bool l2_by_example = false;
  std::vector<double> class_weights;
  bool center = false;
  uint32_t factors = 8;
  double factor_l2 = 0;
  uint32_t embedding_dim = 8;
  std::string pooling = "mean";
  bool wide = false;

  // Adds every key to `options`, bound to the members of this object.
  void Declare(OptionSet* options);
  // What single keys cannot say. InvalidArgument names the keys.
  Status Validate() const;
  // What depends on the data, both validated.
  Status ValidateFor(const JobData& data) const;
  bool deep() const { return kind == "deep"; }
  bool factorizes() const { return kind == "fm" || kind == "mf"; }
};

}  // namespace penstock
