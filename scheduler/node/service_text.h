// Text that peers send to the scheduler.
#pragma once

#include <capnp/blob.h>

#include <cstdint>
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>

#include "common/base/status.h"
#include "common/base/strings.h"

namespace penstock {

inline constexpr uint32_t kMaxTextBytes = 64 << 10;  // of an error, a damage

// The text as JSON can hold it: bytes that are no UTF-8 are replaced, so that the journal says exactly what
// memory does.
inline std::string ReadText(capnp::Text::Reader in) {
  const nlohmann::json text = std::string(in.cStr(), in.size());
  return nlohmann::json::parse(text.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace))
      .get<std::string>();
}

// For logs and terminals: with a space for each control character.
inline std::string WithoutControls(std::string text) {
  for (size_t i = 0; i < text.size(); ++i) {
    const auto byte = static_cast<uint8_t>(text[i]);
    if (byte < ' ' || byte == 0x7f) text[i] = ' ';
    // U+0080 to U+009f
    if (byte == 0xc2 && static_cast<uint8_t>(text[i + 1]) < 0xa0) text[i] = text[i + 1] = ' ';
  }
  return text;
}
inline std::string ReadLine(capnp::Text::Reader in) { return WithoutControls(ReadText(in)); }

// kInvalidArgument where it has more than `most` bytes, as it came or as it would be kept. `what` has them.
inline Result<std::string> ReadText(capnp::Text::Reader in, size_t most, std::string_view what) {
  if (in.size() <= most) {
    if (std::string text = ReadText(in); text.size() <= most) return text;
  }
  return InvalidArgument(StrCat(what, " with more than ", most, " characters"));
}
inline Result<std::string> ReadLine(capnp::Text::Reader in, size_t most, std::string_view what) {
  PENSTOCK_ASSIGN_OR_RETURN(const std::string text, ReadText(in, most, what));
  return WithoutControls(text);
}

}  // namespace penstock
