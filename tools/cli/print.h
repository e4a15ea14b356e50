// Printers: one value, shown as a table for people or as JSON for programs.
#pragma once

#include <nlohmann/json_fwd.hpp>
#include <string>
#include <vector>

namespace penstock {

enum class OutputFormat { kTable, kJson };

enum class Show {
  kText,      // as it is; lists joined by spaces
  kCount,     // 1,234,567
  kBytes,     // 1.2 GiB
  kSeconds,   // 42.0 s, 3:07, 1:02:03
  kFraction,  // 0.8834
};

struct Column {
  std::string header;
  std::string key;  // a member, or "a/b" for a member of a member; what is missing or null is shown as "-"
  Show show = Show::kText;
};

// A line of headers and one for each element of the array; numbers to the right. "(none)" for an empty array.
std::string RenderTable(const nlohmann::json& rows, const std::vector<Column>& columns);
// One line "header  value" for each column; what is missing is left out.
std::string RenderFields(const nlohmann::json& value, const std::vector<Column>& columns);
std::string RenderJson(const nlohmann::json& value);

// Control characters as escapes ("\x1b"): a terminal would take what some peer has said for orders.
std::string FormatText(const std::string& text);
// The same of each line of it.
std::string FormatLines(const std::string& text);
std::string FormatCount(uint64_t count);
// With so many decimals; what is too large or too small for them as it is: "3.75e+74".
std::string FormatFraction(double value, int decimals);
std::string FormatBytes(double bytes);
std::string FormatSeconds(double seconds);
std::string FormatValue(const nlohmann::json& value, Show show);

}  // namespace penstock
