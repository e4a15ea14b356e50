// bfloat16: the upper half of a float, which is how values may travel when a table or a call says so.
//
// To bf16 rounds to nearest, ties to even. Infinities, zeros and their signs stay; a finite float beyond the
// largest bf16 by half a step or more (from 0x1.ffp127) becomes infinite; subnormal floats round like all
// others; a NaN stays one, made quiet, with its sign. From bf16 is exact, so a value that came from bf16 goes
// back to the same 16 bits unless it is a signalling NaN. The results are the same on every processor.
#pragma once

#include <bit>
#include <cstddef>
#include <cstdint>
#include <span>

namespace penstock {

inline uint16_t ToBf16(float value) {
  const uint32_t bits = std::bit_cast<uint32_t>(value);
  const uint32_t rounded = (bits + 0x7fff + (bits >> 16 & 1)) >> 16;
  const uint32_t quiet = bits >> 16 | 0x40;
  return static_cast<uint16_t>((bits << 1) > 0xff000000u ? quiet : rounded);
}

inline float FromBf16(uint16_t bits) { return std::bit_cast<float>(uint32_t{bits} << 16); }

// Vectorised for the processor that runs.
void ToBf16Long(const float* from, size_t count, uint16_t* to);
void FromBf16Long(const uint16_t* from, size_t count, float* to);
inline constexpr size_t kLongBf16 = 8;  // values from which on the call pays

// The same for arrays: `to` has `from.size()` elements and does not overlap `from`. In the byte order of the
// machine, which on the wire is little-endian.
inline void ToBf16(std::span<const float> from, uint16_t* to) {
  if (from.size() >= kLongBf16) return ToBf16Long(from.data(), from.size(), to);
  for (const float value : from) *to++ = ToBf16(value);
}
inline void FromBf16(std::span<const uint16_t> from, float* to) {
  if (from.size() >= kLongBf16) return FromBf16Long(from.data(), from.size(), to);
  for (const uint16_t bits : from) *to++ = FromBf16(bits);
}

}  // namespace penstock
