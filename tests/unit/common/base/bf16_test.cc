// Every bf16 value, every kind of rounding and every special value, one by one and over arrays.
#include "common/base/bf16.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <random>
#include <vector>

namespace penstock {
namespace {

float Float(uint32_t bits) { return std::bit_cast<float>(bits); }

TEST(Bf16, EveryValueGoesThereAndBack) {
  for (uint32_t bits = 0; bits < 0x10000; ++bits) {
    const uint16_t value = static_cast<uint16_t>(bits);
    const float wide = FromBf16(value);
    EXPECT_EQ(std::bit_cast<uint32_t>(wide), bits << 16);
    const bool nan = (bits & 0x7f80) == 0x7f80 && (bits & 0x7f) != 0;
    EXPECT_EQ(ToBf16(wide), nan ? (bits | 0x40) : bits) << std::hex << bits;
  }
}

TEST(Bf16, RoundsToNearestAndTiesToEven) {
  EXPECT_EQ(ToBf16(1.0f), 0x3f80);
  EXPECT_EQ(ToBf16(Float(0x3f807fff)), 0x3f80);  // below the middle
  EXPECT_EQ(ToBf16(Float(0x3f808000)), 0x3f80);  // the middle, down to even
  EXPECT_EQ(ToBf16(Float(0x3f808001)), 0x3f81);
  EXPECT_EQ(ToBf16(Float(0x3f817fff)), 0x3f81);
  EXPECT_EQ(ToBf16(Float(0x3f818000)), 0x3f82);  // the middle, up to even
  EXPECT_EQ(ToBf16(Float(0xbf818000)), 0xbf82);
  EXPECT_EQ(ToBf16(Float(0x3fffffff)), 0x4000);  // into the next exponent
}

TEST(Bf16, SpecialValues) {
  constexpr float kInfinity = std::numeric_limits<float>::infinity();
  EXPECT_EQ(ToBf16(0.0f), 0x0000);
  EXPECT_EQ(ToBf16(-0.0f), 0x8000);
  EXPECT_EQ(ToBf16(kInfinity), 0x7f80);
  EXPECT_EQ(ToBf16(-kInfinity), 0xff80);
  // The largest float is nearer to the infinity that follows than to the largest bf16.
  EXPECT_EQ(ToBf16(std::numeric_limits<float>::max()), 0x7f80);
  EXPECT_EQ(ToBf16(std::numeric_limits<float>::lowest()), 0xff80);
  EXPECT_EQ(ToBf16(Float(0x7f7f7fff)), 0x7f7f);
  EXPECT_EQ(ToBf16(Float(0x7f7f8000)), 0x7f80);
  // Subnormal floats.
  EXPECT_EQ(ToBf16(std::numeric_limits<float>::denorm_min()), 0x0000);
  EXPECT_EQ(ToBf16(Float(0x00008000)), 0x0000);
  EXPECT_EQ(ToBf16(Float(0x00008001)), 0x0001);
  EXPECT_EQ(ToBf16(Float(0x80018000)), 0x8002);
  EXPECT_EQ(ToBf16(Float(0x007fffff)), 0x0080);
}

TEST(Bf16, NanStaysNan) {
  // Those whose payload lies in the lower half alone, and those that rounding would carry into the sign.
  for (const uint32_t bits : {0x7fc00000u, 0x7f800001u, 0x7f807fffu, 0x7f80ffffu, 0x7fffffffu, 0xffc00000u,
                              0xff800001u, 0xffffffffu}) {
    const uint16_t value = ToBf16(Float(bits));
    EXPECT_TRUE(std::isnan(FromBf16(value))) << std::hex << bits;
    EXPECT_EQ(value >> 15, bits >> 31) << std::hex << bits;
  }
}

TEST(Bf16, NoOtherBf16IsNearer) {
  std::mt19937 random(1);
  for (int i = 0; i < 100'000; ++i) {
    const float value = Float(random());
    const uint16_t bits = ToBf16(value);
    if (!std::isfinite(value) || !std::isfinite(FromBf16(bits))) continue;
    const double distance = std::fabs(double{FromBf16(bits)} - value);
    for (const int step : {-1, 1}) {
      const float other = FromBf16(static_cast<uint16_t>(bits + step));
      if (std::isfinite(other)) {
        EXPECT_LE(distance, std::fabs(double{other} - value));
      }
    }
  }
}

TEST(Bf16, ArraysOfAllLengthsAreConvertedLikeSingleValues) {
  std::mt19937 random(2);
  for (size_t count = 0; count < 200; ++count) {
    std::vector<float> values(count);
    for (float& value : values) value = Float(random());
    if (count > 3) values[3] = Float(0x7f800001);
    std::vector<uint16_t> narrow(count + 1, 0x1234);
    ToBf16(values, narrow.data());
    for (size_t i = 0; i < count; ++i) ASSERT_EQ(narrow[i], ToBf16(values[i])) << i << " of " << count;
    EXPECT_EQ(narrow[count], 0x1234);

    narrow.resize(count);
    std::vector<float> wide(count + 1, 7);
    FromBf16(narrow, wide.data());
    for (size_t i = 0; i < count; ++i)
      ASSERT_EQ(std::bit_cast<uint32_t>(wide[i]), uint32_t{narrow[i]} << 16) << i << " of " << count;
    EXPECT_EQ(wide[count], 7);
  }
}

}  // namespace
}  // namespace penstock
