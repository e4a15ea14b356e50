// Crc32c against its definition, bit by bit.
#include "common/base/crc32c.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <random>
#include <vector>

namespace penstock {
namespace {

uint32_t BitByBit(const std::vector<uint8_t>& bytes) {
  uint32_t crc = ~0u;
  for (const uint8_t byte : bytes) {
    crc ^= byte;
    for (int bit = 0; bit < 8; ++bit) crc = (crc >> 1) ^ ((crc & 1) ? 0x82f63b78u : 0);
  }
  return ~crc;
}

TEST(Crc32cTest, HasTheCheckValueOfTheStandard) { EXPECT_EQ(Crc32c(0, "123456789", 9), 0xe3069283u); }

TEST(Crc32cTest, IsAsDefinedForEverySizeAndInPieces) {
  std::mt19937 random(1);
  for (int round = 0; round < 200; ++round) {
    std::vector<uint8_t> bytes(round < 100 ? random() % 64 : random() % 20'000);
    for (uint8_t& byte : bytes) byte = static_cast<uint8_t>(random());
    const uint32_t expected = BitByBit(bytes);
    ASSERT_EQ(Crc32c(0, bytes.data(), bytes.size()), expected) << bytes.size();
    uint32_t crc = 0;
    for (size_t at = 0; at < bytes.size();) {
      const size_t size = std::min<size_t>(bytes.size() - at, 1 + random() % 7000);
      crc = Crc32c(crc, bytes.data() + at, size);
      at += size;
    }
    ASSERT_EQ(crc, expected) << bytes.size();
  }
}

}  // namespace
}  // namespace penstock
