// MetricsRegistry: the exposition text, bounded labels, callbacks, and the names that are refused.
#include "common/base/metrics.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>
#include <thread>

namespace penstock {
namespace {

using testing::HasSubstr;
using testing::Not;

TEST(MetricsTest, ExposesCountersGaugesAndHistograms) {
  MetricsRegistry metrics;
  Counter& rows = metrics.AddCounter("penstock_server_push_rows_total", "Rows pushed.");
  metrics.AddGauge("penstock_server_resident_bytes", "Memory of rows.").Set(4096);
  Histogram& seconds = metrics.AddHistogram("penstock_server_push_seconds", "Time of a push.", {0.001, 0.01});
  rows.Increment();
  rows.Increment(41);
  seconds.Observe(0.0005);
  seconds.Observe(0.5);
  const std::string text = metrics.Text();
  EXPECT_THAT(
      text,
      HasSubstr("# HELP penstock_server_push_rows_total Rows pushed.\n"
                "# TYPE penstock_server_push_rows_total counter\npenstock_server_push_rows_total 42\n"));
  EXPECT_THAT(
      text, HasSubstr("# TYPE penstock_server_resident_bytes gauge\npenstock_server_resident_bytes 4096\n"));
  EXPECT_THAT(text, HasSubstr("penstock_server_push_seconds_bucket{le=\"0.001\"} 1\n"));
  EXPECT_THAT(text, HasSubstr("penstock_server_push_seconds_bucket{le=\"+Inf\"} 2\n"));
  EXPECT_THAT(text, HasSubstr("penstock_server_push_seconds_count 2\n"));
}

TEST(MetricsTest, LabelsAreBounded) {
  MetricsRegistry metrics;
  auto& family = metrics.AddCounters("penstock_server_units_total", "Units.", {"table", "result"}, 2);
  family.With({"user", "applied"}).Increment(1);
  family.With({"item", "applied"}).Increment(2);
  family.With({"third", "applied"}).Increment(3);
  family.With({"fourth", "refused"}).Increment(4);
  family.With({"user", "applied"}).Increment(10);
  const std::string text = metrics.Text();
  EXPECT_THAT(text, HasSubstr("{result=\"applied\",table=\"user\"} 11\n"));
  EXPECT_THAT(text, HasSubstr("{result=\"applied\",table=\"item\"} 2\n"));
  EXPECT_THAT(text, HasSubstr("{result=\"other\",table=\"other\"} 7\n"));
  EXPECT_THAT(text, Not(HasSubstr("third")));
}

TEST(MetricsTest, CallbacksAreReadAtExposition) {
  MetricsRegistry metrics;
  std::atomic<uint64_t> folds{1};
  metrics.AddCallback("penstock_server_folds_total", "Folds.", [&] { return static_cast<double>(folds); });
  metrics.AddCallbacks("penstock_server_log_bytes", "Log.", {"core"}, [] {
    return std::vector<MetricsRegistry::Sample>{{{"0"}, 10}, {{"1"}, 20}};
  });
  EXPECT_THAT(metrics.Text(),
              HasSubstr("# TYPE penstock_server_folds_total counter\npenstock_server_folds_total 1\n"));
  folds = 5;
  const std::string text = metrics.Text();
  EXPECT_THAT(text, HasSubstr("penstock_server_folds_total 5\n"));
  EXPECT_THAT(
      text, HasSubstr("# TYPE penstock_server_log_bytes gauge\npenstock_server_log_bytes{core=\"0\"} 10\n"));
  EXPECT_THAT(text, HasSubstr("penstock_server_log_bytes{core=\"1\"} 20\n"));
}

TEST(MetricsTest, ThreadsCountTogether) {
  MetricsRegistry metrics;
  auto& family = metrics.AddCounters("penstock_client_calls_total", "Calls.", {"method"});
  std::vector<std::thread> threads;
  for (int t = 0; t < 4; ++t) {
    threads.emplace_back([&family, t] {
      for (int i = 0; i < 1000; ++i) family.With({t % 2 == 0 ? "push" : "pull"}).Increment();
    });
  }
  metrics.Text();
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(family.With({"push"}).Value(), 2000);
  EXPECT_EQ(family.With({"pull"}).Value(), 2000);
}

TEST(MetricsDeathTest, BadNamesAreDefects) {
  MetricsRegistry metrics;
  metrics.AddCounter("penstock_a_b_total", "");
  EXPECT_DEATH(metrics.AddCounter("penstock_a_b_total", ""), "declared twice");
  EXPECT_DEATH(metrics.AddCounter("penstock_a_b_rows", ""), "end in _total");
  EXPECT_DEATH(metrics.AddGauge("penstock_a_b_c_total", ""), "end in _total");
  EXPECT_DEATH(metrics.AddGauge("server_resident_bytes", ""), "must be penstock_");
  EXPECT_DEATH(metrics.AddGauge("penstock_Server_bytes", ""), "must be penstock_");
  EXPECT_DEATH(metrics.AddGauge("penstock_bytes", ""), "must be penstock_");
  EXPECT_DEATH(metrics.AddCounters("penstock_a_c_total", "", {"x"}).With({}), "one value for each label");
}

TEST(MetricsTest, ExponentialBounds) {
  EXPECT_EQ(ExponentialBounds(0.5, 2, 4), (std::vector<double>{0.5, 1, 2, 4}));
}

}  // namespace
}  // namespace penstock
