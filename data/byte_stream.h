// ByteStream: the contents of a file from its begin to its end, unpacked where it is gzip or zstd.
//
// How a file is packed is told from its first bytes and not from its name. A stream belongs to one thread.
#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "common/base/status.h"
#include "data/file_reader.h"

namespace penstock {

enum class Packing : uint8_t { kPlain, kGzip, kZstd };

// InvalidArgument when the file is packed in another way or is no text at all (UTF-16), naming file and kind.
Result<Packing> PackingOf(const FileReader& file);

class ByteStream {
 public:
  // NotFound, PermissionDenied; InvalidArgument if it is not a regular file, or PackingOf refuses it.
  static Result<std::unique_ptr<ByteStream>> Open(const std::string& path);
  virtual ~ByteStream() = default;

  // Fewer bytes than asked for only at the end of the file. InvalidArgument "'FILE': damaged gzip file: ..."
  // when it cannot be unpacked, also when it ends too early or has something else behind its last member.
  virtual Result<size_t> Read(char* to, size_t size) = 0;
  // Passes over `size` bytes, or to the end of the file if that comes before.
  virtual Status Skip(uint64_t size);
};

}  // namespace penstock
