// Values of rows to their form on the wire and back.
#pragma once

#include <span>

#include "common/base/bf16.h"
#include "common/base/copy_row.h"
#include "common/cluster/codec.h"

namespace penstock {

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
