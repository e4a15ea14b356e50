#include "data/byte_stream.h"

#include <zlib.h>
#include <zstd.h>

#include <algorithm>
#include <climits>
#include <cstring>
#include <string_view>
#include <utility>
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

// A whole file of members, one behind the other. (gzread of zlib would pass over what stands behind them.)
class GzipStream final : public ByteStream {
 public:
  explicit GzipStream(FileReader file) : packed_(std::move(file)) {
    constexpr int kGzipOnly = 15 + 16;
    ready_ = inflateInit2(&stream_, kGzipOnly) == Z_OK;
  }
  ~GzipStream() override { inflateEnd(&stream_); }

  Result<size_t> Read(char* to, size_t size) override {
    if (!ready_) return Damaged("no memory to unpack it");
    size_t done = 0;
    while (done < size) {
      if (stream_.avail_in == 0 && !end_) PENSTOCK_RETURN_IF_ERROR(Refill());
      if (member_done_) {
        if (stream_.avail_in == 0) break;
        inflateReset(&stream_);
        member_done_ = false;
      }
      const auto room = static_cast<uInt>(std::min<size_t>(size - done, INT_MAX));
      stream_.next_out = reinterpret_cast<Bytef*>(to) + done;
      stream_.avail_out = room;
      const int code = inflate(&stream_, Z_NO_FLUSH);
      done += room - stream_.avail_out;
      if (code == Z_STREAM_END) {
        member_done_ = true;
        members_end_ = at_ - stream_.avail_in;
      } else if (code != Z_OK && code != Z_BUF_ERROR) {
        return Damaged(stream_.msg != nullptr ? stream_.msg : zError(code));
      } else if (end_ && stream_.avail_in == 0 && stream_.avail_out > 0) {
        return Damaged("unexpected end of file");
      }
    }
    return done;
  }

 private:
  Status Refill() {
    PENSTOCK_ASSIGN_OR_RETURN(const size_t read, packed_.Read(at_, buffer_.size(), buffer_.data()));
    at_ += read;
    end_ = read < buffer_.size();
    stream_.next_in = reinterpret_cast<Bytef*>(buffer_.data());
    stream_.avail_in = static_cast<uInt>(read);
    return Status::Ok();
  }
  Status Damaged(const std::string& reason) const {
    std::string what = "'" + packed_.path() + "': damaged gzip file: " + reason;
    if (members_end_ > 0 && stream_.total_out == 0) {
      what = "'" + packed_.path() + "': " + std::to_string(packed_.size() - members_end_) +
             " bytes behind its gzip data, from byte " + std::to_string(members_end_) +
             " on, are no whole gzip member: they would not be read";
    }
    return InvalidArgument(std::move(what));
  }

  const FileReader packed_;
  z_stream stream_{};
  std::vector<char> buffer_ = std::vector<char>(256 << 10);
  uint64_t at_ = 0;           // of what was read of the packed file
  uint64_t members_end_ = 0;  // of the whole members that were unpacked
  bool ready_ = false;
  bool end_ = false;  // all of the packed file is in the buffer or done
  bool member_done_ = false;
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

// zstd's frames of what is not data: pzstd begins its files with one.
bool IsSkippableFrame(std::string_view begin) {
  return begin.size() >= 4 && (begin[0] & 0xf0) == 0x50 && begin.substr(1, 3) == "\x2a\x4d\x18"sv;
}

// How files begin that people name as data, and that would read as one malformed line.
constexpr std::pair<std::string_view, std::string_view> kUnread[] = {
    {"\xfd"
     "7zXZ\0"sv,
     "packed with xz"},
    {"PK\x03\x04"sv, "a zip archive"},
    {"PK\x05\x06"sv, "an empty zip archive"},
    {"7z\xbc\xaf\x27\x1c"sv, "a 7-Zip archive"},
    {"\x04\x22\x4d\x18"sv, "packed with lz4"},
    {"\x1f\x9d"sv, "packed with compress"},
    {"PAR1\x15"sv, "a Parquet file"},
    {"\xff\xfe"sv, "text in UTF-16"},
    {"\xfe\xff"sv, "text in UTF-16"},
};

// What the file is that begins so, of what is not read; else "".
std::string_view UnreadKind(std::string_view begin) {
  if (begin.size() >= 10 && begin.starts_with("BZh"sv)) {  // then a level
    const std::string_view block = begin.substr(4, 6);
    if (block == "\x31\x41\x59\x26\x53\x59"sv || block == "\x17\x72\x45\x38\x50\x90"sv) {
      return "packed with bzip2";
    }
  }
  for (const auto& [magic, what] : kUnread) {
    if (begin.starts_with(magic)) return what;
  }
  return "";
}

}  // namespace

Result<Packing> PackingOf(const FileReader& file) {
  char first[16];
  PENSTOCK_ASSIGN_OR_RETURN(const size_t size, file.Read(0, sizeof(first), first));
  const std::string_view begin(first, size);
  if (begin.starts_with("\x1f\x8b"sv)) return Packing::kGzip;
  if (begin.starts_with("\x28\xb5\x2f\xfd"sv) || IsSkippableFrame(begin)) return Packing::kZstd;
  const std::string_view unread = UnreadKind(begin);
  if (unread.empty()) return Packing::kPlain;
  return InvalidArgument("'" + file.path() + "' is " + std::string(unread) +
                         ", which is not read: allowed are plain files, gzip and zstd");
}

Result<std::unique_ptr<ByteStream>> ByteStream::Open(const std::string& path) {
  PENSTOCK_ASSIGN_OR_RETURN(FileReader file, FileReader::Open(path));
  PENSTOCK_ASSIGN_OR_RETURN(const Packing packing, PackingOf(file));
  switch (packing) {
    case Packing::kGzip:
      return std::unique_ptr<ByteStream>(std::make_unique<GzipStream>(std::move(file)));
    case Packing::kZstd:
      return std::unique_ptr<ByteStream>(std::make_unique<ZstdStream>(std::move(file)));
    case Packing::kPlain:
      break;
  }
  return std::unique_ptr<ByteStream>(std::make_unique<PlainStream>(std::move(file)));
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
