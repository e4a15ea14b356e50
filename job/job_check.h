// What the options of a job have in common: the greatest whole number, and the check that a key which has no
// meaning beside the others is at its default, so that nothing that is written in a job file is ignored.
#pragma once

#include <string>

#include "common/base/status.h"

namespace penstock {

constexpr double kMaxWholeNumber = 9007199254740992.0;  // 2^53, exact as a double

inline Status OnlyWith(bool applies, bool is_default, const std::string& key, const std::string& where) {
  if (applies || is_default) return Status::Ok();
  return InvalidArgument(key + " has a meaning only with " + where);
}

}  // namespace penstock
