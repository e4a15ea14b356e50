// The bench's own parts: its random batches, its spread, its options, and the figures it measures of the
// machine.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <cmath>
#include <nlohmann/json.hpp>
#include <random>
#include <set>

#include "tools/bench/limit.h"
#include "tools/bench/memory.h"
#include "tools/bench/step.h"
#include "tools/bench/zipf.h"

namespace penstock {
namespace {

using testing::HasSubstr;

TEST(Spread, MedianOfOddAndEven) {
  const Spread odd = Spread::Of({3, 1, 2});
  EXPECT_EQ(odd.min, 1);
  EXPECT_EQ(odd.median, 2);
  EXPECT_EQ(odd.max, 3);
  EXPECT_EQ(Spread::Of({4, 1, 2, 3}).median, 2.5);
  EXPECT_EQ(Spread::Of({7}).median, 7);
  EXPECT_EQ(odd.Times(2).max, 6);
}

TEST(BatchMaker, KeysAreDistinctAndBelowRows) {
  BatchMaker maker(1000, 1);
  for (int i = 0; i < 20; ++i) {
    const auto batch = maker.Next(300);
    const std::set<Key> distinct(batch.begin(), batch.end());
    EXPECT_EQ(distinct.size(), 300u);
    EXPECT_LT(*distinct.rbegin(), 1000u);
  }
  const auto all = maker.Next(1000);
  EXPECT_EQ(std::set<Key>(all.begin(), all.end()).size(), 1000u);
}

TEST(BatchMaker, EveryRowIsDrawnAboutEquallyOften) {
  constexpr int kBatches = 2000;
  BatchMaker maker(100, 7);
  std::vector<int> drawn(100, 0);
  for (int i = 0; i < kBatches; ++i) {
    for (const Key key : maker.Next(10)) ++drawn[key];
  }
  // Expected 200 each, standard deviation about 13; six of them is beyond chance for a fixed seed.
  for (const int n : drawn) EXPECT_NEAR(n, 200, 80);
}

TEST(BatchMaker, IsAFunctionOfItsSeed) {
  EXPECT_EQ(BatchMaker(1000, 5).Next(10), BatchMaker(1000, 5).Next(10));
  EXPECT_NE(BatchMaker(1000, 5).Next(10), BatchMaker(1000, 6).Next(10));
}

TEST(ZipfSampler, RanksComeAsOftenAsTheirWeights) {
  for (const double exponent : {0.5, 1.0, 1.05, 2.0}) {
    SCOPED_TRACE(exponent);
    constexpr uint64_t kRanks = 1000;
    constexpr int kDraws = 400'000;
    const ZipfSampler zipf(kRanks, exponent);
    std::mt19937_64 random(3);
    std::uniform_real_distribution<double> uniform(0, 1);
    std::vector<int> drawn(kRanks + 1, 0);
    for (int i = 0; i < kDraws; ++i) {
      const uint64_t rank = zipf.Draw([&] { return uniform(random); });
      ASSERT_GE(rank, 1u);
      ASSERT_LE(rank, kRanks);
      ++drawn[rank];
    }
    double total = 0;
    for (uint64_t k = 1; k <= kRanks; ++k) total += std::pow(k, -exponent);
    for (const uint64_t k : {1, 2, 3, 10, 100, 1000}) {
      const double expected = kDraws * std::pow(k, -exponent) / total;
      EXPECT_NEAR(drawn[k], expected, 6 * std::sqrt(expected) + 3) << "rank " << k;
    }
  }
}

TEST(MemoryOptions, NamesWhatIsWrong) {
  EXPECT_TRUE(CheckMemoryOptions({}).ok());
  EXPECT_THAT(CheckMemoryOptions({.rows = 0}).message(), HasSubstr("--rows 0"));
  EXPECT_THAT(CheckMemoryOptions({.zipf = 0}).message(), HasSubstr("--zipf 0.000000: must be above 0"));
  EXPECT_THAT(CheckMemoryOptions({.durability = "eternal"}).message(), HasSubstr("--durability"));
  EXPECT_THAT(CheckMemoryOptions({.inflight = 0}).message(), HasSubstr("--inflight"));
}

TEST(PeakResidentBytes, IsThatOfTheProcess) {
  const auto before = PeakResidentBytes(static_cast<int>(getpid()));
  ASSERT_TRUE(before.ok()) << before.status().ToString();
  const std::vector<char> touched(64 << 20, 'x');
  EXPECT_GE(*PeakResidentBytes(static_cast<int>(getpid())), touched.size());
  EXPECT_EQ(PeakResidentBytes(0).status().code(), Code::kNotFound);
}

TEST(StepOptions, NamesWhatIsWrong) {
  EXPECT_TRUE(CheckStepOptions({}).ok());
  EXPECT_THAT(CheckStepOptions({.keys = 11, .rows = 10}).message(),
              HasSubstr("--keys 11: must be from 1 to --rows (10)"));
  EXPECT_THAT(CheckStepOptions({.optimizer = "adam"}).message(), HasSubstr("--optimizer 'adam'"));
  EXPECT_THAT(CheckStepOptions({.durability = "eternal"}).message(), HasSubstr("--durability"));
  EXPECT_THAT(CheckStepOptions({.inflight = 0}).message(), HasSubstr("--inflight"));
  EXPECT_THAT(CheckStepOptions({.repeats = 0}).message(), HasSubstr("--repeats"));
  EXPECT_EQ(CheckStepOptions({.dim = 0}).code(), Code::kInvalidArgument);
}

TEST(StepJson, HasTheRatioToTheLimit) {
  const StepOptions options{.dim = 16};
  const StepFigures figures{.rows_per_second = {9e6, 10e6, 11e6}, .payload_bytes_per_row = 144, .steps = 5};
  const auto json = StepJson(options, figures, 2, 4e9);
  EXPECT_DOUBLE_EQ(json["payload_bytes_per_second"]["median"], 1.44e9);
  EXPECT_DOUBLE_EQ(json["ratio_to_limit"], 0.36);
  EXPECT_EQ(json["servers"], 2);
}

TEST(Limit, MeasuresSomethingOfEach) {
  const auto limit = MeasureLimit({.repeats = 1, .seconds = 0.01});
  ASSERT_TRUE(limit.ok()) << limit.status().ToString();
  EXPECT_GT(limit->tcp_bytes_per_second, 1e7);
  EXPECT_GT(limit->pingpong_us.median, 0.5);
  EXPECT_LT(limit->pingpong_us.median, 1e5);
  EXPECT_GT(limit->memcpy_bytes_per_second, 1e8);
  EXPECT_TRUE(LimitJson(*limit).contains("pingpong_p50_us"));
}

}  // namespace
}  // namespace penstock
