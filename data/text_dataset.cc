#include "data/text_dataset.h"

#include <algorithm>
#include <cstring>
#include <string_view>

#include "data/record_end.h"

namespace penstock {
namespace {

constexpr size_t kPiece = 4 << 20;
constexpr size_t kFirstPiece = 64 << 10;
// Text that is parsed stays in the cache, and the memory for it is not new to the process.
constexpr size_t kParsedPiece = 256 << 10;
constexpr std::string_view kByteOrderMark = "\xef\xbb\xbf";

// The stream in pieces of whole records.
class RecordStream {
 public:
  // Of the next `limit` bytes of the stream.
  RecordStream(ByteStream* bytes, size_t piece, char delimiter, uint64_t limit = UINT64_MAX)
      : bytes_(bytes), buffer_(piece + kTextSlack), delimiter_(delimiter), left_(limit) {}

  // The next record, ended by '\n' (which is put there if the file does not end with one). nullptr: no more.
  // The text stays where it is until the next call, and kTextSlack bytes behind its end can be read.
  Result<const char*> Next(const char** end) {
    while (true) {
      if (at_ < have_) {
        const char* const begin = buffer_.data() + at_;
        *end = RecordEnd(begin, buffer_.data() + have_, complete_, delimiter_);
        if (*end != nullptr) {
          at_ = static_cast<size_t>(*end - buffer_.data()) + 1;
          return begin;
        }
      }
      if (complete_) return nullptr;
      PENSTOCK_RETURN_IF_ERROR(Refill());
    }
  }
  void Skip(size_t size) { at_ += size; }
  // Of the end of the last record in the unpacked file.
  uint64_t offset() const { return base_ + at_ - (completed_line_ && at_ == have_ ? 1 : 0); }

 private:
  Status Refill() {
    std::memmove(buffer_.data(), buffer_.data() + at_, have_ - at_);
    base_ += at_;
    have_ -= at_;
    at_ = 0;
    constexpr size_t kBehind = 1 + kTextSlack;  // one is for the missing line end
    if (have_ + kBehind >= buffer_.size()) buffer_.resize(buffer_.size() * 2);
    const size_t room = std::min<uint64_t>(buffer_.size() - have_ - kBehind, left_);
    PENSTOCK_ASSIGN_OR_RETURN(const size_t read, bytes_->Read(buffer_.data() + have_, room));
    have_ += read;
    left_ -= read;
    complete_ = read < room || left_ == 0;
    if (complete_ && have_ > 0 && buffer_[have_ - 1] != '\n') {
      buffer_[have_++] = '\n';
      completed_line_ = true;
    }
    return Status::Ok();
  }

  ByteStream* const bytes_;
  std::vector<char> buffer_;
  const char delimiter_;
  size_t at_ = 0, have_ = 0;
  uint64_t base_ = 0;  // offset of buffer_[0]
  uint64_t left_;      // of the stream
  bool complete_ = false, completed_line_ = false;
};

}  // namespace

Result<std::unique_ptr<Dataset>> TextDataset::Open(std::vector<std::string> paths,
                                                   std::unique_ptr<TextFormat> format,
                                                   const DatasetOptions& options) {
  std::unique_ptr<TextDataset> dataset(new TextDataset(std::move(paths), std::move(format), options));
  for (const std::string& path : dataset->paths_) PENSTOCK_RETURN_IF_ERROR(dataset->OpenFile(path));
  return std::unique_ptr<Dataset>(std::move(dataset));
}

Status TextDataset::OpenFile(const std::string& path) {
  File file;
  {
    PENSTOCK_ASSIGN_OR_RETURN(const FileReader reader, FileReader::Open(path));
    file.size = reader.size();
    PENSTOCK_ASSIGN_OR_RETURN(file.packing, PackingOf(reader));
  }
  PENSTOCK_ASSIGN_OR_RETURN(const auto stream, ByteStream::Open(path));
  PENSTOCK_RETURN_IF_ERROR(ReadBegin(stream.get(), path, &file));
  files_.push_back(file);
  return Status::Ok();
}

Status TextDataset::ReadBegin(ByteStream* stream, const std::string& path, File* file) const {
  if (!format_->may_have_header()) {
    char mark[kByteOrderMark.size()];
    PENSTOCK_ASSIGN_OR_RETURN(const size_t read, stream->Read(mark, sizeof(mark)));
    if (std::string_view(mark, read) == kByteOrderMark) file->data_begin = kByteOrderMark.size();
    return Status::Ok();
  }
  RecordStream records(stream, kFirstPiece, format_->quoted_delimiter());
  const char* end = nullptr;
  PENSTOCK_ASSIGN_OR_RETURN(const char* begin, records.Next(&end));
  if (begin == nullptr) return Status::Ok();
  std::string_view first(begin, static_cast<size_t>(end - begin));
  if (first.starts_with(kByteOrderMark)) {
    first.remove_prefix(kByteOrderMark.size());
    file->data_begin = kByteOrderMark.size();
  }
  if (first.ends_with('\r')) first.remove_suffix(1);
  const auto is_header = format_->HasHeader(first);
  if (!is_header.ok()) return is_header.status().Prepend(path + ":1");
  if (!*is_header) return Status::Ok();
  file->data_begin = records.offset();
  return Status::Ok();
}

uint64_t TextDataset::size_bytes() const {
  uint64_t sum = 0;
  for (const File& file : files_) sum += file.size;
  return sum;
}

bool TextDataset::IsEmpty(const char* record) const {
  if (IsBlank(record)) return true;
  if (!format_->comments()) return false;
  while (*record == ' ' || *record == '\t' || *record == '\r') ++record;
  return *record == '#';
}

Result<DataIndex> TextDataset::Index() const {
  DataIndex index(options_.holdout);
  for (size_t i = 0; i < files_.size(); ++i) PENSTOCK_RETURN_IF_ERROR(IndexFile(i, &index));
  return index;
}

Status TextDataset::IndexFile(size_t number, DataIndex* index) const {
  const File& file = files_[number];
  PENSTOCK_ASSIGN_OR_RETURN(const FileIdentity before, CheckSame(number));
  PENSTOCK_ASSIGN_OR_RETURN(const auto stream, ByteStream::Open(paths_[number]));
  PENSTOCK_RETURN_IF_ERROR(stream->Skip(file.data_begin));
  index->BeginFile(file.data_begin, file.size, file.packing == Packing::kPlain);
  const size_t piece = std::clamp<uint64_t>(file.size + 2, 4096, kPiece);  // small files are many
  RecordStream records(stream.get(), piece, format_->quoted_delimiter());
  const char* end = nullptr;
  while (true) {
    PENSTOCK_ASSIGN_OR_RETURN(const char* record, records.Next(&end));
    if (record == nullptr) break;
    index->AddRecord(file.data_begin + records.offset(), !IsEmpty(record));
  }
  PENSTOCK_ASSIGN_OR_RETURN(const FileIdentity after, CheckSame(number));
  if (after == before) return Status::Ok();
  return FailedPrecondition("'" + paths_[number] + "' was written to while it was read");
}

Result<uint64_t> TextDataset::CountLineEnds(uint32_t file, uint64_t begin, uint64_t end) const {
  PENSTOCK_ASSIGN_OR_RETURN(const auto stream, ByteStream::Open(paths_[file]));
  PENSTOCK_RETURN_IF_ERROR(stream->Skip(begin));
  std::vector<char> buffer(std::min<uint64_t>(end - begin, kPiece));
  uint64_t count = 0;
  while (begin < end) {
    PENSTOCK_ASSIGN_OR_RETURN(const size_t read,
                              stream->Read(buffer.data(), std::min<uint64_t>(buffer.size(), end - begin)));
    if (read == 0) break;
    count += static_cast<uint64_t>(std::count(buffer.data(), buffer.data() + read, '\n'));
    begin += read;
  }
  return count;
}

Result<Examples> TextDataset::Read(PartitionRange range) const {
  const File& file = files_[range.file];
  range.begin = std::max(range.begin, file.data_begin);
  if (file.packing == Packing::kPlain) range.end = std::min(range.end, file.size);
  Examples examples;
  if (range.begin >= range.end) return examples;
  const uint64_t size = range.end - range.begin;
  PENSTOCK_ASSIGN_OR_RETURN(const auto stream, ByteStream::Open(paths_[range.file]));
  PENSTOCK_RETURN_IF_ERROR(stream->Skip(range.begin));
  RecordStream records(stream.get(), std::min<uint64_t>(size + 2, kParsedPiece), format_->quoted_delimiter(),
                       size);
  const auto parser = format_->NewParser();
  parser->Reserve(size, &examples);
  uint64_t counted_to = 0, line_ends = 0;  // lines are counted only once something is wrong
  for (uint64_t index = range.first_record;; ++index) {
    const uint64_t offset = range.begin + records.offset();
    const char* end = nullptr;
    PENSTOCK_ASSIGN_OR_RETURN(const char* const record, records.Next(&end));
    if (record == nullptr) return examples;
    if (!options_.holdout.Takes(index) ||
        parser->ParseLine(record, end, &examples) != RecordParser::Outcome::kMalformed) {
      continue;
    }
    ++examples.bad_records;
    const bool too_many = examples.bad_records > options_.max_bad_records;
    if (examples.bad_records > Examples::kMessagesKept && !too_many) continue;
    PENSTOCK_ASSIGN_OR_RETURN(const uint64_t more, CountLineEnds(range.file, counted_to, offset));
    counted_to = offset;
    line_ends += more;
    std::string message = paths_[range.file] + ":" + std::to_string(line_ends + 1) + ": " + parser->error();
    if (too_many) return InvalidArgument(std::move(message));
    examples.bad_messages.push_back(std::move(message));
  }
}

}  // namespace penstock
