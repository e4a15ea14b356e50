// PosixFileLayer: the file operations of the delta log as system calls.
#include "server/storage/file_layer.h"

#include <dirent.h>
#include <fcntl.h>
#include <limits.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <filesystem>

#include "common/base/atomic_file.h"
#include "common/base/crc32c.h"

namespace penstock {
namespace {

class PosixFile final : public File {
 public:
  PosixFile(int fd, std::string path) : fd_(fd), path_(std::move(path)) {}
  ~PosixFile() override { close(fd_); }
  PosixFile(const PosixFile&) = delete;
  PosixFile& operator=(const PosixFile&) = delete;

  Status Write(std::span<const iovec> parts, uint64_t offset) override {
    std::vector<iovec> rest(parts.begin(), parts.end());
    size_t first = 0;
    while (true) {
      while (first < rest.size() && rest[first].iov_len == 0) ++first;
      if (first == rest.size()) return Status::Ok();
      const int count = static_cast<int>(std::min<size_t>(rest.size() - first, IOV_MAX));
      const ssize_t written = pwritev(fd_, &rest[first], count, static_cast<off_t>(offset));
      if (written < 0 && errno == EINTR) continue;
      if (written <= 0) return ErrnoStatus(written < 0 ? errno : ENOSPC, "write " + path_);
      offset += static_cast<uint64_t>(written);
      for (size_t left = static_cast<size_t>(written); left > 0;) {
        const size_t step = std::min(left, rest[first].iov_len);
        rest[first].iov_base = static_cast<char*>(rest[first].iov_base) + step;
        rest[first].iov_len -= step;
        left -= step;
        if (rest[first].iov_len == 0) ++first;
      }
    }
  }

  Result<size_t> Read(void* into, size_t size, uint64_t offset) override {
    size_t done = 0;
    while (done < size) {
      const ssize_t n =
          pread(fd_, static_cast<char*>(into) + done, size - done, static_cast<off_t>(offset + done));
      if (n < 0 && errno == EINTR) continue;
      if (n < 0) return ErrnoStatus(errno, "read " + path_ + " at " + std::to_string(offset + done));
      if (n == 0) break;
      done += static_cast<size_t>(n);
    }
    return done;
  }

  Status Sync() override { return fdatasync(fd_) == 0 ? Status::Ok() : ErrnoStatus(errno, "sync " + path_); }

  Status Truncate(uint64_t size) override {
    return ftruncate(fd_, static_cast<off_t>(size)) == 0 ? Status::Ok()
                                                         : ErrnoStatus(errno, "truncate " + path_);
  }

  Result<uint64_t> Size() override {
    struct stat info = {};
    if (fstat(fd_, &info) != 0) return ErrnoStatus(errno, "look at " + path_);
    return static_cast<uint64_t>(info.st_size);
  }

 private:
  const int fd_;
  const std::string path_;
};

}  // namespace

Result<std::unique_ptr<File>> PosixFileLayer::Create(const std::string& path, uint64_t preallocate) {
  const int fd = open(path.c_str(), O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0644);
  if (fd < 0 && errno == EEXIST) return AlreadyExists("create " + path + ": it exists");
  if (fd < 0) return ErrnoStatus(errno, "create " + path);
  // A disk that is too full for all of it may still have room for what will be written.
  if (preallocate > 0) (void)!fallocate(fd, FALLOC_FL_KEEP_SIZE, 0, static_cast<off_t>(preallocate));
  return std::unique_ptr<File>(std::make_unique<PosixFile>(fd, path));
}

Result<std::unique_ptr<File>> PosixFileLayer::Open(const std::string& path) {
  const int fd = open(path.c_str(), O_RDWR | O_CLOEXEC);
  if (fd < 0) return ErrnoStatus(errno, "open " + path);
  return std::unique_ptr<File>(std::make_unique<PosixFile>(fd, path));
}

Result<std::vector<std::string>> PosixFileLayer::List(const std::string& dir) {
  DIR* handle = opendir(dir.c_str());
  if (handle == nullptr) return ErrnoStatus(errno, "list " + dir);
  std::vector<std::string> names;
  errno = 0;
  while (const dirent* entry = readdir(handle)) {
    const std::string name = entry->d_name;
    if (name != "." && name != "..") names.push_back(name);
  }
  const int error = errno;
  closedir(handle);
  if (error != 0) return ErrnoStatus(error, "list " + dir);
  return names;
}

Status PosixFileLayer::Remove(const std::string& path) {
  return unlink(path.c_str()) == 0 ? Status::Ok() : ErrnoStatus(errno, "remove " + path);
}

Status PosixFileLayer::Rename(const std::string& from, const std::string& to) {
  return rename(from.c_str(), to.c_str()) == 0 ? Status::Ok()
                                               : ErrnoStatus(errno, "rename " + from + " to " + to);
}

Status PosixFileLayer::SyncDir(const std::string& dir) {
  const int fd = open(dir.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (fd < 0) return ErrnoStatus(errno, "open directory " + dir);
  const int synced = fsync(fd);
  const int error = errno;
  close(fd);
  return synced == 0 ? Status::Ok() : ErrnoStatus(error, "sync directory " + dir);
}

// With those above it that were not there: what is moved into it must be there after a loss of power.
Status PosixFileLayer::MakeDir(const std::string& dir) {
  std::vector<std::filesystem::path> above;
  std::error_code error;
  for (std::filesystem::path at = std::filesystem::absolute(dir, error);
       !at.empty() && !std::filesystem::exists(at, error); at = at.parent_path())
    above.push_back(at.parent_path());
  PENSTOCK_RETURN_IF_ERROR(MakeDirectories(dir));
  for (const auto& parent : above) PENSTOCK_RETURN_IF_ERROR(SyncDir(parent));
  return Status::Ok();
}

// 32 bits of it are enough: where two are taken for one, damage is named that a loss of power may have done.
uint32_t PosixFileLayer::BootId() {
  const auto text = ReadWholeFile("/proc/sys/kernel/random/boot_id");
  return text.ok() && !text->empty() ? std::max(Crc32c(0, text->data(), text->size()), 1u) : 0;
}

}  // namespace penstock
