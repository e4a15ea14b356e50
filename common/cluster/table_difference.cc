#include "common/cluster/table_difference.h"

#include <algorithm>
#include <charconv>
#include <nlohmann/json.hpp>
#include <vector>

#include "common/base/strings.h"

namespace penstock {
namespace {

// A value of the JSON as a user wrote it: fractions are floats there, and 0.1f is not 0.10000000149.
std::string Shown(const nlohmann::json& value) {
  if (value.is_string()) return value.get<std::string>();
  if (!value.is_number_float()) return value.dump();
  char text[32];
  const auto end = std::to_chars(text, text + sizeof(text), value.get<float>()).ptr;
  return std::string(text, end);
}

}  // namespace

// By the JSON, which has every field because the journal needs it.
std::string DescribeDifference(const TableSpec& existing, const TableSpec& wanted) {
  const auto is = nlohmann::json(existing).flatten(), asked = nlohmann::json(wanted).flatten();
  std::vector<std::string> differences;
  for (const auto& [pointer, value] : is.items()) {  // "/optimizer/kind"
    if (pointer == "/id" || asked.at(pointer) == value) continue;
    std::string field = pointer.substr(1);
    std::replace(field.begin(), field.end(), '/', '.');
    differences.push_back(StrCat(field, " is ", Shown(value), " and not ", Shown(asked.at(pointer))));
  }
  return StrJoin(differences, ", ");
}

}  // namespace penstock
