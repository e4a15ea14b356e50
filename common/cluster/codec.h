// Codec: how the values of rows travel. In memory they are always float32.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>

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

}  // namespace penstock
