#include "worker/data/libsvm.h"

#include <algorithm>
#include <cstring>

#include "worker/data/libsvm_parser.h"

namespace penstock {
namespace {

constexpr size_t kPiece = 1 << 20;
constexpr size_t kMore = 64 << 10;  // read at a time beyond a range, to the end of its last line
constexpr size_t kMessagesKept = 10;
// The shortest nonzero is " 1:1": vectors of a quarter of the text never grow while it is parsed. What is not
// used of them is not touched either, so it costs address space only.
constexpr size_t kBytesPerNonzero = 4;

// Counts the lines that hold anything but blanks and comments, over pieces of a file that may cut lines
// anywhere.
class RecordCounter {
 public:
  void Add(const char* p, const char* end) {
    while (p < end) {
      if (!decided_) {
        while (p < end && (*p == ' ' || *p == '\t' || *p == '\r')) ++p;
        if (p == end) return;
        if (*p == '\n') {
          ++p;
          continue;
        }
        records_ += *p != '#';
        decided_ = true;
      }
      p = static_cast<const char*>(std::memchr(p, '\n', static_cast<size_t>(end - p)));
      if (p == nullptr) return;
      ++p;
      decided_ = false;
    }
  }
  uint64_t records() const { return records_; }

 private:
  bool decided_ = false;  // the current line was counted or seen to be a comment
  uint64_t records_ = 0;
};

}  // namespace

Result<std::unique_ptr<Dataset>> LibsvmDataset::Open(const std::string& path, const DatasetOptions& options) {
  ASSIGN_OR_RETURN(FileReader file, FileReader::Open(path));
  return std::unique_ptr<Dataset>(std::make_unique<LibsvmDataset>(std::move(file), options));
}

LibsvmDataset::LibsvmDataset(FileReader file, const DatasetOptions& options)
    : Dataset({file.path()}), file_(std::move(file)), options_(options) {}

Result<uint64_t> LibsvmDataset::CountRecords() const {
  std::vector<char> buffer(kPiece);
  RecordCounter counter;
  for (uint64_t at = 0; at < file_.size();) {
    ASSIGN_OR_RETURN(size_t size, file_.Read(at, buffer.size(), buffer.data()));
    if (size == 0) break;
    counter.Add(buffer.data(), buffer.data() + size);
    at += size;
  }
  return counter.records();
}

Result<uint64_t> LibsvmDataset::CountLines(uint64_t end) const {
  std::vector<char> buffer(kPiece);
  uint64_t lines = 0;
  for (uint64_t at = 0; at < end;) {
    ASSIGN_OR_RETURN(size_t size, file_.Read(at, std::min<uint64_t>(buffer.size(), end - at), buffer.data()));
    if (size == 0) break;
    lines += static_cast<uint64_t>(std::count(buffer.data(), buffer.data() + size, '\n'));
    at += size;
  }
  return lines;
}

Result<LibsvmDataset::Text> LibsvmDataset::ReadLines(PartitionRange range) const {
  Text text;
  range.end = std::min(range.end, file_.size());
  if (range.begin >= range.end) return text;
  // One byte more in front tells whether a line begins at range.begin.
  const uint64_t from = range.begin == 0 ? 0 : range.begin - 1;
  text.bytes.reserve(range.end - from + kMore + 1);  // enough, unless the last line is very long
  text.bytes.resize(range.end - from);
  ASSIGN_OR_RETURN(size_t size, file_.Read(from, range.end - from, text.bytes.data()));
  size_t skip = 0;
  if (range.begin > 0) {
    const void* newline = std::memchr(text.bytes.data(), '\n', size);
    skip = newline == nullptr
               ? size
               : static_cast<size_t>(static_cast<const char*>(newline) - text.bytes.data()) + 1;
  }
  if (skip >= range.end - from || skip >= size) return Text();  // no line begins here
  text.offset = from;
  // The last line may go on beyond the range.
  while (size > 0 && text.bytes[size - 1] != '\n') {
    text.bytes.resize(size + kMore + 1);
    ASSIGN_OR_RETURN(size_t more, file_.Read(from + size, kMore, text.bytes.data() + size));
    if (more == 0) {
      text.bytes[size++] = '\n';  // the file does not end with one
      break;
    }
    const void* newline = std::memchr(text.bytes.data() + size, '\n', more);
    size = newline == nullptr
               ? size + more
               : static_cast<size_t>(static_cast<const char*>(newline) - text.bytes.data()) + 1;
  }
  text.bytes.resize(size);
  text.bytes.erase(text.bytes.begin(), text.bytes.begin() + static_cast<ptrdiff_t>(skip));
  text.offset += skip;
  return text;
}

Result<Examples> LibsvmDataset::ReadPartition(PartitionRange range) const {
  ASSIGN_OR_RETURN(Text text, ReadLines(range));
  Examples examples;
  examples.ids.reserve(text.bytes.size() / kBytesPerNonzero + 1);
  examples.values.reserve(text.bytes.size() / kBytesPerNonzero + 1);
  LibsvmParser parser(options_);
  const char* const begin = text.bytes.data();
  const char* const end = begin + text.bytes.size();
  const char* counted_to = nullptr;  // lines are counted only once something is wrong
  uint64_t line_number = 0;
  for (const char* line = begin; line < end;) {
    const auto* newline = static_cast<const char*>(std::memchr(line, '\n', static_cast<size_t>(end - line)));
    if (parser.ParseLine(line, newline, &examples) == LibsvmParser::Outcome::kMalformed) {
      ++examples.bad_records;
      if (examples.bad_records <= kMessagesKept || examples.bad_records > options_.max_bad_records) {
        if (counted_to == nullptr) {
          ASSIGN_OR_RETURN(line_number, CountLines(text.offset));
          counted_to = begin;
        }
        line_number += static_cast<uint64_t>(std::count(counted_to, line, '\n'));
        counted_to = line;
        std::string message = file_.path() + ":" + std::to_string(line_number + 1) + ": " + parser.error();
        if (examples.bad_records > options_.max_bad_records) return InvalidArgument(std::move(message));
        examples.bad_messages.push_back(std::move(message));
      }
    }
    line = newline + 1;
  }
  return examples;
}

}  // namespace penstock
