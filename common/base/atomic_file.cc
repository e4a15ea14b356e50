#include "common/base/atomic_file.h"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <filesystem>
#include <fstream>
#include <sstream>

namespace penstock {
namespace {

Status WriteAll(int fd, std::string_view contents, const std::string& path) {
  while (!contents.empty()) {
    const ssize_t n = write(fd, contents.data(), contents.size());
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return ErrnoStatus(errno, "write " + path);
    contents.remove_prefix(static_cast<size_t>(n));
  }
  if (fsync(fd) != 0) return ErrnoStatus(errno, "sync " + path);
  return Status::Ok();
}

}  // namespace

Status WriteFileAtomically(const std::string& path, std::string_view contents, int mode) {
  const std::string partial = path + ".partial";
  const int fd = open(partial.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, mode);
  if (fd < 0) return ErrnoStatus(errno, "write " + path);
  Status written = WriteAll(fd, contents, path);
  close(fd);
  if (!written.ok()) {
    unlink(partial.c_str());
    return written;
  }
  if (rename(partial.c_str(), path.c_str()) != 0) return ErrnoStatus(errno, "rename to " + path);
  const std::string folder = std::filesystem::path(path).parent_path().string();
  const int dir = open(folder.empty() ? "." : folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (dir < 0) return ErrnoStatus(errno, "open folder of " + path);
  const int synced = fsync(dir);
  const int error = errno;
  close(dir);
  return synced == 0 ? Status::Ok() : ErrnoStatus(error, "sync folder of " + path);
}

Status CheckReplaceable(const std::string& path) {
  std::error_code error;
  const auto there = std::filesystem::status(path, error);
  const bool link = std::filesystem::is_symlink(std::filesystem::symlink_status(path, error));
  if (link || (std::filesystem::exists(there) && !std::filesystem::is_regular_file(there))) {
    return FailedPrecondition(path + " is " +
                              (link                                   ? "a symbolic link"
                               : std::filesystem::is_directory(there) ? "a folder"
                                                                      : "no regular file") +
                              ", allowed is the path of a file");
  }
  const std::string partial = path + ".partial";
  const int fd = open(partial.c_str(), O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
  if (fd >= 0) close(fd);
  if (fd >= 0 && unlink(partial.c_str()) == 0) return Status::Ok();
  return FailedPrecondition(ErrnoStatus(errno, "write " + path).message());
}

Result<std::string> ReadWholeFile(const std::string& path) {
  std::error_code error;
  if (std::filesystem::is_directory(path, error))  // which a stream reads as an empty file
    return InvalidArgument("read " + path + ": it is a directory, allowed is a file");
  std::ifstream in(path, std::ios::binary);
  if (!in) return ErrnoStatus(errno, "read " + path);
  std::ostringstream text;
  text << in.rdbuf();
  if (in.bad()) return ErrnoStatus(errno, "read " + path);
  return std::move(text).str();
}

Status MakeDirectories(const std::string& path) {
  std::error_code error;
  std::filesystem::create_directories(path, error);
  if (error) return ErrnoStatus(error.value(), "make directory " + path);
  if (access(path.c_str(), W_OK) != 0) return ErrnoStatus(errno, "directory " + path + " is not writable");
  return Status::Ok();
}

}  // namespace penstock
