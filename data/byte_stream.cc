#include "data/byte_stream.h"

#include <zlib.h>
#include <zstd.h>

#include <algorithm>
#include <cerrno>
#include <climits>
#include <cstring>
#include <string_view>
#include <vector>

namespace penstock {
namespace {

using std::string_view_literals::operator""sv;  // NOLINT(misc-unused-using-decls): a literal

class PlainStream final : public ByteStream {
 public:
  explicit PlainStream(FileReader file) : file_(std::move(file)) {}
  Result<size_t> Read(char* to, size_t size) override {
    PENSTOCK_ASSIGN_OR_RETURN(const size_t read, file_.Read(at_, size, to));
    at_ += read;
    return read;
  }
  Status Skip(uint64_t size) override {
    at_ += size;
    return Status::Ok();
  }

 private:
  const FileReader file_;
  uint64_t at_ = 0;
};

class GzipStream final : public ByteStream {
 public:
  GzipStream(gzFile file, std::string path) : file_(file), path_(std::move(path)) {}
  ~GzipStream() override { gzclose(file_); }

  Result<size_t> Read(char* to, size_t size) override {
    size_t done = 0;
    while (done < size) {
      const int n = gzread(file_, to + done, static_cast<unsigned>(std::min<size_t>(size - done, INT_MAX)));
      int error = Z_OK;
      const char* text = gzerror(file_, &error);
      if (error == Z_ERRNO) return ErrnoStatus(errno, "read '" + path_ + "'");
      if (n < 0 || error != Z_OK)
        return InvalidArgument("'" + path_ + "': damaged gzip file: " + Reason(text));
      if (n == 0) break;
      done += static_cast<size_t>(n);
    }
    return done;
  }

 private:
  // zlib puts the path in front, which the message has already.
  std::string Reason(std::string text) const {
    return text.starts_with(path_ + ": ") ? text.substr(path_.size() + 2) : text;
  }

  gzFile file_;
  const std::string path_;
};

class ZstdStream final : public ByteStream {
 public:
  explicit ZstdStream(FileReader file)
      : packed_(std::move(file)), stream_(ZSTD_createDStream(), &ZSTD_freeDStream) {}

  Result<size_t> Read(char* to, size_t size) override {
    ZSTD_outBuffer out{to, size, 0};
    while (out.pos < out.size) {
      if (in_.pos == in_.size && !end_) PENSTOCK_RETURN_IF_ERROR(Refill());
      if (in_.pos == in_.size && end_ && frame_done_) break;
      const size_t before = out.pos, taken = in_.pos;
      const size_t left = ZSTD_decompressStream(stream_.get(), &out, &in_);
      if (ZSTD_isError(left) != 0) return Damaged(ZSTD_getErrorName(left));
      frame_done_ = left == 0;
      if (!frame_done_ && end_ && in_.pos == in_.size && out.pos == before && in_.pos == taken) {
        return Damaged("unexpected end of file");
      }
    }
    return out.pos;
  }

 private:
  Status Refill() {
    PENSTOCK_ASSIGN_OR_RETURN(const size_t read, packed_.Read(at_, buffer_.size(), buffer_.data()));
    at_ += read;
    end_ = read < buffer_.size();
    in_ = {buffer_.data(), read, 0};
    return Status::Ok();
  }
  Status Damaged(const std::string& reason) const {
    return InvalidArgument("'" + packed_.path() + "': damaged zstd file: " + reason);
  }

  const FileReader packed_;
  const std::unique_ptr<ZSTD_DStream, decltype(&ZSTD_freeDStream)> stream_;
  std::vector<char> buffer_ = std::vector<char>(256 << 10);
  ZSTD_inBuffer in_{nullptr, 0, 0};
  uint64_t at_ = 0;
  bool end_ = false;         // all of the packed file is in the buffer or done
  bool frame_done_ = false;  // what was read ends with a whole frame
};

}  // namespace

Result<Packing> PackingOf(const FileReader& file) {
  char first[4];
  PENSTOCK_ASSIGN_OR_RETURN(const size_t size, file.Read(0, sizeof(first), first));
  const std::string_view magic(first, size);
  if (magic.starts_with("\x1f\x8b"sv)) return Packing::kGzip;
  if (magic == "\x28\xb5\x2f\xfd"sv) return Packing::kZstd;
  return Packing::kPlain;
}

Result<std::unique_ptr<ByteStream>> ByteStream::Open(const std::string& path) {
  PENSTOCK_ASSIGN_OR_RETURN(FileReader file, FileReader::Open(path));
  PENSTOCK_ASSIGN_OR_RETURN(const Packing packing, PackingOf(file));
  if (packing == Packing::kPlain) {
    return std::unique_ptr<ByteStream>(std::make_unique<PlainStream>(std::move(file)));
  }
  if (packing == Packing::kZstd) {
    return std::unique_ptr<ByteStream>(std::make_unique<ZstdStream>(std::move(file)));
  }
  gzFile gzip = gzopen(path.c_str(), "rb");
  if (gzip == nullptr) return ErrnoStatus(errno, "open '" + path + "'");
  gzbuffer(gzip, 256 << 10);
  return std::unique_ptr<ByteStream>(std::make_unique<GzipStream>(gzip, path));
}

Status ByteStream::Skip(uint64_t size) {
  std::vector<char> scratch(std::min<uint64_t>(size, 64 << 10));
  while (size > 0) {
    const size_t wanted = std::min<uint64_t>(size, scratch.size());
    PENSTOCK_ASSIGN_OR_RETURN(const size_t read, Read(scratch.data(), wanted));
    if (read < wanted) break;
    size -= read;
  }
  return Status::Ok();
}

}  // namespace penstock
