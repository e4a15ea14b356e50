// The acceptance table: its rows read what the commands' reports have, and the page says what was reached.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "tools/bench/report.h"
#include "tools/cli/arguments.h"
#include "tools/cli/bench_text.h"

namespace penstock {
namespace {

using testing::HasSubstr;
using testing::Not;

nlohmann::json SpreadOf(double median) {
  return {{"min", median / 2}, {"median", median}, {"max", median * 2}};
}

const ReportRow kStep{.work = "step",
                      .arguments = {"step", "--dim", "16"},
                      .quick = {},
                      .figure = "/results/0/rows_per_second",
                      .unit = 1e6,
                      .unit_name = "M rows/s",
                      .ratio = "/results/0/ratio_to_limit",
                      .target = 0.36,
                      .beside = "/results/1/rows_per_second",
                      .beside_name = "off"};

TEST(BenchReport, LineHasFigureRatioAndVerdict) {
  nlohmann::json report = {{"results", {{{"rows_per_second", SpreadOf(10e6)}, {"ratio_to_limit", 0.36}}}}};
  auto line = MakeLine(kStep, report);
  ASSERT_TRUE(line.ok()) << line.status().ToString();
  EXPECT_EQ(line->command, "penstock bench step --dim 16");
  EXPECT_EQ(line->figure, "5.00 / 10.0 / 20.0 M rows/s");
  EXPECT_EQ(line->ratio, "0.360");
  EXPECT_EQ(line->target, "0.36");
  EXPECT_TRUE(line->reached);
  report["results"][0]["ratio_to_limit"] = 0.3599;
  report["results"].push_back({{"rows_per_second", SpreadOf(12e6)}});
  line = MakeLine(kStep, report);
  EXPECT_FALSE(line->reached);
  EXPECT_EQ(line->figure, "5.00 / 10.0 / 20.0 M rows/s; 12.0 off");
}

TEST(BenchReport, AtMostTurnsTheComparison) {
  ReportRow row = kStep;
  row.at_most = true;
  row.target = 1.6;
  const auto line = [&](double ratio) {
    return *MakeLine(
        row, {{"results", {{{"rows_per_second", SpreadOf(1)}, {"ratio_to_limit", SpreadOf(ratio)}}}}});
  };
  EXPECT_TRUE(line(1.6).reached);
  EXPECT_FALSE(line(1.7).reached);
  EXPECT_EQ(line(1.6).target, "at most 1.60");
}

TEST(BenchReport, WhatAReportLacksIsNamed) {
  const auto line = MakeLine(kStep, {{"results", nlohmann::json::array()}});
  EXPECT_EQ(line.status().code(), Code::kNotFound);
  EXPECT_THAT(line.status().message(), HasSubstr("/results/0/rows_per_second"));
}

TEST(BenchReport, PageHasALineForEachRow) {
  const nlohmann::json machine = {
      {"processor", "Some CPU"}, {"cpus", 2}, {"memory_bytes", 8e9}, {"kernel", "Linux 6"}};
  const nlohmann::json limit = {{"tcp_bytes_per_second", 4.2e9},
                                {"pingpong_p50_us", 77},
                                {"pingpong_spin_p50_us", 6},
                                {"memcpy_bytes_per_second", 1e10}};
  const std::string page = ReportMarkdown(
      machine, limit,
      {{.work = "a", .command = "c", .figure = "1", .ratio = "0.5", .target = "0.4", .reached = true},
       {.work = "b", .command = "d", .figure = "2", .ratio = "0.5", .target = "0.6"},
       {.work = "e", .command = "f", .figure = "", .ratio = "", .target = "", .error = "it broke"}},
      " --pin");
  EXPECT_THAT(page, HasSubstr("penstock bench all --pin --report docs/benchmarks.md"));
  EXPECT_THAT(page, HasSubstr("Some CPU, 2 processors, 8.00 GB"));
  EXPECT_THAT(page, HasSubstr("| a | `c` | 1 | 0.5 | 0.4 | yes |\n"));
  EXPECT_THAT(page, HasSubstr("| b | `d` | 2 | 0.5 | 0.6 | no |\n"));
  EXPECT_THAT(page, HasSubstr("| e | `f` | not measured: it broke |  |  | - |\n"));
}

TEST(BenchReport, EveryRowIsACommandThatIsUnderstood) {
  const auto rows = AcceptanceRows("some_job.toml");
  EXPECT_GE(rows.size(), 19u);
  EXPECT_EQ(AcceptanceRows("").size() + 1, rows.size());
  for (const ReportRow& row : rows) {
    for (const auto& words : {row.arguments, row.quick}) {
      std::vector<const char*> argv = {"penstock", "bench"};
      for (const auto& word : words) argv.push_back(word.c_str());
      if (row.pinned) argv.push_back("--pin");
      Arguments arguments;
      std::ostringstream out, err;
      const auto code = ParseArguments(static_cast<int>(argv.size()), argv.data(), &arguments, out, err);
      EXPECT_EQ(code, std::nullopt) << CommandOf(words) << ": " << err.str();
      EXPECT_EQ(arguments.command, "bench " + words[0]);
    }
    EXPECT_GT(row.target, 0) << row.work;
  }
}

TEST(BenchText, TellsFiguresFromSettings) {
  const nlohmann::json report = {{"limit",
                                  {{"tcp_bytes_per_second", 2.0 * (1 << 30)},
                                   {"tcp_bytes_per_second_min", 1.0 * (1 << 30)},
                                   {"tcp_bytes_per_second_max", 3.0 * (1 << 30)},
                                   {"tcp_buffer_bytes", 65536},
                                   {"pingpong_p50_us", 77.0},
                                   {"pingpong_spin_p50_us", 6.0},
                                   {"memcpy_bytes_per_second", 9.0 * (1 << 30)},
                                   {"first_touch_bytes_per_second", 2.0 * (1 << 30)}}},
                                 {"results",
                                  {{{"work", "step"},
                                    {"dim", 16},
                                    {"skew", "none"},
                                    {"rows_per_second", SpreadOf(2e6)},
                                    {"ratio_to_limit", 0.36}}}}};
  const std::string text = BenchText(report);
  EXPECT_THAT(text, HasSubstr("2.0 GiB/s (1.0 GiB/s .. 3.0 GiB/s) with 64.0 KiB buffers"));
  EXPECT_THAT(text, HasSubstr("77.0 us, spinning 6.0 us"));
  EXPECT_THAT(text, HasSubstr("step: dim 16, skew none\n"));
  EXPECT_THAT(text, HasSubstr("2,000,000/s (1,000,000/s .. 4,000,000/s)"));
  EXPECT_THAT(text, HasSubstr("0.360\n"));
  EXPECT_THAT(text, Not(HasSubstr("ratio_to_limit 0.36,")));
}

}  // namespace
}  // namespace penstock
