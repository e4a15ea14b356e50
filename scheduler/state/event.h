// Event: something that happened to the cluster, in an operator's words. The journal holds the latest.
#pragma once

#include <cstdint>
#include <nlohmann/json.hpp>
#include <string>

namespace penstock {

inline constexpr size_t kMostEvents = 1000;

struct Event {
  uint64_t number = 0;  // rising by one
  int64_t at_ms = 0;    // since 1970; 0: it is not known
  std::string kind;     // one word, by which they can be picked out: EventsOf
  std::string text;
  NLOHMANN_DEFINE_TYPE_INTRUSIVE(Event, number, at_ms, kind, text)
};

}  // namespace penstock
