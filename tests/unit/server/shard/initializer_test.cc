// Initial values: the generator's published answers, golden values, statistics, and independence of what is
// asked for.
#include "server/shard/initializer.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <numeric>
#include <set>
#include <vector>

namespace penstock {
namespace {

using ::testing::ElementsAre;

std::vector<float> Row(const InitializerSpec& spec, uint64_t seed, TableId table, Key key, uint32_t dim) {
  std::vector<float> values(dim, -99);
  InitializeRow(spec, seed, table, key, dim, values.data());
  return values;
}

InitializerSpec Uniform(float low, float high) {
  return {.kind = InitializerKind::kUniform, .low = low, .high = high};
}

InitializerSpec Normal(float mean, float stddev) {
  return {.kind = InitializerKind::kNormal, .mean = mean, .stddev = stddev};
}

InitializerSpec TruncatedNormal(float mean, float stddev) {
  return {.kind = InitializerKind::kTruncatedNormal, .mean = mean, .stddev = stddev};
}

// The known answers that the authors of Philox distribute with it.
TEST(InitializerTest, PhiloxGivesItsKnownAnswers) {
  EXPECT_THAT(Philox4x32({0, 0, 0, 0}, {0, 0}),
              ElementsAre(0x6627e8d5u, 0xe169c58du, 0xbc57ac4cu, 0x9b00dbd8u));
  EXPECT_THAT(Philox4x32({~0u, ~0u, ~0u, ~0u}, {~0u, ~0u}),
              ElementsAre(0x408f276du, 0x41c83b0eu, 0xa20bc7c6u, 0x6d5451fdu));
  EXPECT_THAT(Philox4x32({0x243f6a88u, 0x85a308d3u, 0x13198a2eu, 0x03707344u}, {0xa4093822u, 0x299f31d0u}),
              ElementsAre(0xd16cfe09u, 0x94fdccebu, 0x5001e420u, 0x24126ea1u));
}

TEST(InitializerTest, ZerosAndConstant) {
  EXPECT_THAT(Row({}, 1, 2, 3, 3), ElementsAre(0, 0, 0));
  EXPECT_THAT(Row({.kind = InitializerKind::kConstant, .value = 2.5f}, 1, 2, 3, 2), ElementsAre(2.5f, 2.5f));
}

TEST(InitializerTest, UniformFollowsFromTheGeneratorsWords) {
  const auto words = Philox4x32({0x55667788u, 0x11223344u, 9, 0}, {0xdeadbeefu, 0x01020304u});
  const auto row = Row(Uniform(-1, 3), 0x01020304deadbeefULL, 9, 0x1122334455667788ULL, 4);
  for (int i = 0; i < 4; ++i) EXPECT_EQ(row[i], static_cast<float>(-1 + 4 * (words[i] / 4294967296.0)));
}

// These bits must never change: they are part of every table that was ever made.
TEST(InitializerTest, NormalHasItsGoldenValues) {
  const auto row = Row(Normal(0, 1), 42, 1, 7, 6);
  const auto wide = Row(Normal(1, 0.5f), 42, 1, 7, 6);
  for (int i = 0; i < 6; ++i) {
    const auto words = Philox4x32({7, 0, 1, static_cast<uint32_t>(i / 4)}, {42, 0});
    const int pair = i % 4 / 2 * 2;
    const double radius = std::sqrt(-2 * std::log((words[pair] + 1.0) / 4294967296.0));
    const double angle = 2 * M_PI * (words[pair + 1] / 4294967296.0);
    const double deviate = radius * (i % 2 == 0 ? std::cos(angle) : std::sin(angle));
    EXPECT_NEAR(row[i], deviate, 1e-7 * std::max(1.0, std::fabs(deviate))) << i;
    EXPECT_NEAR(wide[i], 1 + 0.5 * deviate, 1e-6) << i;
  }
  EXPECT_THAT(row, ElementsAre(-0x1.5d3868p-1f, 0x1.659a58p+0f, -0x1.bf3182p-1f, -0x1.f27ce6p+0f,
                               0x1.0e3926p-2f, 0x1.0721c8p+0f));
}

TEST(InitializerTest, NormalIsFiniteAndSmoothAtTheEndsOfItsRange) {
  for (Key key = 0; key < 200'000; ++key) {
    for (const float value : Row(Normal(0, 1), 3, 1, key, 4))
      ASSERT_TRUE(std::isfinite(value) && std::fabs(value) < 7) << key;
  }
}

TEST(InitializerTest, AnElementDoesNotDependOnTheRowsLength) {
  for (const auto& spec : {Uniform(0, 1), Normal(0, 1), TruncatedNormal(0, 1)}) {
    const auto longest = Row(spec, 5, 6, 7, 33);
    for (uint32_t dim = 1; dim < 33; ++dim) {
      const auto row = Row(spec, 5, 6, 7, dim);
      EXPECT_TRUE(std::equal(row.begin(), row.end(), longest.begin())) << dim;
    }
  }
}

TEST(InitializerTest, SeedTableAndKeyEachMatter) {
  std::set<float> firsts;
  for (uint64_t seed : {uint64_t{1}, uint64_t{2}, uint64_t{1} << 32}) {
    for (TableId table : {1u, 2u}) {
      for (Key key : {Key{1}, Key{2}, Key{1} << 32, Key{1} << 63})
        firsts.insert(Row(Normal(0, 1), seed, table, key, 1)[0]);
    }
  }
  EXPECT_EQ(firsts.size(), 3u * 2 * 4);
}

struct Moments {
  double mean, variance, kurtosis;
};

Moments Measure(const InitializerSpec& spec) {
  std::vector<double> all;
  for (Key key = 0; key < 50'000; ++key) {
    for (const float value : Row(spec, 77, 3, key, 8)) all.push_back(value);
  }
  const double mean = std::accumulate(all.begin(), all.end(), 0.0) / all.size();
  double second = 0, fourth = 0;
  for (const double x : all) {
    const double square = (x - mean) * (x - mean);
    second += square;
    fourth += square * square;
  }
  second /= all.size();
  return {mean, second, fourth / all.size() / (second * second)};
}

TEST(InitializerTest, MomentsAreThoseOfTheDistribution) {
  const Moments uniform = Measure(Uniform(-2, 4));
  EXPECT_NEAR(uniform.mean, 1, 0.015);
  EXPECT_NEAR(uniform.variance, 3, 0.03);
  EXPECT_NEAR(uniform.kurtosis, 1.8, 0.03);
  const Moments normal = Measure(Normal(0.5f, 2));
  EXPECT_NEAR(normal.mean, 0.5, 0.02);
  EXPECT_NEAR(normal.variance, 4, 0.05);
  EXPECT_NEAR(normal.kurtosis, 3, 0.06);
  const Moments truncated = Measure(TruncatedNormal(0.5f, 2));
  EXPECT_NEAR(truncated.mean, 0.5, 0.015);
  EXPECT_NEAR(truncated.variance, 4 * 0.7737413, 0.03);
}

TEST(InitializerTest, XavierIsUniformWithinGlorotsBound) {
  const InitializerSpec xavier{.kind = InitializerKind::kXavier, .fan_in = 784, .fan_out = 128};
  const auto bound = static_cast<float>(std::sqrt(6.0 / (784 + 128)));
  for (Key key = 0; key < 100; ++key)
    EXPECT_EQ(Row(xavier, 1, 2, key, 9), Row(Uniform(-bound, bound), 1, 2, key, 9));
}

// These bits must never change: they are part of every table that was ever made.
TEST(InitializerTest, TruncatedNormalsAreNormalsThatAreDrawnAgain) {
  int drawn_again = 0;
  for (Key key = 0; key < 20'000; ++key) {
    const auto row = Row(TruncatedNormal(1, 0.5f), 42, 1, key, 8);
    const auto normal = Row(Normal(1, 0.5f), 42, 1, key, 8);
    for (int i = 0; i < 8; ++i) {
      ASSERT_LE(std::fabs(row[i] - 1), 1.0f);
      if (std::fabs(normal[i] - 1) < 1) {
        ASSERT_EQ(row[i], normal[i]);
      } else {
        ++drawn_again;
      }
    }
  }
  EXPECT_NEAR(drawn_again / 160'000.0, 0.0455, 0.002);
}

TEST(InitializerTest, UniformStaysBelowItsUpperEnd) {
  // A range of a single step of the float: every draw must be the lower end.
  const float low = 1, high = std::nextafter(1.0f, 2.0f);
  for (Key key = 0; key < 2000; ++key) {
    for (const float value : Row(Uniform(low, high), 1, 1, key, 4)) ASSERT_EQ(value, low);
  }
  EXPECT_THAT(Row(Uniform(3, 3), 1, 1, 1, 2), ElementsAre(3, 3));
}

}  // namespace
}  // namespace penstock
