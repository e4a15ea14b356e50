// PassMetrics: how well a job did after a pass, as it is journaled and shown; and which pass was the best.
// Pure.
#pragma once

#include <cstdint>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "common/base/status.h"
#include "scheduler/jobs/train_policy.h"

namespace penstock {

struct PassMetrics {
  uint32_t pass = 0;     // from 1: after so many passes
  nlohmann::json train;  // {"examples", "loss"} as the pass itself saw them; without test data those of the
                         // evaluation on the training data
  nlohmann::json test;   // of the evaluation on the test data; null without
  NLOHMANN_DEFINE_TYPE_INTRUSIVE(PassMetrics, pass, train, test)
};

// The metrics of an evaluation (Evaluation::Results) from its partitions' results as they travel.
// kInvalidArgument: a part is no evaluation.
Result<nlohmann::json> MergeMetrics(const std::vector<std::string>& parts, const std::string& loss);

struct BestPass {
  uint32_t pass = 0;   // from 1; 0: none has the metric
  double value = 0;    // of the metric
  uint32_t since = 0;  // evaluations after it; all of them where there is none
};
// By policy.metric on the test data. A metric that is missing or no number (the model diverged) is no
// improvement.
BestPass FindBest(const std::vector<PassMetrics>& history, const TrainPolicy& policy);

}  // namespace penstock
