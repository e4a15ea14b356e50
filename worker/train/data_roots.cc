#include "worker/train/data_roots.h"

#include <filesystem>

#include "common/base/strings.h"
#include "data/file_list.h"

namespace penstock {
namespace {

namespace fs = std::filesystem;

// Both absolute and normal.
bool IsBelow(const fs::path& path, const fs::path& root) {
  const fs::path relative = path.lexically_relative(root);
  return !relative.empty() && *relative.begin() != "..";
}

fs::path WithoutLastSlash(const fs::path& path) { return path.has_filename() ? path : path.parent_path(); }

}  // namespace

Status DataRoots::Check(const std::string& files) const {
  if (files.empty()) return Status::Ok();
  const auto refusal = [&](std::string_view name) {
    return PermissionDenied(
        StrCat("'", name, "' is not below worker.data_roots (",
               roots_.empty() ? "which is empty" : StrJoin(roots_, ", "),
               "), and a job that was submitted with a client's token may name files there alone"));
  };
  const auto below = [&](const fs::path& path, bool follow) {
    for (const std::string& root : roots_) {
      std::error_code missing;
      const fs::path real = follow ? fs::canonical(root, missing) : fs::absolute(root).lexically_normal();
      if (!missing && IsBelow(path, WithoutLastSlash(real))) return true;
    }
    return false;
  };
  for (const std::string_view name : StrSplit(files, ',')) {
    if (!below(fs::absolute(name).lexically_normal(), false)) return refusal(name);
  }
  PENSTOCK_ASSIGN_OR_RETURN(const auto expanded, ExpandFiles(files));
  for (const std::string& name : expanded) {
    std::error_code error;
    const fs::path real = fs::canonical(name, error);
    if (error) return ErrnoStatus(error.value(), "open '" + name + "'");
    if (!below(real, true)) return refusal(name);
  }
  return Status::Ok();
}

}  // namespace penstock
