// The bench's own parts: its random batches, its spread, its options, and the figures it measures of the
// machine.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cmath>
#include <map>
#include <nlohmann/json.hpp>
#include <random>
#include <set>

#include "common/base/hash.h"
#include "tools/bench/batches.h"
#include "tools/bench/dense.h"
#include "tools/bench/limit.h"
#include "tools/bench/memory.h"
#include "tools/bench/pinning.h"
#include "tools/bench/row_oracle.h"
#include "tools/bench/workload.h"
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

TEST(KeySampler, StrewsTheRanksOfAZipfDistribution) {
  constexpr uint64_t kRows = 1000;
  KeySampler sampler(kRows, 1.05, 3);
  std::map<Key, int> drawn;
  for (const Key key : sampler.Next(100'000)) {
    ASSERT_LT(key, kRows);
    ++drawn[key];
  }
  std::vector<std::pair<int, Key>> by_count;
  for (const auto& [key, n] : drawn) by_count.emplace_back(n, key);
  std::sort(by_count.rbegin(), by_count.rend());
  EXPECT_GT(by_count[0].first, 3 * by_count[5].first);
  // The first ranks are no neighbours.
  EXPECT_GT(
      std::max(by_count[0].second, by_count[1].second) - std::min(by_count[0].second, by_count[1].second),
      1u);
  const auto uniform = KeySampler(kRows, std::nullopt, 3).Next(10 * kRows);
  EXPECT_GT(std::set<Key>(uniform.begin(), uniform.end()).size(), kRows * 99 / 100);
}

TEST(RowOracle, SumsAreExactAndCancel) {
  RowOracle sgd(*RowOracle::Spec("sgd"), 4);
  ASSERT_TRUE(sgd.linear());
  ASSERT_TRUE(sgd.Prepare(7).ok());
  EXPECT_EQ(sgd.Value(7, 0), -7);
  EXPECT_EQ(sgd.Value(7, 3), -14);
  EXPECT_EQ(sgd.Value(-7, 3), 14);
  RowOracle add(*RowOracle::Spec("add"), 4);
  EXPECT_EQ(add.Value(7, 1), 14);
  EXPECT_EQ(add.Prepare(int64_t{1} << 23).code(), Code::kInvalidArgument);
  EXPECT_EQ(add.Prepare(-(int64_t{1} << 23)).code(), Code::kInvalidArgument);
}

TEST(RowOracle, FollowsTheRecurrenceOfAdagrad) {
  RowOracle oracle(*RowOracle::Spec("adagrad"), 3);
  ASSERT_FALSE(oracle.linear());
  ASSERT_TRUE(oracle.Prepare(100).ok());
  EXPECT_EQ(oracle.Value(0, 0), 0);
  double w = 0;
  for (int n = 1; n <= 100; ++n) {
    w -= 0.01 / std::sqrt(n);  // g = 1: the sum of squares is n
    EXPECT_NEAR(oracle.Value(n, 0), w, 1e-6) << n;
    EXPECT_NEAR(oracle.Value(n, 2), w, 1e-6) << n;
    EXPECT_NE(oracle.Value(n, 1), oracle.Value(n - 1, 1)) << n;
  }
}

TEST(RowOracle, RefusesWhatCouldNotBeSeen) {
  EXPECT_THAT(RowOracle::Spec("assign").status().message(), HasSubstr("--optimizer 'assign': must be sgd"));
  EXPECT_FALSE(RowOracle::Spec("sgdx").ok());
  OptimizerSpec ftrl = *RowOracle::Spec("ftrl");
  ftrl.l1 = 1000;  // the first hundreds of pushes leave the value at 0
  const Status status = RowOracle(ftrl, 1).Prepare(2);
  EXPECT_THAT(status.message(), HasSubstr("too often to tell"));
}

TEST(Workload, NamesWhatIsWrong) {
  EXPECT_TRUE(CheckWorkloadOptions({}).ok());
  EXPECT_THAT(CheckWorkloadOptions({.keys = 11, .rows = 10}).message(),
              HasSubstr("--keys 11: must be from 1 to --rows (10)"));
  EXPECT_TRUE(CheckWorkloadOptions({.keys = 11, .rows = 10, .skew = "zipf:1.05"}).ok());
  EXPECT_THAT(CheckWorkloadOptions({.optimizer = "assign"}).message(), HasSubstr("--optimizer 'assign'"));
  EXPECT_THAT(CheckWorkloadOptions({.durability = "eternal"}).message(), HasSubstr("--durability"));
  EXPECT_THAT(CheckWorkloadOptions({.inflight = 0}).message(), HasSubstr("--inflight"));
  EXPECT_THAT(CheckWorkloadOptions({.workers = 0}).message(), HasSubstr("--workers"));
  EXPECT_THAT(CheckWorkloadOptions({.repeats = 0}).message(), HasSubstr("--repeats"));
  EXPECT_EQ(CheckWorkloadOptions({.dim = 0}).code(), Code::kInvalidArgument);
  for (const char* skew : {"zipf", "zipf:", "zipf:0", "zipf:-1", "zipf:1x", "uniform"})
    EXPECT_THAT(CheckWorkloadOptions({.skew = skew}).message(), HasSubstr("must be zipf:EXPONENT")) << skew;
  EXPECT_THAT(CheckWorkloadOptions({.skew = "zipf:1.05", .optimizer = "adam"}).message(),
              HasSubstr("--skew with --optimizer 'adam': must be sgd or add"));
  EXPECT_TRUE(CheckWorkloadOptions({.work = Work::kPull, .skew = "zipf:1.05", .optimizer = "adam"}).ok());
}

TEST(Workload, PushesAreMeasuredForTwiceTheLag) {
  EXPECT_THAT(CheckWorkloadOptions({.seconds = 9, .memory_lag_ms = 5000}).message(),
              HasSubstr("at least twice server.memory_lag_ms (5000"));
  EXPECT_TRUE(CheckWorkloadOptions({.seconds = 10, .memory_lag_ms = 5000}).ok());
  EXPECT_TRUE(CheckWorkloadOptions({.work = Work::kPull, .seconds = 1}).ok());
  EXPECT_THAT(CheckDenseOptions({.work = Work::kPush, .seconds = 1}).message(), HasSubstr("at least twice"));
}

TEST(Workload, OptionsReachTheWorkersWhole) {
  const WorkloadOptions options{.work = Work::kPush,
                                .keys = 3,
                                .rows = 40,
                                .skew = "zipf:1.5",
                                .dim = 5,
                                .optimizer = "adam",
                                .inflight = 6,
                                .batches = 7,
                                .seed = 8,
                                .avoid_of_shards = 4,
                                .avoid_shard = 2};
  const auto copy = nlohmann::json(options).get<WorkloadOptions>();
  EXPECT_EQ(nlohmann::json(copy), nlohmann::json(options));
  EXPECT_EQ(MakePool(copy, 1, 1), MakePool(options, 1, 1));
  EXPECT_NE(MakePool(copy, 1, 0), MakePool(copy, 1, 1));
  EXPECT_EQ(MakePool(copy, 1, 1).size(), 7u);
  for (const auto& batch : MakePool(copy, 9, 1)) {
    for (const Key key : batch) EXPECT_NE(ShardOf(RowHash(key, 9), 4), 2u) << key;
  }
}

TEST(Workload, ResultHasWhatTheReportPromises) {
  const Limit limit{.tcp_bytes_per_second = 4e9};
  const WorkloadFigures figures{.rows_per_second = {9e6, 10e6, 11e6}, .p50_us = {1, 2, 3}, .calls = 5};
  auto json = WorkloadResult({.dim = 16}, figures, 2, limit);
  EXPECT_EQ(json["work"], "step");
  EXPECT_DOUBLE_EQ(json["payload_bytes_per_second"]["median"], 1.44e9);
  EXPECT_DOUBLE_EQ(json["ratio_to_limit"], 0.36);
  EXPECT_EQ(json["servers"], 2);
  EXPECT_EQ(json["rows_per_second"]["max"], 11e6);
  for (const char* key : {"dim", "rows", "keys", "workers", "inflight", "durability", "optimizer", "skew"})
    EXPECT_TRUE(json.contains(key)) << key;
  EXPECT_FALSE(json.contains("p50_us"));
  json = WorkloadResult({.work = Work::kPull, .inflight = 1}, figures, 1, limit);
  EXPECT_EQ(json["p50_us"]["median"], 2);
  EXPECT_DOUBLE_EQ(json["ratio_to_limit"], 0.18);
}

TEST(Dense, NamesWhatIsWrong) {
  EXPECT_TRUE(CheckDenseOptions({}).ok());
  EXPECT_THAT(CheckDenseOptions({.mib = 0}).message(), HasSubstr("--mib 0"));
  EXPECT_THAT(CheckDenseOptions({.mib = 10, .slice_mib = 4}).message(),
              HasSubstr("--slice-mib 4: must divide"));
  EXPECT_THAT(CheckDenseOptions({.dim = 1000}).message(), HasSubstr("--dim 1000"));
  EXPECT_THAT(CheckDenseOptions({.inflight = 0}).message(), HasSubstr("--inflight"));
  const DenseOptions options{.work = Work::kPush, .mib = 8, .slice_mib = 2, .dim = 64, .inflight = 3};
  EXPECT_EQ(nlohmann::json(nlohmann::json(options).get<DenseOptions>()), nlohmann::json(options));
}

TEST(Pinning, PinsAllThreadsOfAProcess) {
  const int processor = ProcessorAt(1);
  const pid_t child = ::fork();
  if (child == 0) {
    ::pause();
    ::_exit(0);
  }
  ASSERT_TRUE(PinProcess(child, processor).ok());
  cpu_set_t set;
  ASSERT_EQ(::sched_getaffinity(child, sizeof set, &set), 0);
  EXPECT_EQ(CPU_COUNT(&set), 1);
  EXPECT_TRUE(CPU_ISSET(processor, &set));
  ::kill(child, SIGKILL);
  ::waitpid(child, nullptr, 0);
  EXPECT_FALSE(PinProcess(child, processor).ok());
}

TEST(Limit, MeasuresSomethingOfEach) {
  const auto limit = MeasureLimit({.repeats = 1, .seconds = 0.01, .pin = true});
  ASSERT_TRUE(limit.ok()) << limit.status().ToString();
  EXPECT_GT(limit->tcp_bytes_per_second, 1e7);
  EXPECT_GT(limit->pingpong_us.median, 0.5);
  EXPECT_LT(limit->pingpong_us.median, 1e5);
  EXPECT_GT(limit->pingpong_spin_us.median, 0.5);
  EXPECT_GT(limit->memcpy_bytes_per_second, 1e8);
  const auto json = LimitJson(*limit);
  for (const char* key : {"tcp_bytes_per_second", "pingpong_p50_us", "pingpong_spin_p50_us",
                          "memcpy_bytes_per_second", "first_touch_bytes_per_second"})
    EXPECT_GT(json[key], 0) << key;
}

}  // namespace
}  // namespace penstock
