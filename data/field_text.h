// What the parsers of text share: sets of characters, numbers, and fields as messages quote them.
//
// Digits are looked at eight at a time and without a branch for each, because how many there are is what a
// processor cannot predict. Reals of up to 15 significant digits without exponent take a fast path whose
// result is the correctly rounded double; everything else goes through std::from_chars. Pure.
#pragma once

#include <array>
#include <bit>
#include <cstdint>
#include <cstring>
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

// Bytes behind a text that must be readable, whatever they are.
inline constexpr size_t kTextSlack = 16;

// The digits at `p`, up to eight: returns how many, and their value. Eight bytes must be readable.
inline unsigned ReadDigits(const char* p, uint64_t* value) {
  static_assert(std::endian::native == std::endian::little);
  constexpr uint64_t kHighBits = 0x8080808080808080ULL;
  uint64_t word;
  std::memcpy(&word, p, sizeof(word));
  word ^= 0x3030303030303030ULL;  // digits are 0 to 9 now
  // Carries of this addition begin at the first byte that is no digit and go to those behind it only.
  const uint64_t others = ((word + 0x7676767676767676ULL) | word) & kHighBits;
  const auto count = static_cast<unsigned>(std::countr_zero(others)) / 8;  // 8: all are digits
  // The digits go to the upper bytes, with zeros before them; then neighbours are added up three times.
  word = count == 0 ? 0 : word << (64 - 8 * count);
  word = (word * 10 + (word >> 8)) & 0x00ff00ff00ff00ffULL;
  word = (word * 100 + (word >> 16)) & 0x0000ffff0000ffffULL;
  *value = (word * 10000 + (word >> 32)) & 0xffffffffULL;
  return count;
}

// The field in quotes, cut if it is long: UTF-8 in which characters that do not show are escaped (\t,
// \xef\xbb\xbf), and so are bytes that are none.
std::string QuoteField(std::string_view field);

std::string_view TrimBlanks(std::string_view field);

// Whether the whole field, blanks around it aside, is a number of any kind (also nan and inf). Not fast.
bool IsNumber(std::string_view field);

// Numbers with an exponent, many digits, or names: inf, nan; too large gives infinity.
const char* ParseRealSlowly(const char* at, const char* end, double* value);

// The number at `at`; returns the position behind it, or nullptr where none begins. `ends` has what may
// follow a number, '\n' among it; *end must be none of a number's characters, and kTextSlack bytes behind it
// be readable. A caller must look at what follows.
inline const char* ParseReal(const char* at, const char* end, const CharSet& ends, double* value) {
  constexpr double kPowers[] = {1e0, 1e1, 1e2,  1e3,  1e4,  1e5,  1e6,  1e7,
                                1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14, 1e15};
  constexpr uint64_t kWholePowers[] = {1, 10, 100, 1'000, 10'000, 100'000, 1'000'000, 10'000'000};
  const char* p = at;
  if (IsDigit(p[0]) && ends.Has(p[1])) {  // most values of categorical data
    *value = p[0] - '0';
    return p + 1;
  }
  const bool negative = *p == '-';
  if (negative || *p == '+') ++p;
  const char* const begin = p;
  uint64_t digits = 0, behind_point = 0;
  size_t whole = ReadDigits(p, &digits), fraction = 0;
  p += whole;
  if (*p == '.') {
    fraction = ReadDigits(p + 1, &behind_point);
    p += fraction + 1;
  }
  if (whole < 8 && fraction < 8) {
    digits = digits * kWholePowers[fraction] + behind_point;
  } else {  // there may be more
    p = begin;
    digits = fraction = 0;
    for (; IsDigit(*p); ++p) digits = digits * 10 + static_cast<uint64_t>(*p - '0');
    whole = static_cast<size_t>(p - begin);
    if (*p == '.') {
      const char* const point = ++p;
      for (; IsDigit(*p); ++p) digits = digits * 10 + static_cast<uint64_t>(*p - '0');
      fraction = static_cast<size_t>(p - point);
    }
  }
  const size_t count = whole + fraction;
  if (count == 0 || count > 15 || !ends.Has(*p)) return ParseRealSlowly(at, end, value);
  const double magnitude = static_cast<double>(digits) / kPowers[fraction];
  *value = negative ? -magnitude : magnitude;
  return p;
}

}  // namespace penstock
