// BenchText: what `penstock bench` prints for people. Pure.
#pragma once

#include <nlohmann/json_fwd.hpp>
#include <string>

namespace penstock {

// Of {"machine", "limit", "results"}.
std::string BenchText(const nlohmann::json& report);

}  // namespace penstock
