// FileLayer: the file operations of the delta log, as an interface, so that a test can lose power or fill the
// disk.
//
// FileLayer and File may be used from any thread; a File is read, written and synced from several threads at
// once, but what one write covers no other touches meanwhile. Errors name the operation and the path. ENOSPC
// is kOverloaded, a missing file kNotFound.
#pragma once

#include <sys/uio.h>

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "common/base/status.h"

namespace penstock {

class File {
 public:
  virtual ~File() = default;
  // Writes all parts, one behind the other, from `offset` on: one pwritev unless the system limits make it
  // several. After an error any part of it may have been written.
  virtual Status Write(std::span<const iovec> parts, uint64_t offset) = 0;
  // Reads up to `size` bytes; less only at the end of the file.
  virtual Result<size_t> Read(void* into, size_t size, uint64_t offset) = 0;
  // fdatasync.
  virtual Status Sync() = 0;
  // Also gives back space that was preallocated beyond `size`.
  virtual Status Truncate(uint64_t size) = 0;
  virtual Result<uint64_t> Size() = 0;
};

class FileLayer {
 public:
  virtual ~FileLayer() = default;
  // A new file, readable and writable; kAlreadyExists when there is one. `preallocate` bytes are reserved
  // beyond the end of the file, if the file system can do so and has them: it saves time, nothing relies on
  // it.
  virtual Result<std::unique_ptr<File>> Create(const std::string& path, uint64_t preallocate) = 0;
  // An existing file, readable and writable.
  virtual Result<std::unique_ptr<File>> Open(const std::string& path) = 0;
  // The names in a directory, in no order, without "." and "..".
  virtual Result<std::vector<std::string>> List(const std::string& dir) = 0;
  virtual Status Remove(const std::string& path) = 0;
  virtual Status Rename(const std::string& from, const std::string& to) = 0;
  virtual Status SyncDir(const std::string& dir) = 0;
  // mkdir -p. Durable.
  virtual Status MakeDir(const std::string& dir) = 0;
  // Which start of the machine this is: what was written during it is there, synced or not, whatever became
  // of the process. 0: nobody knows.
  virtual uint32_t BootId() = 0;
};

class PosixFileLayer final : public FileLayer {
 public:
  Result<std::unique_ptr<File>> Create(const std::string& path, uint64_t preallocate) override;
  Result<std::unique_ptr<File>> Open(const std::string& path) override;
  Result<std::vector<std::string>> List(const std::string& dir) override;
  Status Remove(const std::string& path) override;
  Status Rename(const std::string& from, const std::string& to) override;
  Status SyncDir(const std::string& dir) override;
  Status MakeDir(const std::string& dir) override;
  // Of /proc/sys/kernel/random/boot_id.
  uint32_t BootId() override;
};

}  // namespace penstock
