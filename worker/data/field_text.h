// What the parsers of text share: sets of characters, numbers, and fields as messages quote them.
//
// Reals of up to 15 significant digits without exponent take a fast path whose result is the correctly
// rounded double; everything else goes through std::from_chars. Pure.
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <string_view>

namespace penstock {

class CharSet {
 public:
  constexpr explicit CharSet(std::string_view characters) {
    for (char c : characters) has_[static_cast<unsigned char>(c)] = true;
  }
  constexpr bool Has(char c) const { return has_[static_cast<unsigned char>(c)]; }

 private:
  std::array<bool, 256> has_{};
};

inline bool IsDigit(char c) { return static_cast<unsigned char>(c - '0') < 10; }

// The field in quotes, without control characters, cut if it is long.
std::string QuoteField(std::string_view field);

// Numbers with an exponent, many digits, or names: inf, nan; too large gives infinity.
const char* ParseRealSlowly(const char* at, const char* end, double* value);

// The number at `at`; returns the position behind it, or nullptr where none begins. `ends` has what may
// follow a number, '\n' among it, and *end must be '\n'. A caller must look at what follows.
inline const char* ParseReal(const char* at, const char* end, const CharSet& ends, double* value) {
  constexpr double kPowers[] = {1e0, 1e1, 1e2,  1e3,  1e4,  1e5,  1e6,  1e7,
                                1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14, 1e15};
  const char* p = at;
  if (IsDigit(p[0]) && ends.Has(p[1])) {  // most values of categorical data
    *value = p[0] - '0';
    return p + 1;
  }
  const bool negative = *p == '-';
  if (negative || *p == '+') ++p;
  uint64_t digits = 0;
  const char* begin = p;
  for (; IsDigit(*p); ++p) digits = digits * 10 + static_cast<uint64_t>(*p - '0');
  int64_t count = p - begin, fraction = 0;
  if (*p == '.') {
    const char* point = ++p;
    for (; IsDigit(*p); ++p) digits = digits * 10 + static_cast<uint64_t>(*p - '0');
    fraction = p - point;
    count += fraction;
  }
  if (count == 0 || count > 15 || !ends.Has(*p)) return ParseRealSlowly(at, end, value);
  const double magnitude = static_cast<double>(digits) / kPowers[fraction];
  *value = negative ? -magnitude : magnitude;
  return p;
}

}  // namespace penstock
