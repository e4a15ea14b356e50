// Means and deviations of columns: merged piece by piece they are those of the whole.
#include "data/column_moments.h"

#include <gtest/gtest.h>

#include <cmath>
#include <random>

namespace penstock {
namespace {

TEST(ColumnMoments, OfPiecesAreThoseOfTheWhole) {
  std::mt19937 random(3);
  std::normal_distribution<float> small(0, 1), far(1e6f, 10);
  constexpr size_t kRecords = 10000;
  ColumnMoments moments;
  std::vector<float> all, piece;
  for (size_t i = 0; i < kRecords; ++i) {
    for (const float value : {small(random), far(random), 0.1f}) {
      all.push_back(value);
      piece.push_back(value);
    }
    if (random() % 1000 != 0 && i + 1 < kRecords) continue;
    moments.Add(piece, 3);
    piece.clear();
  }
  const auto scales = moments.Scales("standard");
  ASSERT_EQ(scales.size(), 3u);
  for (size_t c = 0; c < 2; ++c) {
    long double sum = 0, squares = 0;
    for (size_t i = 0; i < kRecords; ++i) sum += all[i * 3 + c];
    for (size_t i = 0; i < kRecords; ++i) squares += std::pow(all[i * 3 + c] - sum / kRecords, 2);
    EXPECT_NEAR(scales[c].mean, static_cast<double>(sum / kRecords), 1e-6);
    EXPECT_NEAR(scales[c].factor * std::sqrt(static_cast<double>(squares / kRecords)), 1, 1e-9);
  }
  EXPECT_EQ(scales[2].Of(0.1f), 0) << "equal values are not blown up";
  EXPECT_EQ(scales[2].Of(1e6f), 0) << "nor is one that training has never seen";
}

TEST(ColumnMoments, GiveScalesByKind) {
  ColumnMoments moments;
  moments.Add({1, 2, 3, 4}, 2);
  EXPECT_TRUE(moments.Scales("none").empty());
  EXPECT_EQ(moments.Scales("log1p"), std::vector<NumericScale>(2, NumericScale{.logarithm = true}));
  EXPECT_EQ(moments.Scales("standard"), (std::vector<NumericScale>{{.mean = 2}, {.mean = 3}}));
}

}  // namespace
}  // namespace penstock
