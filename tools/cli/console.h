// Console: where a command writes, and whether a person is watching.
#pragma once

#include <ctime>
#include <functional>
#include <ostream>
#include <string>

namespace penstock {

struct Console {
  std::ostream& out;
  std::ostream& err;
  bool terminal = false;  // err is one: progress may be drawn over itself
  int width = 80;
};

// Prints what happens while a command runs for long, with the time, as the logs of the processes have it. A
// line is one write: it may come from another thread than others.
inline std::function<void(const std::string&)> TimedLines(Console& console) {
  return [&console](const std::string& line) {
    const time_t now = std::time(nullptr);
    std::tm utc{};
    gmtime_r(&now, &utc);
    char time[32];
    std::strftime(time, sizeof time, "%Y-%m-%dT%H:%M:%SZ", &utc);
    console.err << "penstock: " + std::string(time) + " " + line + "\n" << std::flush;
  };
}

}  // namespace penstock
