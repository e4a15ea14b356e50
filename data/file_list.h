// ExpandFiles: the files that data.train or data.test mean.
#pragma once

#include <string>
#include <vector>

#include "common/base/status.h"

namespace penstock {

// `list` has file names and patterns (* ? [...]) separated by commas; what exists under the very name is
// taken as a name. The result is sorted and has every file once, under the first of its names, so that it
// does not depend on how the files were named. NotFound when a name does not exist or a pattern matches
// nothing.
Result<std::vector<std::string>> ExpandFiles(const std::string& list);

}  // namespace penstock
