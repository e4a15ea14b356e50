#include "data/file_reader.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <utility>

namespace penstock {

Result<FileReader> FileReader::Open(const std::string& path) {
  const int fd = open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK);  // a FIFO must not block the open
  if (fd < 0) return ErrnoStatus(errno, "open '" + path + "'");
  FileReader file(fd, path);  // closes on the error paths
  struct stat info {};
  if (fstat(fd, &info) != 0) return ErrnoStatus(errno, "stat '" + path + "'");
  if (S_ISDIR(info.st_mode)) {
    return InvalidArgument("'" + path + "' is a directory, allowed are files: '" + path +
                           "/*' stands for all that are in it");
  }
  if (!S_ISREG(info.st_mode)) return InvalidArgument("'" + path + "' is not a regular file");
  file.identity_ = {.size = static_cast<uint64_t>(info.st_size),
                    .device = info.st_dev,
                    .inode = info.st_ino,
                    .modified_ns = info.st_mtim.tv_sec * int64_t{1'000'000'000} + info.st_mtim.tv_nsec};
  return file;
}

FileReader::FileReader(FileReader&& other) noexcept
    : fd_(std::exchange(other.fd_, -1)), identity_(other.identity_), path_(std::move(other.path_)) {}

FileReader::~FileReader() {
  if (fd_ >= 0) close(fd_);
}

Result<size_t> FileReader::Read(uint64_t offset, size_t size, char* to) const {
  size_t done = 0;
  while (done < size) {
    const ssize_t n =
        pread(fd_, to + done, std::min<size_t>(size - done, 1 << 30), static_cast<off_t>(offset + done));
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return ErrnoStatus(errno, "read '" + path_ + "'");
    if (n == 0) break;
    done += static_cast<size_t>(n);
  }
  return done;
}

}  // namespace penstock
