// Text that peers send to the scheduler.
#pragma once

#include <capnp/blob.h>

#include <nlohmann/json.hpp>
#include <string>

namespace penstock {

inline constexpr uint32_t kMaxTextBytes = 64 << 10;  // of an error, a damage

// The text as JSON can hold it: bytes that are no UTF-8 are replaced, so that the journal says exactly what
// memory does.
inline std::string ReadText(capnp::Text::Reader in) {
  const nlohmann::json text = std::string(in.cStr(), in.size());
  return nlohmann::json::parse(text.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace))
      .get<std::string>();
}

}  // namespace penstock
