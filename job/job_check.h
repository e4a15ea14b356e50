// OnlyWith: the check that a key which has no meaning beside the others is at its default, so that nothing
// that is written in a job file is ignored.
#pragma once

#include <string>

#include "common/base/status.h"

namespace penstock {

inline Status OnlyWith(bool applies, bool is_default, const std::string& key, const std::string& where) {
  if (applies || is_default) return Status::Ok();
  return InvalidArgument(key + " has a meaning only with " + where);
}

}  // namespace penstock
