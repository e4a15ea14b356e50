#include "common/base/crc32c.h"

#include <array>
#include <cstring>

#if defined(__x86_64__)
#include <nmmintrin.h>
#include <wmmintrin.h>
#endif

namespace penstock {
namespace {

constexpr std::array<uint32_t, 256> MakeTable() {
  std::array<uint32_t, 256> table{};
  for (uint32_t i = 0; i < 256; ++i) {
    uint32_t crc = i;
    for (int bit = 0; bit < 8; ++bit) crc = (crc >> 1) ^ ((crc & 1) ? 0x82f63b78u : 0);
    table[i] = crc;
  }
  return table;
}
constexpr std::array<uint32_t, 256> kTable = MakeTable();

uint32_t Portable(uint32_t crc, const uint8_t* p, size_t size) {
  for (; size > 0; ++p, --size) crc = (crc >> 8) ^ kTable[(crc ^ *p) & 0xff];
  return crc;
}

#if defined(__x86_64__)
constexpr size_t kBlock = 1024;

// x^n modulo the polynomial, bit 31 being x^0.
constexpr uint32_t PowerOfX(size_t n) {
  uint32_t power = 0x80000000u;
  for (; n > 0; --n) power = (power >> 1) ^ ((power & 1) ? 0x82f63b78u : 0);
  return power;
}

inline uint64_t Word(const uint8_t* p) {
  uint64_t word;
  std::memcpy(&word, p, sizeof(word));
  return word;
}

// The crc of the same bytes with kBlocks blocks of zeros behind them. The product of two reflected
// polynomials is one bit short, and reducing it multiplies by x^32: hence 33.
template <size_t kBlocks>
__attribute__((target("sse4.2,pclmul"))) inline uint32_t Behind(uint32_t crc) {
  constexpr uint32_t kPower = PowerOfX(kBlocks * kBlock * 8 - 33);
  const __m128i product = _mm_clmulepi64_si128(_mm_cvtsi64_si128(crc), _mm_cvtsi64_si128(kPower), 0);
  return static_cast<uint32_t>(_mm_crc32_u64(0, static_cast<uint64_t>(_mm_cvtsi128_si64(product))));
}

// The instruction takes three cycles and one can begin in each: three blocks at once (Gopal et al., "Fast CRC
// Computation for iSCSI Polynomial Using CRC32 Instruction", Intel 2011).
__attribute__((target("sse4.2,pclmul"))) uint32_t Hardware(uint32_t crc, const uint8_t* p, size_t size) {
  for (; size >= 3 * kBlock; p += 3 * kBlock, size -= 3 * kBlock) {
    uint64_t first = crc, second = 0, third = 0;
    for (size_t i = 0; i < kBlock; i += 8) {
      first = _mm_crc32_u64(first, Word(p + i));
      second = _mm_crc32_u64(second, Word(p + kBlock + i));
      third = _mm_crc32_u64(third, Word(p + 2 * kBlock + i));
    }
    crc = Behind<2>(static_cast<uint32_t>(first)) ^ Behind<1>(static_cast<uint32_t>(second)) ^
          static_cast<uint32_t>(third);
  }
  uint64_t wide = crc;
  for (; size >= 8; p += 8, size -= 8) wide = _mm_crc32_u64(wide, Word(p));
  crc = static_cast<uint32_t>(wide);
  for (; size > 0; ++p, --size) crc = _mm_crc32_u8(crc, *p);
  return crc;
}
#endif

}  // namespace

uint32_t Crc32c(uint32_t crc, const void* data, size_t size) {
  const auto* p = static_cast<const uint8_t*>(data);
#if defined(__x86_64__)
  static const bool has_instructions = __builtin_cpu_supports("sse4.2") && __builtin_cpu_supports("pclmul");
  if (has_instructions) return ~Hardware(~crc, p, size);
#endif
  return ~Portable(~crc, p, size);
}

}  // namespace penstock
