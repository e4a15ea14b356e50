// The metrics of a job, merged from the evaluations of its partitions, and the report of a finished one.
// Pure.
#pragma once

#include <nlohmann/json_fwd.hpp>
#include <string>

#include "common/base/status.h"

namespace penstock {

// Of inspect "job": {"train": {"examples", "loss", ...}, "test": {...}}, those that were evaluated.
Result<nlohmann::json> JobMetrics(const nlohmann::json& job);
// What `train --report` writes: {"job", "status", "seconds", "examples", "examples_per_second",
// "skipped_records" (of all passes), "options" (the job's), "servers", "workers", "metrics", "history":
// [{"pass" (from 1), "train": {...}, "test": {...}}], "best_pass" (of the history, by
// train.early_stop_metric, or null), "stopped" ("" or why training ended early)}.
nlohmann::json JobReport(const nlohmann::json& job, const nlohmann::json& metrics);
// The options of a job that are not at their defaults, those of its model and of its optimizer's kind
// included: "train.passes = 3", a line each.
std::string OptionsText(const nlohmann::json& job);
// "pass 3: training data: loss 0.3312; held-out data: loss 0.3241, ...", of an element of the history.
std::string HistoryLine(const nlohmann::json& entry);
// "held-out: loss 0.3241, accuracy 0.8499, ..." a line for each part.
std::string MetricsText(const nlohmann::json& metrics);

}  // namespace penstock
