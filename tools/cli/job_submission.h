// MakeSubmission: a job file and what was found out about its data, as one JSON that the scheduler journals
// and every worker reads.
#pragma once

#include <nlohmann/json_fwd.hpp>

#include "common/base/status.h"
#include "job/job_spec.h"

namespace penstock {

// Reads all data of the job once, to count records and take fingerprints. Errors: kInvalidArgument where the
// job's options do not fit together or to the data, naming the option; kNotFound or kFailedPrecondition
// naming the file of data that cannot be used.
Result<nlohmann::json> MakeSubmission(const JobSpec& job);

}  // namespace penstock
