// Pieces of huge pages: apart from each other, zeroed also the second time, and given back with the last one.
#include "server/shard/huge_pool.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cstring>
#include <vector>

namespace penstock {
namespace {

constexpr size_t kBytes = 90112;  // no divisor of a huge page

bool Zeroed(const std::byte* piece) {
  return std::all_of(piece, piece + kBytes, [](std::byte b) { return b == std::byte{0}; });
}

TEST(HugePoolTest, PiecesAreApartAndZeroedAgain) {
  HugePool pool;
  std::vector<std::byte*> pieces;
  const size_t in_a_block = HugePool::kBlockBytes / kBytes;
  for (size_t i = 0; i < in_a_block + 1; ++i) {
    pieces.push_back(pool.Take(kBytes));
    ASSERT_NE(pieces.back(), nullptr);
    EXPECT_EQ(reinterpret_cast<uintptr_t>(pieces.back()) % 64, 0u);
    EXPECT_TRUE(Zeroed(pieces.back()));
    std::memset(pieces.back(), static_cast<int>(i + 1), kBytes);
  }
  EXPECT_EQ(pool.blocks(), 2u);
  for (size_t i = 0; i < pieces.size(); ++i) {
    const auto mine = static_cast<std::byte>(i + 1);
    EXPECT_TRUE(std::all_of(pieces[i], pieces[i] + kBytes, [mine](std::byte b) { return b == mine; })) << i;
  }
  pool.Give(pieces[3], kBytes);
  EXPECT_EQ(pool.Take(kBytes), pieces[3]) << "the fuller block goes first";
  EXPECT_TRUE(Zeroed(pieces[3]));
  for (std::byte* piece : pieces) pool.Give(piece, kBytes);
  EXPECT_EQ(pool.blocks(), 0u);
}

TEST(HugePoolTest, EachSizeHasBlocksOfItsOwn) {
  HugePool pool;
  std::byte* small = pool.Take(kBytes);
  std::byte* large = pool.Take(HugePool::kMaxBytes);
  EXPECT_EQ(pool.blocks(), 2u);
  pool.Give(small, kBytes);
  EXPECT_EQ(pool.blocks(), 1u);
  pool.Give(large, HugePool::kMaxBytes);
  EXPECT_EQ(pool.blocks(), 0u);
}

}  // namespace
}  // namespace penstock
