#include "tools/cli/print.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <cstdio>
#include <limits>
#include <nlohmann/json.hpp>

#include "common/base/strings.h"

namespace penstock {
namespace {

const nlohmann::json* Find(const nlohmann::json& value, const std::string& key) {
  const nlohmann::json* found = &value;
  for (const std::string_view part : StrSplit(key, '/')) {
    if (!found->is_object()) return nullptr;
    const auto it = found->find(std::string(part));
    if (it == found->end()) return nullptr;
    found = &*it;
  }
  return found->is_null() ? nullptr : found;
}

std::string Printf(const char* format, double value) {
  char text[64];
  std::snprintf(text, sizeof text, format, value);
  return text;
}

// The shortest text that stands for this number alone; of one that was a float, for that float.
std::string Shortest(double value) {
  char text[64];
  const bool fits = std::abs(value) <= std::numeric_limits<float>::max();
  const auto narrow = fits ? static_cast<float>(value) : 0.0f;
  const auto end = fits && static_cast<double>(narrow) == value
                       ? std::to_chars(text, text + sizeof text, narrow).ptr
                       : std::to_chars(text, text + sizeof text, value).ptr;
  return std::string(text, end);
}

// How many columns of a terminal a text takes: bytes that begin a UTF-8 character.
size_t Width(const std::string& text) {
  return static_cast<size_t>(
      std::count_if(text.begin(), text.end(), [](char c) { return (c & 0xc0) != 0x80; }));
}

void AppendCell(std::string* line, const std::string& text, size_t width, bool right, bool last) {
  const std::string padding(width - Width(text), ' ');
  if (right) *line += padding + text;
  if (!right) *line += text + (last ? "" : padding);
  if (!last) *line += "  ";
}

}  // namespace

std::string FormatText(const std::string& text) {
  std::string shown;
  for (size_t i = 0; i < text.size(); ++i) {
    const auto byte = static_cast<unsigned char>(text[i]);
    const auto next = static_cast<unsigned char>(i + 1 < text.size() ? text[i + 1] : 0);
    const bool upper = byte == 0xc2 && next >= 0x80 && next < 0xa0;  // U+0080 to U+009F
    if (byte >= 0x20 && byte != 0x7f && !upper) {
      shown += text[i];
      continue;
    }
    char escape[8];
    std::snprintf(escape, sizeof escape, "\\x%02x", upper ? next : byte);
    shown += escape;
    i += upper;
  }
  return shown;
}

std::string FormatLines(const std::string& text) {
  std::string shown;
  for (size_t begin = 0; begin <= text.size();) {
    const size_t end = std::min(text.find('\n', begin), text.size());
    StrAppend(&shown, begin == 0 ? "" : "\n", FormatText(text.substr(begin, end - begin)));
    begin = end + 1;
  }
  return shown;
}

std::string FormatCount(uint64_t count) {
  std::string text = std::to_string(count);
  for (size_t i = text.size(); i > 3;) text.insert(i -= 3, ",");
  return text;
}

std::string FormatFraction(double value, int decimals) {
  const double size = std::abs(value);
  if (size != 0 && (size >= 1e9 || size < 1e-4)) return Shortest(value);
  char text[64];
  std::snprintf(text, sizeof text, "%.*f", decimals, value);
  return text;
}

std::string FormatBytes(double bytes) {
  static constexpr const char* kUnits[] = {"B", "KiB", "MiB", "GiB", "TiB"};
  size_t unit = 0;
  for (; bytes >= 1024 && unit + 1 < std::size(kUnits); ++unit) bytes /= 1024;
  return Printf(unit == 0 ? "%.0f " : "%.1f ", bytes) + kUnits[unit];
}

std::string FormatSeconds(double seconds) {
  if (seconds < 60) return Printf("%.1f s", seconds);
  const auto whole = static_cast<uint64_t>(std::llround(seconds));
  char text[64];
  if (whole < 3600) {
    std::snprintf(text, sizeof text, "%d:%02d", static_cast<int>(whole / 60), static_cast<int>(whole % 60));
  } else {
    std::snprintf(text, sizeof text, "%llu:%02d:%02d", static_cast<unsigned long long>(whole / 3600),
                  static_cast<int>(whole / 60 % 60), static_cast<int>(whole % 60));
  }
  return text;
}

std::string FormatValue(const nlohmann::json& value, Show show) {
  if (value.is_null()) return "-";
  if (value.is_string()) {
    const auto& text = value.get_ref<const std::string&>();
    return text.empty() ? "-" : FormatText(text);
  }
  if (value.is_boolean()) return value.get<bool>() ? "yes" : "no";
  if (value.is_array()) {
    std::string text;
    for (const auto& element : value) StrAppend(&text, text.empty() ? "" : " ", FormatValue(element, show));
    return text.empty() ? "-" : text;
  }
  if (!value.is_number()) return value.dump();
  const double number = value.get<double>();
  switch (show) {
    case Show::kCount:
      if (value.is_number_unsigned()) return FormatCount(value.get<uint64_t>());
      return number >= 0 && number < 1e18 ? FormatCount(static_cast<uint64_t>(std::llround(number)))
                                          : Shortest(number);
    case Show::kBytes:
      return FormatBytes(number);
    case Show::kSeconds:
      return FormatSeconds(number);
    case Show::kFraction:
      return FormatFraction(number, 4);
    case Show::kText:
      break;
  }
  return value.is_number_float() ? Shortest(number) : value.dump();
}

std::string RenderTable(const nlohmann::json& rows, const std::vector<Column>& columns) {
  if (rows.empty()) return "(none)\n";
  std::vector<std::vector<std::string>> cells(rows.size() + 1);
  std::vector<size_t> widths(columns.size());
  std::vector<bool> right(columns.size(), true);
  for (size_t c = 0; c < columns.size(); ++c) {
    cells[0].push_back(columns[c].header);
    for (size_t r = 0; r < rows.size(); ++r) {
      const nlohmann::json* value = Find(rows[r], columns[c].key);
      cells[r + 1].push_back(value == nullptr ? "-" : FormatValue(*value, columns[c].show));
      right[c] = right[c] && (value == nullptr || value->is_number());
    }
    for (const auto& row : cells) widths[c] = std::max(widths[c], Width(row[c]));
  }
  std::string text;
  for (const auto& row : cells) {
    std::string line;
    for (size_t c = 0; c < columns.size(); ++c)
      AppendCell(&line, row[c], widths[c], right[c], c + 1 == columns.size());
    text += line + "\n";
  }
  return text;
}

std::string RenderFields(const nlohmann::json& value, const std::vector<Column>& columns) {
  size_t width = 0;
  for (const auto& column : columns) width = std::max(width, Width(column.header));
  std::string text;
  for (const auto& column : columns) {
    const nlohmann::json* found = Find(value, column.key);
    if (found == nullptr) continue;
    std::string line;
    AppendCell(&line, column.header, width, false, false);
    text += line + FormatValue(*found, column.show) + "\n";
  }
  return text;
}

std::string RenderJson(const nlohmann::json& value) { return value.dump(2) + "\n"; }

}  // namespace penstock
