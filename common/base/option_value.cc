// Checks, reads and writes of option values by type.
#include "common/base/option_value.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <limits>
#include <type_traits>

#include "common/base/strings.h"

namespace penstock {
namespace {

using nlohmann::json;

template <typename T>
constexpr bool kIsInteger = std::is_integral_v<T> && !std::is_same_v<T, bool>;
template <typename T>
constexpr bool kIsIntegers = std::is_same_v<T, std::vector<int64_t>>;
template <typename T>
constexpr bool kIsStrings = std::is_same_v<T, std::vector<std::string>>;

std::string Number(double value) {
  constexpr double kExact = 9007199254740992.0;  // 2^53: integers up to here are printed without an exponent
  if (value == std::floor(value) && std::abs(value) <= kExact)
    return std::to_string(static_cast<int64_t>(value));
  return json(value).dump();
}

// " from 1 to 256", " of at least 1", ...
std::string Range(const OptionInfo& info, bool is_unsigned) {
  std::optional<double> min = info.min;
  if (!min && is_unsigned) min = 0;
  if (min && info.max) return StrCat(" from ", Number(*min), " to ", Number(*info.max));
  if (min) return StrCat(" of at least ", Number(*min));
  if (info.max) return StrCat(" of at most ", Number(*info.max));
  return "";
}

std::string Quoted(const std::vector<std::string>& words) {
  std::vector<std::string> quoted;
  quoted.reserve(words.size());
  for (const std::string& word : words) quoted.push_back(StrCat("'", word, "'"));
  return StrJoin(quoted, ", ");
}

bool InRange(const OptionInfo& info, double value) {
  return !(info.min && value < *info.min) && !(info.max && value > *info.max);
}

bool IsChoice(const OptionInfo& info, const json& value) {
  if (!value.is_string()) return false;
  return info.choices.empty() || std::ranges::count(info.choices, value.get<std::string>()) > 0;
}

template <typename T>
bool FitsInteger(const json& value) {
  if (value.is_number_unsigned())
    return value.get<uint64_t>() <= static_cast<uint64_t>(std::numeric_limits<T>::max());
  if (!value.is_number_integer()) return false;
  const int64_t number = value.get<int64_t>();
  if constexpr (std::is_unsigned_v<T>) {
    return number >= 0 && static_cast<uint64_t>(number) <= std::numeric_limits<T>::max();
  } else {
    return number >= std::numeric_limits<T>::min() && number <= std::numeric_limits<T>::max();
  }
}

template <typename T>
bool Acceptable(const OptionInfo& info, const json& value) {
  if constexpr (std::is_same_v<T, bool>) {
    return value.is_boolean();
  } else if constexpr (std::is_same_v<T, std::string>) {
    return IsChoice(info, value);
  } else if constexpr (kIsInteger<T>) {
    return FitsInteger<T>(value) && InRange(info, value.get<double>());
  } else if constexpr (std::is_floating_point_v<T>) {
    return value.is_number() && std::isfinite(static_cast<T>(value.get<double>())) &&
           InRange(info, value.get<double>());
  } else {
    return value.is_array() && std::ranges::all_of(value, [&](const json& element) {
             return Acceptable<typename T::value_type>(info, element);
           });
  }
}

template <typename T>
std::string Allowed(const OptionInfo& info) {
  if constexpr (std::is_same_v<T, bool>) {
    return "true or false";
  } else if constexpr (std::is_same_v<T, std::string>) {
    return info.choices.empty() ? "a string" : StrCat("one of ", Quoted(info.choices));
  } else if constexpr (kIsInteger<T>) {
    return StrCat("an integer", Range(info, std::is_unsigned_v<T>));
  } else if constexpr (std::is_floating_point_v<T>) {
    return StrCat("a number", Range(info, false));
  } else if constexpr (kIsStrings<T>) {
    return info.choices.empty() ? "a list of strings" : StrCat("a list of ", Quoted(info.choices));
  } else {
    return StrCat("a list of ", kIsIntegers<T> ? "integers" : "numbers", info.min || info.max ? ", each" : "",
                  Range(info, false));
  }
}

template <typename T>
bool FromChars(std::string_view text, json* value) {
  T parsed{};
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), parsed);
  if (error != std::errc() || end != text.data() + text.size()) return false;
  *value = parsed;
  return true;
}

json ParseInteger(std::string_view text) {
  json value;
  if (FromChars<int64_t>(text, &value) || FromChars<uint64_t>(text, &value)) return value;
  return std::string(text);
}

template <typename Element>
json ParseList(std::string_view text) {
  if (text.starts_with('[')) {
    json value = json::parse(text, nullptr, /*allow_exceptions=*/false);
    return value.is_discarded() ? json(std::string(text)) : value;
  }
  json list = json::array();
  if (text.empty()) return list;
  for (std::string_view piece : StrSplit(text, ',')) {
    if constexpr (std::is_same_v<Element, std::string>) {
      list.push_back(std::string(piece));
    } else if constexpr (kIsInteger<Element>) {
      list.push_back(ParseInteger(piece));
    } else {
      json number;
      list.push_back(FromChars<double>(piece, &number) ? number : json(std::string(piece)));
    }
  }
  return list;
}

template <typename T>
json Parse(std::string_view text) {
  if constexpr (std::is_same_v<T, bool>) {
    if (text == "true" || text == "1") return true;
    if (text == "false" || text == "0") return false;
  } else if constexpr (kIsInteger<T>) {
    return ParseInteger(text);
  } else if constexpr (std::is_floating_point_v<T>) {
    json value;
    if (FromChars<double>(text, &value)) return value;
  } else if constexpr (!std::is_same_v<T, std::string>) {
    return ParseList<typename T::value_type>(text);
  }
  return std::string(text);
}

}  // namespace

std::string AllowedValues(const OptionTarget& target, const OptionInfo& info) {
  return std::visit([&](auto* t) { return Allowed<std::remove_pointer_t<decltype(t)>>(info); }, target);
}

json ReadOption(const OptionTarget& target) {
  return std::visit(
      [](auto* t) -> json {
        if constexpr (std::is_same_v<decltype(t), float*>) {
          // 0.1f reads as 0.1 and not as 0.10000000149011612.
          char text[64];
          const auto end = std::to_chars(text, text + sizeof text, *t).ptr;
          json value;
          return FromChars<double>({text, static_cast<size_t>(end - text)}, &value) ? value : json(*t);
        } else {
          return *t;
        }
      },
      target);
}

Status CheckOption(const OptionTarget& target, const OptionInfo& info, const json& value) {
  const bool acceptable = std::visit(
      [&](auto* t) { return Acceptable<std::remove_pointer_t<decltype(t)>>(info, value); }, target);
  if (acceptable) return Status::Ok();
  return InvalidArgument(StrCat("must be ", AllowedValues(target, info)));
}

void WriteOption(const OptionTarget& target, const json& value) {
  std::visit([&](auto* t) { *t = value.get<std::remove_pointer_t<decltype(t)>>(); }, target);
}

json ParseOptionText(const OptionTarget& target, std::string_view text) {
  return std::visit([&](auto* t) { return Parse<std::remove_pointer_t<decltype(t)>>(text); }, target);
}

std::string OptionLiteral(const json& value) {
  if (!value.is_array()) return value.dump(-1, ' ', false, json::error_handler_t::replace);
  std::vector<std::string> elements;
  for (const json& element : value) elements.push_back(OptionLiteral(element));
  return StrCat("[", StrJoin(elements, ", "), "]");
}

}  // namespace penstock
