#include "worker/data/text_dataset.h"

#include <algorithm>
#include <cstring>
#include <string_view>

#include "worker/data/record_end.h"

namespace penstock {
namespace {

constexpr size_t kPiece = 4 << 20;
constexpr size_t kFirstPiece = 64 << 10;
constexpr size_t kMessagesKept = 10;
constexpr std::string_view kByteOrderMark = "\xef\xbb\xbf";

// The stream in pieces of whole records.
class RecordStream {
 public:
  RecordStream(ByteStream* bytes, size_t piece, char delimiter)
      : bytes_(bytes), buffer_(piece), delimiter_(delimiter) {}

  // The next record, ended by '\n' (which is put there if the file does not end with one). nullptr: no more.
  // The text stays where it is until the next call.
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
      RETURN_IF_ERROR(Refill());
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
    if (have_ + 1 >= buffer_.size()) buffer_.resize(buffer_.size() * 2);
    const size_t room = buffer_.size() - have_ - 1;  // one is for the missing line end
    ASSIGN_OR_RETURN(const size_t read, bytes_->Read(buffer_.data() + have_, room));
    have_ += read;
    complete_ = read < room;
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
  bool complete_ = false, completed_line_ = false;
};

}  // namespace

Result<std::unique_ptr<Dataset>> TextDataset::Open(std::vector<std::string> paths,
                                                   std::unique_ptr<TextFormat> format,
                                                   const DatasetOptions& options) {
  std::unique_ptr<TextDataset> dataset(new TextDataset(std::move(paths), std::move(format), options));
  for (const std::string& path : dataset->paths_) RETURN_IF_ERROR(dataset->OpenFile(path));
  return std::unique_ptr<Dataset>(std::move(dataset));
}

Status TextDataset::OpenFile(const std::string& path) {
  File file;
  {
    ASSIGN_OR_RETURN(const FileReader reader, FileReader::Open(path));
    file.size = reader.size();
    ASSIGN_OR_RETURN(file.packing, PackingOf(reader));
  }
  ASSIGN_OR_RETURN(const auto stream, ByteStream::Open(path));
  RETURN_IF_ERROR(ReadBegin(stream.get(), path, &file));
  files_.push_back(file);
  return Status::Ok();
}

Status TextDataset::ReadBegin(ByteStream* stream, const std::string& path, File* file) const {
  if (!format_->may_have_header()) {
    char mark[kByteOrderMark.size()];
    ASSIGN_OR_RETURN(const size_t read, stream->Read(mark, sizeof(mark)));
    if (std::string_view(mark, read) == kByteOrderMark) file->data_begin = kByteOrderMark.size();
    return Status::Ok();
  }
  RecordStream records(stream, kFirstPiece, format_->quoted_delimiter());
  const char* end = nullptr;
  ASSIGN_OR_RETURN(const char* begin, records.Next(&end));
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
  for (size_t i = 0; i < files_.size(); ++i) RETURN_IF_ERROR(IndexFile(i, &index));
  return index;
}

Status TextDataset::IndexFile(size_t number, DataIndex* index) const {
  const File& file = files_[number];
  ASSIGN_OR_RETURN(const auto stream, ByteStream::Open(paths_[number]));
  RETURN_IF_ERROR(stream->Skip(file.data_begin));
  index->BeginFile(file.data_begin, file.size, file.packing == Packing::kPlain);
  const size_t piece = std::clamp<uint64_t>(file.size + 2, 4096, kPiece);  // small files are many
  RecordStream records(stream.get(), piece, format_->quoted_delimiter());
  const char* end = nullptr;
  while (true) {
    ASSIGN_OR_RETURN(const char* record, records.Next(&end));
    if (record == nullptr) return Status::Ok();
    index->AddRecord(file.data_begin + records.offset(), !IsEmpty(record));
  }
}

Result<TextDataset::Text> TextDataset::ReadText(PartitionRange range) const {
  if (range.file >= files_.size()) {
    return InvalidArgument("a partition of file " + std::to_string(range.file) + " of " +
                           std::to_string(files_.size()));
  }
  Text text;
  range.begin = std::max(range.begin, files_[range.file].data_begin);
  if (files_[range.file].packing == Packing::kPlain) range.end = std::min(range.end, files_[range.file].size);
  if (range.begin >= range.end) return text;
  const uint64_t size = range.end - range.begin;
  text.bytes.reset(new char[size + 1 + kTextSlack]);
  std::memset(text.bytes.get() + size, 0, 1 + kTextSlack);
  if (files_[range.file].packing == Packing::kPlain) {
    ASSIGN_OR_RETURN(const FileReader file, FileReader::Open(paths_[range.file]));
    ASSIGN_OR_RETURN(text.size, file.Read(range.begin, size, text.bytes.get()));
  } else {
    ASSIGN_OR_RETURN(const auto stream, ByteStream::Open(paths_[range.file]));
    RETURN_IF_ERROR(stream->Skip(range.begin));
    ASSIGN_OR_RETURN(text.size, stream->Read(text.bytes.get(), size));
  }
  if (text.size > 0 && text.bytes[text.size - 1] != '\n') text.bytes[text.size++] = '\n';
  return text;
}

Result<uint64_t> TextDataset::LineNumber(uint32_t file, uint64_t offset) const {
  ASSIGN_OR_RETURN(const auto stream, ByteStream::Open(paths_[file]));
  std::vector<char> buffer(std::min<uint64_t>(offset, kPiece));
  uint64_t line = 1;
  while (offset > 0) {
    ASSIGN_OR_RETURN(const size_t read,
                     stream->Read(buffer.data(), std::min<uint64_t>(buffer.size(), offset)));
    if (read == 0) break;
    line += static_cast<uint64_t>(std::count(buffer.data(), buffer.data() + read, '\n'));
    offset -= read;
  }
  return line;
}

Result<Examples> TextDataset::ReadPartition(PartitionRange range) const {
  ASSIGN_OR_RETURN(const Text text, ReadText(range));
  Examples examples;
  if (text.size == 0) return examples;
  const auto parser = format_->NewParser();
  parser->Reserve(text.size, &examples);
  const char delimiter = format_->quoted_delimiter();
  const char* const begin = text.bytes.get();
  const char* const end = begin + text.size;
  const char* counted_to = nullptr;  // lines are counted only once something is wrong
  uint64_t line_number = 0, index = range.first_record;
  for (const char* line = begin; line < end; ++index) {
    const char* const stop = RecordEnd(line, end, /*complete=*/true, delimiter);
    if (options_.holdout.Takes(index) &&
        parser->ParseLine(line, stop, &examples) == RecordParser::Outcome::kMalformed) {
      ++examples.bad_records;
      if (examples.bad_records <= kMessagesKept || examples.bad_records > options_.max_bad_records) {
        if (counted_to == nullptr) {
          ASSIGN_OR_RETURN(line_number,
                           LineNumber(range.file, std::max(range.begin, files_[range.file].data_begin)));
          counted_to = begin;
        }
        line_number += static_cast<uint64_t>(std::count(counted_to, line, '\n'));
        counted_to = line;
        std::string message = paths_[range.file] + ":" + std::to_string(line_number) + ": " + parser->error();
        if (examples.bad_records > options_.max_bad_records) return InvalidArgument(std::move(message));
        examples.bad_messages.push_back(std::move(message));
      }
    }
    line = stop + 1;
  }
  return examples;
}

}  // namespace penstock
