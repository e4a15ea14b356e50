#include "worker/train/data_roots.h"

#include <filesystem>
#include <tuple>
#include <utility>

#include "common/base/strings.h"
#include "data/file_list.h"
#include "data/idx.h"

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

Status DataRoots::CheckJob(const JobData& data) const {
  for (const auto& [option, files] : {std::pair("data.train", &data.train),
                                      {"data.test", &data.test},
                                      {"data.train_labels", &data.train_labels},
                                      {"data.test_labels", &data.test_labels}})
    PENSTOCK_RETURN_IF_ERROR(Check(*files).Prepend(option));
  if (data.format != "idx") return Status::Ok();
  for (const auto& [option, images, labels] : {std::tuple("data.train", &data.train, &data.train_labels),
                                               {"data.test", &data.test, &data.test_labels}}) {
    if (images->empty() || !labels->empty()) continue;
    PENSTOCK_ASSIGN_OR_RETURN(const auto expanded, ExpandFiles(*images));
    PENSTOCK_ASSIGN_OR_RETURN(const auto paths, IdxPaths(expanded));
    for (const std::string& path : paths) PENSTOCK_RETURN_IF_ERROR(Check(path).Prepend(option));
  }
  return Status::Ok();
}

}  // namespace penstock
