#include "scheduler/jobs/pass_metrics.h"

#include <cmath>

#include "model/metrics.h"

namespace penstock {

Result<nlohmann::json> MergeMetrics(const std::vector<std::string>& parts, const std::string& loss) {
  PENSTOCK_ASSIGN_OR_RETURN(const LossKind kind, ParseLossKind(loss));
  Evaluation all;
  for (const std::string& part : parts) {
    PENSTOCK_ASSIGN_OR_RETURN(const Evaluation one, Evaluation::FromJson(nlohmann::json::parse(
                                                        part, nullptr, /*allow_exceptions=*/false)));
    all.Merge(one);
  }
  // The regulariser is not known here: metrics of the data alone.
  return all.Results(Objective{.loss = kind, .known = false});
}

BestPass FindBest(const std::vector<PassMetrics>& history, const TrainPolicy& policy) {
  const bool less_is_better = policy.metric == "loss" || policy.metric == "rmse";
  BestPass best;
  for (const PassMetrics& entry : history) {
    ++best.since;
    if (!entry.test.is_object()) continue;
    const auto metric = entry.test.find(policy.metric);
    if (metric == entry.test.end() || !metric->is_number()) continue;
    const auto value = metric->get<double>();
    if (!std::isfinite(value)) continue;
    const double gain = less_is_better ? best.value - value : value - best.value;
    if (best.pass == 0 || gain > policy.min_delta) best = {.pass = entry.pass, .value = value, .since = 0};
  }
  return best;
}

}  // namespace penstock
