#include "server/node/damaged_folder.h"

#include <glog/logging.h>

#include <algorithm>
#include <charconv>

#include "common/base/strings.h"

namespace penstock {
namespace {

namespace fs = std::filesystem;

constexpr auto kLookEvery = std::chrono::seconds(5);

// 0: the name is no number.
uint64_t NumberOf(const std::string& name) {
  uint64_t number = 0;
  const auto [end, error] = std::from_chars(name.data(), name.data() + name.size(), number);
  return error == std::errc() && end == name.data() + name.size() ? number : 0;
}

// Of files and of all files below folders. What cannot be read counts as nothing.
uint64_t BytesOf(const std::vector<fs::path>& paths) {
  uint64_t bytes = 0;
  std::error_code error;
  const auto add = [&](const fs::directory_entry& entry) {
    std::error_code failed;
    const uint64_t size = entry.is_regular_file(failed) ? entry.file_size(failed) : 0;
    if (!failed) bytes += size;
  };
  for (const fs::path& path : paths) {
    add(fs::directory_entry(path, error));
    for (auto at = fs::recursive_directory_iterator(path, error); !error && at != fs::end(at);
         at.increment(error))
      add(*at);
  }
  return bytes;
}

}  // namespace

DamagedFolder::DamagedFolder(const std::string& data_dir, uint64_t limit_bytes)
    : path_(data_dir + "/damaged"), limit_bytes_(limit_bytes) {}

DamagedFolder::Parts DamagedFolder::List() const {
  Parts parts;
  std::error_code error;
  for (auto at = fs::directory_iterator(path_, error); !error && at != fs::end(at); at.increment(error))
    parts[NumberOf(at->path().filename())].push_back(at->path());
  return parts;
}

std::string DamagedFolder::Next() const {
  const Parts parts = List();
  return StrCat(path_, "/", parts.empty() ? 1 : parts.rbegin()->first + 1);
}

Status DamagedFolder::Trim() {
  Parts parts = List();
  Look();
  while (parts.size() > 1 && bytes_ > limit_bytes_) {
    const auto oldest = parts.begin();
    const uint64_t bytes = BytesOf(oldest->second);
    for (const fs::path& path : oldest->second) {
      std::error_code error;
      fs::remove_all(path, error);
      if (error) return Unavailable("remove " + path.string() + ": " + error.message());
      LOG(WARNING) << path << " is removed: what was put aside in " << path_ << " is more than the limit of "
                   << limit_bytes_ << " bytes";
    }
    ++removed_;
    removed_bytes_ += bytes;
    parts.erase(oldest);
    Look();
  }
  return Status::Ok();
}

void DamagedFolder::LookNowAndThen() {
  if (std::chrono::steady_clock::now() - looked_ >= kLookEvery) Look();
}

void DamagedFolder::Look() {
  looked_ = std::chrono::steady_clock::now();
  const Parts parts = List();
  count_ = parts.size();
  bytes_ = 0;
  latest_.clear();
  for (const auto& [number, paths] : parts) bytes_ += BytesOf(paths);
  if (parts.empty()) removed_ = removed_bytes_ = 0;  // an operator was here
  if (parts.empty()) return;
  std::vector<std::string> names;
  std::error_code error;
  for (const fs::path& path : parts.rbegin()->second) {
    if (parts.rbegin()->first == 0) names.push_back(path.filename());
    for (auto at = fs::directory_iterator(path, error);
         parts.rbegin()->first != 0 && !error && at != fs::end(at); at.increment(error))
      names.push_back(at->path().filename());
  }
  std::sort(names.begin(), names.end());
  constexpr size_t kNames = 4;
  const size_t more = names.size() > kNames ? names.size() - kNames : 0;
  names.resize(names.size() - more);
  latest_ = StrJoin(names, ", ");
  if (more > 0) StrAppend(&latest_, " and ", more, " more");
}

std::string DamagedFolder::Note() const {
  std::string note;
  if (count_ > 0) {
    note =
        StrCat("damaged files were put aside ", count_, count_ == 1 ? " time" : " times", ", ", bytes_,
               " bytes in ", path_, ", the latest: ", latest_, "; look at the disk, and remove that folder");
  }
  if (removed_ > 0) {
    StrAppend(&note, note.empty() ? "" : "; ", removed_, " older ones, ", removed_bytes_,
              " bytes, were removed for server.damaged_limit_bytes = ", limit_bytes_);
  } else if (count_ > 0) {
    StrAppend(&note, " (at most ", limit_bytes_, " bytes are kept, and the latest)");
  }
  return note;
}

}  // namespace penstock
