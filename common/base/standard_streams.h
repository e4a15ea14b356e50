// Standard streams of a program: each open from the beginning, and what was printed is known to be written at
// the end.
#pragma once

#include "common/base/status.h"

namespace penstock {

// To be called first in main. A stream that the parent has closed would otherwise be the next file or
// connection that the program opens, and what is printed would go there; it is one that refuses writes
// instead.
void OpenStandardStreams();

// Writes out what std::cout holds. An error says that some of it, now or before, could not be written.
Status FlushStandardOutput();

}  // namespace penstock
