// Console: where a command writes, and whether a person is watching.
#pragma once

#include <ostream>

namespace penstock {

struct Console {
  std::ostream& out;
  std::ostream& err;
  bool terminal = false;  // err is one: progress may be drawn over itself
  int width = 80;
};

}  // namespace penstock
