// How many lines strangers can have written.
#include "common/base/line_limiter.h"

#include <gtest/gtest.h>

namespace penstock {
namespace {

TEST(LineLimiter, WritesSomeInAWhileAndSaysHowManyItLeftOut) {
  LineLimiter lines(2, 1000);
  EXPECT_EQ(lines.Admit(5000), "");
  EXPECT_EQ(lines.Admit(5000), "");
  for (int i = 0; i < 300; ++i) EXPECT_EQ(lines.Admit(5000 + i), std::nullopt);
  EXPECT_EQ(lines.Admit(6000), " (and 300 more lines like it before)");
  EXPECT_EQ(lines.Admit(6001), "");
  EXPECT_EQ(lines.Admit(6002), std::nullopt);
}

TEST(LineLimiter, BeginsAnywhereInTime) {
  LineLimiter lines(1, 1000);
  EXPECT_EQ(lines.Admit(0), "");
  EXPECT_EQ(lines.Admit(999), std::nullopt);
  EXPECT_EQ(lines.Admit(1000), " (and 1 more lines like it before)");
}

}  // namespace
}  // namespace penstock
