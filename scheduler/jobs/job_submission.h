// Reads and checks the JSON of a submitted job, and makes the command that journals it with its tables.
#pragma once

#include <string>

#include "scheduler/state/cluster_state.h"

namespace penstock {

// {"name", "options", "tables": [TableSpec with id 0 and a relative name], "plan": {"train": {"partitions",
// "records", ...}, "test": {...} or null}, "passes", "consistency": "async" | "ssp" | "sync",
// "evaluate_train", "evaluate_test", "policy": TrainPolicy}. Tables are named "<name>.<job id>/<relative
// name>". kInvalidArgument names the member, its value and what is allowed.
// `limit_files`: workers read files below their worker.data_roots alone for it.
Result<SubmitJob> ReadSubmission(const std::string& spec, bool limit_files, const ClusterState& state,
                                 int64_t wall_ms);

}  // namespace penstock
