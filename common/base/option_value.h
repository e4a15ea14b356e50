// The value of one option: its types, the ways of reading one from text, TOML or JSON, and what is allowed.
//
// Every source of values is brought to one form (nlohmann::json) first, and checked and assigned in one
// place, so that a file, the environment and a flag refuse the same things with the same words. Used by
// OptionSet (options.h) only.
#pragma once

#include <cstdint>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "common/base/status.h"

namespace penstock {

struct OptionInfo {
  std::string help = {};           // one or two sentences, without the unit
  std::string unit = {};           // "ms", "bytes", ...; empty: none
  std::optional<double> min = {};  // of a number, or of each element of a list of numbers; both inclusive
  std::optional<double> max = {};
  std::vector<std::string> choices =
      {};                 // of a string, or of each element of a list of strings; empty: anything
  bool required = false;  // a string or list: may not be empty; others: must be set by someone
  bool secret = false;    // never printed, never in ToJson
};

using OptionTarget =
    std::variant<std::string*, bool*, int*, int64_t*, uint16_t*, uint32_t*, uint64_t*, float*, double*,
                 std::vector<std::string>*, std::vector<int64_t>*, std::vector<double>*>;

// "an integer from 1 to 256", "one of 'a', 'b'", "true or false".
std::string AllowedValues(const OptionTarget& target, const OptionInfo& info);
// The value as it is now.
nlohmann::json ReadOption(const OptionTarget& target);
// kInvalidArgument "must be <AllowedValues>" for a wrong type, range or choice.
Status CheckOption(const OptionTarget& target, const OptionInfo& info, const nlohmann::json& value);
// `value` must have passed CheckOption.
void WriteOption(const OptionTarget& target, const nlohmann::json& value);
// From a flag or the environment: true/false, numbers, words; a list is a,b,c or a JSON array. What cannot be
// understood comes back as the string it is, for CheckOption to refuse.
nlohmann::json ParseOptionText(const OptionTarget& target, std::string_view text);
// A TOML literal.
std::string OptionLiteral(const nlohmann::json& value);

}  // namespace penstock
