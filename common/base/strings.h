// StrCat, StrJoin and StrSplit over std::string_view. (Abseil's take its own string_view as Debian builds it,
// which is another type.)
#pragma once

#include <concepts>
#include <string>
#include <string_view>
#include <type_traits>
#include <vector>

namespace penstock {

inline void StrAppendOne(std::string* out, std::string_view text) { out->append(text); }
inline void StrAppendOne(std::string* out, char c) { out->push_back(c); }
template <typename T>
requires(std::is_arithmetic_v<T> && !std::same_as<T, char> &&
         !std::same_as<T, bool>) void StrAppendOne(std::string* out, T number) {
  out->append(std::to_string(number));
}

// The pieces behind each other: strings, characters, integers; fractions as std::to_string prints them.
template <typename... Pieces>
void StrAppend(std::string* out, const Pieces&... pieces) {
  (StrAppendOne(out, pieces), ...);
}
template <typename... Pieces>
std::string StrCat(const Pieces&... pieces) {
  std::string out;
  StrAppend(&out, pieces...);
  return out;
}

inline std::string StrJoin(const std::vector<std::string>& pieces, std::string_view separator) {
  std::string out;
  for (const std::string& piece : pieces) StrAppend(&out, &piece == pieces.data() ? "" : separator, piece);
  return out;
}

// The pieces between separators; of an empty text one empty piece.
inline std::vector<std::string_view> StrSplit(std::string_view text, char separator) {
  std::vector<std::string_view> pieces;
  for (size_t begin = 0;;) {
    const size_t end = text.find(separator, begin);
    pieces.push_back(text.substr(begin, end - begin));
    if (end == std::string_view::npos) return pieces;
    begin = end + 1;
  }
}

}  // namespace penstock
