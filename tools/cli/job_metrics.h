// The metrics of a job, merged from the evaluations of its partitions, and the report of a finished one.
// Pure.
#pragma once

#include <nlohmann/json_fwd.hpp>
#include <string>

#include "common/base/status.h"

namespace penstock {

// Of inspect "job": {"train": {"examples", "loss", ...}, "test": {...}}, those that were evaluated.
Result<nlohmann::json> JobMetrics(const nlohmann::json& job);
// What `train --report` writes: {"job", "status", "seconds", "examples", "examples_per_second", "servers",
// "workers", "metrics"}.
nlohmann::json JobReport(const nlohmann::json& job, const nlohmann::json& metrics);
// "held-out: loss 0.3241, accuracy 0.8499, ..." a line for each part.
std::string MetricsText(const nlohmann::json& metrics);

}  // namespace penstock
