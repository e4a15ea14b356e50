// HealthProblems: whether a cluster's status is a healthy one. Pure.
#pragma once

#include <nlohmann/json_fwd.hpp>
#include <string>
#include <vector>

namespace penstock {

// Of inspect "status": what an operator should know: the scheduler's own list, shards that are not served,
// dead nodes. Empty: healthy.
std::vector<std::string> HealthProblems(const nlohmann::json& status);

}  // namespace penstock
