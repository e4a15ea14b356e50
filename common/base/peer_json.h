// JSON that a peer sent: parsed within bounds, and named in errors without being repeated.
#pragma once

#include <nlohmann/json.hpp>
#include <string>
#include <string_view>

#include "common/base/status.h"

namespace penstock {

// Deeper nesting is refused before it is parsed: copying, comparing and printing a JSON value recurse.
inline constexpr size_t kMaxJsonDepth = 64;

// InvalidArgument beginning with `what`: not JSON, or nested too deeply.
Result<nlohmann::json> ParsePeerJson(std::string_view text, std::string_view what);

// For an error: the value itself when it is short and plain, else what it is ("an object", "a text of 2000
// characters").
std::string BriefJson(const nlohmann::json& value);

}  // namespace penstock
