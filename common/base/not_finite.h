// NotFiniteBit: looks for NaN and infinity in many floats without a branch, as loops want it where nearly
// always there is none: the bits of all are or-ed, and HasNotFinite is asked once.
#pragma once

#include <bit>
#include <cstdint>

namespace penstock {

// Its top bit is set for NaN and infinity alone; the others mean nothing. One more in an exponent of all ones
// carries into the sign's place.
inline uint32_t NotFiniteBit(float value) {
  return (std::bit_cast<uint32_t>(value) & 0x7fffffffu) + 0x00800000u;
}
inline bool HasNotFinite(uint32_t bits) { return bits >> 31 != 0; }

}  // namespace penstock
