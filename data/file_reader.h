// FileReader: reads pieces of a file by offset; every error names the file.
//
// pread and not mmap: a file that shrinks while it is read is then an error and not a SIGBUS. Any thread may
// read.
#pragma once

#include <cstdint>
#include <string>

#include "common/base/status.h"

namespace penstock {

// What tells whether a file is still the one it was, without reading it.
struct FileIdentity {
  uint64_t size = 0;
  uint64_t device = 0, inode = 0;
  int64_t modified_ns = 0;
  bool operator==(const FileIdentity&) const = default;
  // Under another name, perhaps.
  bool IsSameFile(const FileIdentity& other) const { return device == other.device && inode == other.inode; }
};

class FileReader {
 public:
  // NotFound, PermissionDenied; InvalidArgument if it is a directory or not a regular file.
  static Result<FileReader> Open(const std::string& path);
  FileReader(FileReader&& other) noexcept;
  FileReader& operator=(FileReader&&) = delete;
  ~FileReader();

  const FileIdentity& identity() const { return identity_; }  // when it was opened
  uint64_t size() const { return identity_.size; }
  const std::string& path() const { return path_; }
  // Reads up to `size` bytes at `offset`; fewer only at the end of the file.
  Result<size_t> Read(uint64_t offset, size_t size, char* to) const;

 private:
  FileReader(int fd, std::string path) : fd_(fd), path_(std::move(path)) {}

  int fd_;
  FileIdentity identity_;
  std::string path_;
};

}  // namespace penstock
