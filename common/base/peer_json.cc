#include "common/base/peer_json.h"

#include <algorithm>

#include "common/base/strings.h"

namespace penstock {
namespace {

constexpr size_t kMostShown = 80;  // characters of a text

// As deep as its brackets outside of texts say. What is no JSON may get any answer here.
size_t DepthOf(std::string_view text) {
  size_t depth = 0, most = 0;
  bool quoted = false;
  for (size_t i = 0; i < text.size(); ++i) {
    const char c = text[i];
    if (quoted) {
      if (c == '\\') ++i;
      quoted = c != '"';
    } else if (c == '"') {
      quoted = true;
    } else if (c == '[' || c == '{') {
      most = std::max(most, ++depth);
    } else if ((c == ']' || c == '}') && depth > 0) {
      --depth;
    }
  }
  return most;
}

}  // namespace

Result<nlohmann::json> ParsePeerJson(std::string_view text, std::string_view what) {
  if (const size_t depth = DepthOf(text); depth > kMaxJsonDepth) {
    return InvalidArgument(
        StrCat(what, ": JSON that is nested ", depth, " deep, allowed is ", kMaxJsonDepth));
  }
  auto json = nlohmann::json::parse(text, nullptr, /*allow_exceptions=*/false);
  if (json.is_discarded()) return InvalidArgument(StrCat(what, ": it is not JSON"));
  return json;
}

std::string BriefJson(const nlohmann::json& value) {
  if (value.is_object()) return "an object";
  if (value.is_array()) return "a list";
  if (value.is_string() && value.get_ref<const std::string&>().size() > kMostShown)
    return StrCat("a text of ", value.get_ref<const std::string&>().size(), " characters");
  return value.dump(-1, ' ', true, nlohmann::json::error_handler_t::replace);
}

}  // namespace penstock
