#include "tools/cli/bench_text.h"

#include <cstdio>
#include <nlohmann/json.hpp>

#include "common/base/strings.h"
#include "tools/cli/print.h"

namespace penstock {
namespace {

std::string Fixed(double value, int digits = 2) {
  char text[64];
  std::snprintf(text, sizeof text, "%.*f", digits, value);
  return text;
}

std::string Rate(const nlohmann::json& bytes) { return FormatBytes(bytes.get<double>()) + "/s"; }

std::string Spread(const nlohmann::json& s, double unit, const std::string& name) {
  return StrCat(Fixed(s["median"].get<double>() / unit), " ", name, " (",
                Fixed(s["min"].get<double>() / unit), " .. ", Fixed(s["max"].get<double>() / unit), ")");
}

std::string LimitText(const nlohmann::json& limit) {
  return StrCat("TCP on loopback    ", Rate(limit["tcp_bytes_per_second"]), " (",
                Rate(limit["tcp_bytes_per_second_min"]), " .. ", Rate(limit["tcp_bytes_per_second_max"]),
                ") with ", FormatBytes(limit["tcp_buffer_bytes"].get<double>()), " buffers\n",
                "64-byte ping-pong  ", Fixed(limit["pingpong_p50_us"].get<double>(), 1), " us, spinning ",
                Fixed(limit["pingpong_spin_p50_us"].get<double>(), 1), " us\n", "memcpy             ",
                Rate(limit["memcpy_bytes_per_second"]), "\n");
}

// What the figure is of: every member that is a setting, by name, and then the figures that are there.
struct Figure {
  const char* key;
  const char* label;
  double unit;
  const char* name;
};
constexpr Figure kFigures[] = {
    {"rows_per_second", "rows", 1e6, "M rows/s"},
    {"payload_bytes_per_second", "payload", 1e9, "GB/s"},
    {"p50_us", "p50", 1, "us"},
    {"p99_us", "p99", 1, "us"},
    {"p999_us", "p99.9", 1, "us"},
    {"random_rows_per_second", "random", 1e3, "k rows/s"},
    {"zipf_rows_per_second", "Zipf", 1e3, "k rows/s"},
};
struct Number {
  const char* key;
  const char* label;
  Show show;
};
constexpr Number kNumbers[] = {
    {"load_rows_per_second", "load, rows/s", Show::kCount},
    {"read_rows_per_second", "read, rows/s", Show::kCount},
    {"peak_resident_bytes", "resident at most", Show::kBytes},
};
constexpr const char* kRatios[] = {"ratio_to_limit", "ratio_to_pingpong"};

bool IsFigure(const std::string& key) {
  for (const Figure& figure : kFigures) {
    if (key == figure.key) return true;
  }
  for (const Number& number : kNumbers) {
    if (key == number.key) return true;
  }
  for (const char* ratio : kRatios) {
    if (key == ratio) return true;
  }
  return key == "work";
}

std::string Line(const std::string& label, const std::string& text) {
  return "  " + label + std::string(label.size() < 20 ? 20 - label.size() : 1, ' ') + text + "\n";
}

std::string ResultText(const nlohmann::json& result) {
  std::string settings;
  for (const auto& [key, value] : result.items()) {
    if (IsFigure(key)) continue;
    StrAppend(&settings, settings.empty() ? "" : ", ", key, " ",
              value.is_string() ? value.get<std::string>() : value.dump());
  }
  std::string text = StrCat(result["work"].get<std::string>(), ": ", settings, "\n");
  for (const Figure& figure : kFigures) {
    if (result.contains(figure.key))
      text += Line(figure.label, Spread(result[figure.key], figure.unit, figure.name));
  }
  for (const Number& number : kNumbers) {
    if (result.contains(number.key)) text += Line(number.label, FormatValue(result[number.key], number.show));
  }
  for (const char* ratio : kRatios) {
    if (result.contains(ratio)) text += Line(ratio, Fixed(result[ratio].get<double>(), 3));
  }
  return text;
}

}  // namespace

std::string BenchText(const nlohmann::json& report) {
  std::string text = LimitText(report["limit"]);
  for (const auto& result : report["results"]) text += ResultText(result);
  return text;
}

}  // namespace penstock
