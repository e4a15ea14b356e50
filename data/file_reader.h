// FileReader: reads pieces of a file by offset; every error names the file.
//
// pread and not mmap: a file that shrinks while it is read is then an error and not a SIGBUS. Any thread may
// read.
#pragma once

#include <cstdint>
#include <string>

#include "common/base/status.h"

namespace penstock {

class FileReader {
 public:
  // NotFound, PermissionDenied; InvalidArgument if it is not a regular file.
  static Result<FileReader> Open(const std::string& path);
  FileReader(FileReader&& other) noexcept;
  FileReader& operator=(FileReader&&) = delete;
  ~FileReader();

  uint64_t size() const { return size_; }  // when it was opened
  const std::string& path() const { return path_; }
  // Reads up to `size` bytes at `offset`; fewer only at the end of the file.
  Result<size_t> Read(uint64_t offset, size_t size, char* to) const;

 private:
  FileReader(int fd, uint64_t size, std::string path) : fd_(fd), size_(size), path_(std::move(path)) {}

  int fd_;
  uint64_t size_;
  std::string path_;
};

}  // namespace penstock
