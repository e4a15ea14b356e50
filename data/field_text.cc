#include "data/field_text.h"

#include <charconv>
#include <cstdlib>

namespace penstock {

std::string QuoteField(std::string_view field) {
  constexpr size_t kLongest = 40;
  std::string text = "'";
  for (const char c : field.substr(0, kLongest)) text += static_cast<unsigned char>(c) < 0x20 ? '?' : c;
  if (field.size() > kLongest) text += "...";
  return text + "'";
}

const char* ParseRealSlowly(const char* at, const char* end, double* value) {
  if (*at == '+' && at + 1 < end && (IsDigit(at[1]) || at[1] == '.')) ++at;
  const auto [stop, error] = std::from_chars(at, end, *value);
  if (error == std::errc::invalid_argument) return nullptr;
  // from_chars leaves the value alone here; strtod tells too large (infinite) from too small (zero).
  if (error == std::errc::result_out_of_range) *value = std::strtod(std::string(at, stop).c_str(), nullptr);
  return stop;
}

}  // namespace penstock
