// JobCourse: what a job does next when all partitions of its present pass or phase are done. Pure.
//
//   train pass -> [evaluation -> [keep best]] -> train next pass -> ... -> final evaluations -> end
//
// Every policy.evaluate_every passes, and after the last one, the weights are evaluated on the test data (on
// the training data where there is no other); after `patience` of these without improvement no further pass
// is trained. With policy.keep_best workers copy the weights after each evaluation that is the best so far.
#pragma once

#include <variant>

#include "scheduler/state/command.h"

namespace penstock {

// kInvalidArgument: what the workers reported of an evaluation cannot be understood.
Result<std::variant<AdvanceJob, EndJob>> NextStep(const JobRecord& job, int64_t at_ms);

inline bool IsEvaluation(JobPhase phase) {
  return phase == JobPhase::kEvaluateTrain || phase == JobPhase::kEvaluateTest;
}
}  // namespace penstock
