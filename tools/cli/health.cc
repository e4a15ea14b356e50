#include "tools/cli/health.h"

#include <algorithm>
#include <nlohmann/json.hpp>

#include "common/base/strings.h"

namespace penstock {

std::vector<std::string> HealthProblems(const nlohmann::json& status) {
  std::vector<std::string> problems;
  for (const auto& problem : status.value("problems", nlohmann::json::array())) {
    problems.push_back(problem.is_string() ? problem.get<std::string>() : problem.dump());
  }
  const auto shards = status.value("shards", nlohmann::json::object());
  const auto total = shards.value("total", uint64_t{0});
  const auto serving = shards.value("serving", uint64_t{0});
  // The scheduler may have said the same in its own words; then it is not said twice.
  const auto mentioned = [&](const std::string& word) {
    return std::any_of(problems.begin(), problems.end(),
                       [&](const std::string& p) { return p.find(word) != std::string::npos; });
  };
  if (serving < total && !mentioned("shard"))
    problems.push_back(StrCat(total - serving, " of ", total, " shards are not served"));
  for (const auto& node : status.value("nodes", nlohmann::json::array())) {
    // Whether a worker is missed the scheduler says itself: it depends on the jobs.
    if (node.value("state", "") != "dead" || node.value("role", "") == "worker") continue;
    const std::string name = node.value("name", "?");
    if (!mentioned(name)) problems.push_back(StrCat(node.value("role", "node"), " ", name, " is dead"));
  }
  if (problems.empty() && !status.value("ready", false)) problems.push_back("the cluster is not ready");
  return problems;
}

}  // namespace penstock
