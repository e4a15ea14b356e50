// Codec: how the values of rows travel, and the way there and back. In memory they are always float32.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>
#include <string_view>

#include "common/base/bf16.h"
#include "common/base/copy_row.h"
#include "common/base/status.h"

namespace penstock {

enum class Codec : uint8_t {
  kF32 = 0,   // as they are
  kBf16 = 1,  // half the bytes and 8 bits of precision: each value rounded as common/base/bf16.h says
};

std::string_view ToString(Codec);  // "f32", "bf16"
// InvalidArgument names the allowed words.
Result<Codec> ParseCodec(std::string_view);

constexpr size_t BytesOfValue(Codec codec) {
  return codec == Codec::kBf16 ? sizeof(uint16_t) : sizeof(float);
}

// A row, or many. `to` has room for from.size() values and is aligned to one; the two do not overlap.
inline void EncodeValues(Codec codec, std::span<const float> from, void* to) {
  if (codec == Codec::kBf16) {
    ToBf16(from, static_cast<uint16_t*>(to));
  } else {
    CopyRow(from.data(), from.size(), static_cast<float*>(to));
  }
}

inline void DecodeValues(Codec codec, const void* from, std::span<float> to) {
  if (codec == Codec::kBf16) {
    FromBf16({static_cast<const uint16_t*>(from), to.size()}, to.data());
  } else {
    CopyRow(static_cast<const float*>(from), to.size(), to.data());
  }
}

}  // namespace penstock
