// The acceptance table of the benchmarks: what `penstock bench all` runs, what each row must reach, and
// docs/benchmarks.md as it comes of the results.
//
// A row is a command of its own (`penstock bench ...`), so that it can be run again alone, and its figures
// are compared with the limit that was measured in the same run. Pure.
#pragma once

#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <string>
#include <vector>

#include "common/base/status.h"

namespace penstock {

// What is read from a command's report.
struct ReportRow {
  std::string work;                    // in words
  std::vector<std::string> arguments;  // behind `penstock bench`
  std::vector<std::string> quick;      // the same as small as it goes
  std::string figure;                  // JSON pointer to {"min", "median", "max"}, or to a number
  double unit = 1;                     // that the figure is shown in
  std::string unit_name;
  std::string ratio;  // JSON pointer to what must reach `target`; a spread counts by its median
  double target = 0;
  bool at_most = false;
  bool pinned = true;            // the command takes --pin
  std::string target_name = "";  // how the target is written, where a bare number does not say it
  std::string beside = "";       // JSON pointer to a second figure that stands beside, with `beside_name`
  std::string beside_name = "";
};

// `job`: a job file that is trained as well (conf/jobs/fashion_mnist_mlp.toml), empty: none.
std::vector<ReportRow> AcceptanceRows(const std::string& job);

struct ReportLine {
  std::string work, command, figure, ratio, target;
  bool reached = false;
  std::string error = "";  // not empty: it could not be measured
};
// kNotFound: the report has not what the row reads.
Result<ReportLine> MakeLine(const ReportRow& row, const nlohmann::json& report);
std::string CommandOf(const std::vector<std::string>& arguments);

// docs/benchmarks.md. `machine` and `limit` are those of the first row's report.
std::string ReportMarkdown(const nlohmann::json& machine, const nlohmann::json& limit,
                           const std::vector<ReportLine>& lines, const std::string& options);

}  // namespace penstock
