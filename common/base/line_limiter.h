// LineLimiter: how often a line that strangers can cause is written to the log. Pure.
//
// Not thread-safe.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

namespace penstock {

class LineLimiter {
 public:
  // At most `lines` in each `window_ms`.
  LineLimiter(uint32_t lines, uint64_t window_ms) : lines_(lines), window_ms_(window_ms) {}

  // Whether the line is written now: nothing when it is not, else what it ends with, which says how many were
  // left out before it.
  std::optional<std::string> Admit(uint64_t now_ms) {
    if (now_ms - begun_ms_ >= window_ms_ || now_ms < begun_ms_) {
      begun_ms_ = now_ms;
      written_ = 0;
    }
    if (written_ >= lines_) {
      ++left_out_;
      return std::nullopt;
    }
    ++written_;
    const uint64_t left_out = left_out_;
    left_out_ = 0;
    if (left_out == 0) return "";
    return " (and " + std::to_string(left_out) + " more lines like it before)";
  }

 private:
  const uint32_t lines_;
  const uint64_t window_ms_;
  uint64_t begun_ms_ = 0;
  uint32_t written_ = 0;
  uint64_t left_out_ = 0;
};

}  // namespace penstock
