// JobTable: what a job file says of its tables: [optimizer], [schedule], [initializer], [admission], [expiry]
// and what [train] says of them.
//
// A job has one for all of its tables, and [tables.NAME.*] sections say single keys anew for the table NAME
// (job_spec.h).
#pragma once

#include <string>

#include "common/base/options.h"
#include "common/base/status.h"
#include "common/cluster/table_spec.h"
#include "job/job_initializer.h"
#include "job/job_optimizer.h"
#include "job/job_rows.h"

namespace penstock {

struct JobTable {
  JobOptimizer optimizer;
  JobSchedule schedule;
  JobInitializer initializer;
  JobRows rows;
  std::string durability = "memory";
  std::string codec = "f32";

  // Adds every key to `options`, bound to the members of this object.
  void Declare(OptionSet* options);
  // What single keys cannot say: ranges that depend on others, and keys that would be ignored.
  // InvalidArgument names the keys, with `prefix` ("tables.layer1.") before them.
  Status Validate(const std::string& prefix) const;
  // Writes what the job says into a model's table, whose initializer is the model's. `rows` is left to the
  // caller, who knows which tables it is for, and so is the durability (JobSpec::DurabilityOf).
  void Configure(Fans fans, TableSpec* table) const;
};

}  // namespace penstock
