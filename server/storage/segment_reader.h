// SegmentReader: reads one segment file of the delta log through a bounded buffer and says which records are
// whole.
//
// Used by replay (which decides what a bad record means) and, through ForEachDelta, by the fold. Not
// thread-safe; pointers it hands out are good until the next call. Memory: 4 MiB, or the largest section if
// that is larger.
#pragma once

#include <capnp/message.h>
#include <kj/array.h>

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "common/base/status.h"
#include "server/storage/file_layer.h"
#include "server/storage/segment_format.h"

namespace penstock {

struct Record {
  RecordHead head;
  std::vector<SectionHead> sections;
  std::vector<uint64_t> delta_offsets;  // of each section's words in the file
  uint64_t end() const { return head.place.offset + head.bytes; }
};

class SegmentReader {
 public:
  // `end`: nothing behind it is looked at. NotFound when there is no such file.
  static Result<std::unique_ptr<SegmentReader>> Open(FileLayer& files, const std::string& dir,
                                                     const SegmentName& name, uint64_t end = UINT64_MAX);

  // nullptr when the header is torn or damaged.
  const SegmentHeader* header() const { return header_ ? &*header_ : nullptr; }
  // The file's size or the limit given to Open, whichever is less.
  uint64_t end() const { return end_; }
  const std::string& path() const { return path_; }
  File& file() { return *file_; }

  // The record whose head stands at `offset`; nullopt when there is none that is right. The deltas are not
  // checked.
  Result<std::optional<Record>> ReadHead(uint64_t offset);
  // The first record with a right head from `offset` on.
  Result<std::optional<Record>> FindHead(uint64_t offset);
  // The section's delta; nullopt when its checksum is wrong.
  Result<std::optional<kj::ArrayPtr<const capnp::word>>> ReadDelta(const Record& record, size_t section);
  // The `words` at `offset`, which a delta was read from before; nullopt when the file has not so many there,
  // or their checksum is another one.
  Result<std::optional<kj::ArrayPtr<const capnp::word>>> ReadDelta(uint64_t offset, uint32_t words,
                                                                   uint32_t checksum);
  // Which sections' deltas have a wrong checksum.
  Result<std::vector<size_t>> BadSections(const Record& record);

  // What can be saved of [begin, end), where no head is right: the sections whose own head and delta are.
  // `complete`: they are all that was there, only the record's head is lost.
  struct Salvage {
    Record record;
    bool complete = false;
  };
  Result<Salvage> SalvageSections(uint64_t begin, uint64_t end);

 private:
  SegmentReader(std::string path, uint64_t number, std::unique_ptr<File> file, uint64_t end);
  // `size` bytes of the file at `offset`, both multiples of 8, within end_ rounded down to 8.
  Result<const std::byte*> At(uint64_t offset, uint64_t size);
  Status ReadHeader();
  Result<std::optional<Record>> ReadHeadOfAnyUse(uint64_t offset);

  const std::string path_;
  const uint64_t number_;
  std::unique_ptr<File> file_;
  uint64_t end_ = 0;
  std::optional<SegmentHeader> header_;
  std::optional<uint32_t> use_;  // of the file; nullopt: neither a header nor a first record says it
  kj::Array<capnp::word> buffer_;
  uint64_t buffer_offset_ = 0;
  uint64_t buffer_bytes_ = 0;
};

struct LoggedDelta {
  ShardId shard = 0;
  Incarnation incarnation = 0;
  kj::ArrayPtr<const capnp::word> words;  // good during the call
  uint32_t checksum = 0;                  // of the words
  uint64_t offset = 0;                    // of the words in the file
};
// For its message: it passed its checksum, and is as large as its window was.
inline capnp::ReaderOptions DeltaReaderOptions() {
  capnp::ReaderOptions options;
  options.traversalLimitInWords = kj::maxValue;
  return options;
}
using DeltaVisitor = std::function<Status(const LoggedDelta&)>;

// Every delta of a segment in the order of the log, of all shards. Stops
// at the visitor's first error. DataLoss, naming file and offset, at a bad record before info.trusted (good
// deltas of it may have been visited), unless info.damaged: then it goes on behind it. Which of a shard's
// deltas count is for DeltaChain to say.
Status ForEachDelta(FileLayer& files, const std::string& dir, const SegmentInfo& info,
                    const DeltaVisitor& visit);

}  // namespace penstock
