#include "tools/cli/bench_text.h"

#include <cstdio>
#include <nlohmann/json.hpp>

#include "common/base/strings.h"
#include "tools/cli/print.h"

namespace penstock {
namespace {

constexpr size_t kLabelWidth = 28;

std::string Fixed(double value, int digits) {
  char text[64];
  std::snprintf(text, sizeof text, "%.*f", digits, value);
  return text;
}

// By the unit at the end of its name.
std::string Number(const std::string& name, double value) {
  if (name.ends_with("bytes_per_second")) return FormatBytes(value) + "/s";
  if (name.ends_with("bytes")) return FormatBytes(value);
  if (name.ends_with("_per_second")) return FormatCount(static_cast<uint64_t>(value)) + "/s";
  if (name.ends_with("_us")) return Fixed(value, 1) + " us";
  if (name.ends_with("_ms")) return Fixed(value, 1) + " ms";
  return Fixed(value, 3);
}

bool IsSpread(const nlohmann::json& value) { return value.is_object() && value.contains("median"); }

// What was measured; all else says how.
bool IsFigure(const std::string& name, const nlohmann::json& value) {
  if (IsSpread(value)) return true;
  return value.is_number() &&
         (name.ends_with("_per_second") || name.ends_with("_share") || name.starts_with("pause") ||
          name.starts_with("ratio") || name.ends_with("resident_bytes"));
}

std::string FigureText(const std::string& name, const nlohmann::json& value) {
  if (!IsSpread(value)) return Number(name, value.get<double>());
  return StrCat(Number(name, value["median"].get<double>()), " (", Number(name, value["min"].get<double>()),
                " .. ", Number(name, value["max"].get<double>()), ")");
}

std::string Line(const std::string& label, const std::string& text) {
  return label + std::string(label.size() < kLabelWidth ? kLabelWidth - label.size() : 1, ' ') + text + "\n";
}

std::string LimitText(const nlohmann::json& limit) {
  const auto number = [&](const std::string& name, const char* part = "") {
    return Number(name, limit[name + part].get<double>());
  };
  return Line("TCP on loopback",
              StrCat(number("tcp_bytes_per_second"), " (", number("tcp_bytes_per_second", "_min"), " .. ",
                     number("tcp_bytes_per_second", "_max"), ") with ", number("tcp_buffer_bytes"),
                     " buffers")) +
         Line("64-byte ping-pong",
              StrCat(number("pingpong_p50_us"), ", spinning ", number("pingpong_spin_p50_us"))) +
         Line("memcpy", number("memcpy_bytes_per_second")) +
         Line("first touch of pages", number("first_touch_bytes_per_second"));
}

std::string ResultText(const nlohmann::json& result) {
  std::string settings, figures;
  for (const auto& [name, value] : result.items()) {
    if (name == "work") continue;
    if (IsFigure(name, value)) {
      figures += Line("  " + name, FigureText(name, value));
    } else {
      StrAppend(&settings, settings.empty() ? "" : ", ", name, " ",
                value.is_string() ? value.get<std::string>() : value.dump());
    }
  }
  return StrCat(result["work"].get<std::string>(), ": ", settings, "\n", figures);
}

}  // namespace

std::string BenchText(const nlohmann::json& report) {
  std::string text = LimitText(report["limit"]);
  for (const auto& result : report["results"]) text += ResultText(result);
  return text;
}

}  // namespace penstock
