#include "data/file_list.h"

#include <glob.h>
#include <sys/stat.h>

#include <algorithm>
#include <filesystem>
#include <set>
#include <utility>

namespace penstock {
namespace {

Status AddMatches(const std::string& name, std::vector<std::string>* files) {
  std::error_code ignored;
  if (name.find_first_of("*?[") == std::string::npos || std::filesystem::exists(name, ignored)) {
    files->push_back(name);  // whether it is there is said best by whoever opens it
    return Status::Ok();
  }
  glob_t found{};
  const int outcome = glob(name.c_str(), 0, nullptr, &found);
  for (size_t i = 0; i < found.gl_pathc; ++i) files->emplace_back(found.gl_pathv[i]);
  const bool any = found.gl_pathc > 0;
  globfree(&found);
  if (outcome == 0 && any) return Status::Ok();
  return NotFound("no file matches '" + name + "'");
}

}  // namespace

Result<std::vector<std::string>> ExpandFiles(const std::string& list) {
  std::vector<std::string> files;
  for (size_t begin = 0; begin <= list.size();) {
    const size_t comma = std::min(list.find(',', begin), list.size());
    const std::string name = list.substr(begin, comma - begin);
    begin = comma + 1;
    if (name.empty()) return InvalidArgument("'" + list + "' has an empty name between its commas");
    PENSTOCK_RETURN_IF_ERROR(AddMatches(name, &files));
  }
  std::sort(files.begin(), files.end());
  std::set<std::pair<dev_t, ino_t>> seen;
  std::erase_if(files, [&](const std::string& file) {
    struct stat is;
    return ::stat(file.c_str(), &is) == 0 && !seen.insert({is.st_dev, is.st_ino}).second;
  });
  return files;
}

}  // namespace penstock
