#include "data/field_text.h"

#include <charconv>
#include <cstdio>
#include <cstdlib>

namespace penstock {
namespace {

// The bytes of the character of UTF-8 that `text` begins with; 0: it begins with none.
size_t CharacterSize(std::string_view text) {
  const auto byte = [&](size_t i) { return static_cast<unsigned char>(text[i]); };
  const size_t size = byte(0) < 0x80       ? 1
                      : byte(0) >> 5 == 6  ? 2
                      : byte(0) >> 4 == 14 ? 3
                      : byte(0) >> 3 == 30 ? 4
                                           : 0;
  if (size == 0 || size > text.size()) return 0;
  for (size_t i = 1; i < size; ++i) {
    if (byte(i) >> 6 != 2) return 0;
  }
  return size;
}

// Characters that a terminal does not show as something: control characters, the no-break space, marks of
// byte order and direction, and those of no width.
bool IsInvisible(std::string_view character) {
  const auto first = static_cast<unsigned char>(character[0]);
  if (first < 0x20 || first == 0x7f) return true;
  if (character.size() == 2) return first == 0xc2 && static_cast<unsigned char>(character[1]) <= 0xa0;
  if (character == "\xef\xbb\xbf") return true;
  if (!character.starts_with("\xe2\x80")) return false;
  const auto last = static_cast<unsigned char>(character[2]);
  return (last >= 0x8b && last <= 0x8f) || (last >= 0xa8 && last <= 0xae);
}

void AppendEscaped(std::string_view bytes, std::string* text) {
  for (const char c : bytes) {
    if (c == '\t' || c == '\r' || c == '\n') {
      *text += c == '\t' ? "\\t" : c == '\r' ? "\\r" : "\\n";
      continue;
    }
    char escape[8];
    std::snprintf(escape, sizeof(escape), "\\x%02x", static_cast<unsigned>(static_cast<unsigned char>(c)));
    *text += escape;
  }
}

}  // namespace

std::string QuoteField(std::string_view field) {
  constexpr size_t kLongest = 40;
  std::string text = "'";
  size_t at = 0;
  while (at < field.size() && at < kLongest) {
    const size_t size = CharacterSize(field.substr(at));
    const std::string_view character = field.substr(at, size == 0 ? 1 : size);
    if (size == 0 || IsInvisible(character)) {
      AppendEscaped(character, &text);
    } else {
      text += character;
    }
    at += character.size();
  }
  if (at < field.size()) text += "...";
  return text + "'";
}

std::string_view TrimBlanks(std::string_view field) {
  while (!field.empty() && field.front() == ' ') field.remove_prefix(1);
  while (!field.empty() && field.back() == ' ') field.remove_suffix(1);
  return field;
}

bool IsNumber(std::string_view field) {
  field = TrimBlanks(field);
  double value = 0;
  const char* const end = field.data() + field.size();
  return !field.empty() && ParseRealSlowly(field.data(), end, &value) == end;
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
