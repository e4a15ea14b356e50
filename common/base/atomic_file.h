// WriteFileAtomically: replaces a small file so that a reader, or a restart after a crash, sees the old or
// the new contents whole.
#pragma once

#include <string>
#include <string_view>

#include "common/base/status.h"

namespace penstock {

// Writes `contents` to path + ".partial", syncs it, renames it to `path` and syncs the folder. Errors name
// the path.
Status WriteFileAtomically(const std::string& path, std::string_view contents, int mode = 0644);
// Whether that could be done now: nothing but a regular file stands there, and its folder takes one. Else
// kFailedPrecondition, with the path.
Status CheckReplaceable(const std::string& path);
// The whole file. kNotFound when there is none.
Result<std::string> ReadWholeFile(const std::string& path);
// mkdir -p. Errors name the path.
Status MakeDirectories(const std::string& path);

}  // namespace penstock
