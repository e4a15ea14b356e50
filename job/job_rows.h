// JobRows: the [admission] and [expiry] sections of a job file: when a feature gets its row, and when the row
// leaves again.
//
// They hold for the sparse tables of the job, one row a feature, user or item; tables of dense layers take no
// such rules. Declared and checked here; job_spec.h puts the sections together and checks what concerns
// several of them.
#pragma once

#include <cstdint>
#include <string>

#include "common/base/options.h"
#include "common/base/status.h"
#include "common/cluster/table_spec.h"

namespace penstock {

struct JobRows {
  uint32_t min_count = 1;
  double probability = 1;
  uint32_t ttl_seconds = 0;
  uint32_t unused_passes = 0;
  double min_norm = 0;

  // Adds every key to `options`, bound to the members of this object.
  void Declare(OptionSet* options);
  // What single keys cannot say. InvalidArgument names the keys, with `prefix` before them.
  Status Validate(const std::string& prefix) const;

  AdmissionSpec admission() const;
  ExpirySpec expiry() const;
  bool any() const { return admission() != AdmissionSpec{} || expiry().any(); }
};

}  // namespace penstock
