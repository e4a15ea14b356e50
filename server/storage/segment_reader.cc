// Buffered reading of a segment, the search for the next whole record, and the saving of sections whose
// record's head is lost.
#include "server/storage/segment_reader.h"

#include <algorithm>
#include <cstring>

#include "common/base/crc32c.h"

namespace penstock {
namespace {

constexpr uint64_t kBufferBytes = uint64_t{4} << 20;

Record Locate(const RecordHead& head, const SectionHead* table) {
  Record record{.head = head, .sections = {table, table + head.sections}, .delta_offsets = {}};
  uint64_t offset = head.place.offset + sizeof(RecordHead) + head.sections * sizeof(SectionHead);
  for (const SectionHead& section : record.sections) {
    record.delta_offsets.push_back(offset + sizeof(SectionHead));
    offset += sizeof(SectionHead) + section.bytes();
  }
  return record;
}

}  // namespace

SegmentReader::SegmentReader(std::string path, uint64_t number, std::unique_ptr<File> file, uint64_t end)
    : path_(std::move(path)), number_(number), file_(std::move(file)), end_(end) {}

Result<std::unique_ptr<SegmentReader>> SegmentReader::Open(FileLayer& files, const std::string& dir,
                                                           const SegmentName& name, uint64_t end) {
  std::string path = dir + "/" + SegmentFileName(name.number, name.aside);
  PENSTOCK_ASSIGN_OR_RETURN(auto file, files.Open(path));
  PENSTOCK_ASSIGN_OR_RETURN(const uint64_t size, file->Size());
  std::unique_ptr<SegmentReader> reader(
      new SegmentReader(std::move(path), name.number, std::move(file), std::min(size, end)));
  PENSTOCK_RETURN_IF_ERROR(reader->ReadHeader());
  return reader;
}

Status SegmentReader::ReadHeader() {
  SegmentHeader header;
  if (end_ < sizeof(header)) return Status::Ok();
  PENSTOCK_ASSIGN_OR_RETURN(const size_t n, file_->Read(&header, sizeof(header), 0));
  if (n == sizeof(header) && IsValid(header, number_)) {
    header_ = header;
    use_ = header.use;
    return Status::Ok();
  }
  // What was written first into a file is of its latest use.
  PENSTOCK_ASSIGN_OR_RETURN(const std::optional<Record> first, ReadHeadOfAnyUse(sizeof(header)));
  if (first) use_ = first->head.use;
  return Status::Ok();
}

Result<const std::byte*> SegmentReader::At(uint64_t offset, uint64_t size) {
  if (offset < buffer_offset_ || offset + size > buffer_offset_ + buffer_bytes_) {
    const uint64_t want = std::min(std::max(size, kBufferBytes), (end_ & ~uint64_t{7}) - offset);
    uint64_t kept = 0;  // of what is in the buffer
    if (buffer_.size() * sizeof(capnp::word) < want) {
      buffer_ = nullptr;  // never both at once
      buffer_ = kj::heapArray<capnp::word>(want / sizeof(capnp::word));
    } else if (offset >= buffer_offset_ && offset < buffer_offset_ + buffer_bytes_) {
      kept = buffer_offset_ + buffer_bytes_ - offset;
      std::memmove(buffer_.begin(), buffer_.asBytes().begin() + (offset - buffer_offset_), kept);
    }
    buffer_bytes_ = 0;
    PENSTOCK_ASSIGN_OR_RETURN(const size_t n,
                              file_->Read(buffer_.asBytes().begin() + kept, want - kept, offset + kept));
    buffer_offset_ = offset;
    buffer_bytes_ = kept + n;
    if (buffer_bytes_ < size)
      return Internal("read " + path_ + ": it has become shorter than " + std::to_string(offset + size));
  }
  return reinterpret_cast<const std::byte*>(buffer_.begin()) + (offset - buffer_offset_);
}

Result<std::optional<Record>> SegmentReader::ReadHead(uint64_t offset) {
  if (!use_) return std::optional<Record>();
  PENSTOCK_ASSIGN_OR_RETURN(std::optional<Record> record, ReadHeadOfAnyUse(offset));
  if (record && record->head.use != *use_) record.reset();
  return record;
}

Result<std::optional<Record>> SegmentReader::ReadHeadOfAnyUse(uint64_t offset) {
  const std::optional<Record> none;
  if (offset % 8 != 0 || offset + sizeof(RecordHead) > end_) return none;
  PENSTOCK_ASSIGN_OR_RETURN(const std::byte* bytes, At(offset, sizeof(RecordHead)));
  RecordHead head;
  std::memcpy(&head, bytes, sizeof(head));
  if (!IsPlausible(head, {number_, offset}, end_ - offset)) return none;
  // A whole small record in the buffer saves reading its sections one by one.
  const uint64_t head_bytes = sizeof(head) + head.sections * sizeof(SectionHead);
  PENSTOCK_ASSIGN_OR_RETURN(bytes, At(offset, std::max(head_bytes, std::min(head.bytes, kBufferBytes))));
  const auto* table = reinterpret_cast<const SectionHead*>(bytes + sizeof(head));
  if (!HasRightChecksum(head, table)) return none;
  return std::optional<Record>(Locate(head, table));
}

Result<std::optional<Record>> SegmentReader::FindHead(uint64_t offset) {
  offset = (offset + 7) & ~uint64_t{7};
  while (offset + sizeof(RecordHead) <= end_) {
    const uint64_t size = std::min(kBufferBytes / 4, (end_ & ~uint64_t{7}) - offset);
    PENSTOCK_ASSIGN_OR_RETURN(const std::byte* bytes, At(offset, size));
    uint64_t at = 0;
    uint32_t magic = 0;
    for (; at < size; at += 8) {
      std::memcpy(&magic, bytes + at, sizeof(magic));
      if (magic == RecordHead::kMagic) break;
    }
    offset += at;
    if (at == size) continue;
    PENSTOCK_ASSIGN_OR_RETURN(std::optional<Record> record, ReadHead(offset));
    if (record) return record;
    offset += 8;
  }
  return std::optional<Record>();
}

Result<std::optional<kj::ArrayPtr<const capnp::word>>> SegmentReader::ReadDelta(const Record& record,
                                                                                size_t section) {
  const SectionHead& head = record.sections[section];
  return ReadDelta(record.delta_offsets[section], head.words, head.checksum);
}

Result<std::optional<kj::ArrayPtr<const capnp::word>>> SegmentReader::ReadDelta(uint64_t offset,
                                                                                uint32_t words,
                                                                                uint32_t checksum) {
  const std::optional<kj::ArrayPtr<const capnp::word>> none;
  const uint64_t size = uint64_t{words} * sizeof(capnp::word);
  if (offset > end_ || size > end_ - offset) return none;
  PENSTOCK_ASSIGN_OR_RETURN(const std::byte* bytes, At(offset, size));
  if (Crc32c(0, bytes, size) != checksum) return none;
  return std::optional(kj::arrayPtr(reinterpret_cast<const capnp::word*>(bytes), words));
}

Result<std::vector<size_t>> SegmentReader::BadSections(const Record& record) {
  std::vector<size_t> bad;
  for (size_t i = 0; i < record.sections.size(); ++i) {
    PENSTOCK_ASSIGN_OR_RETURN(const auto delta, ReadDelta(record, i));
    if (!delta) bad.push_back(i);
  }
  return bad;
}

Result<SegmentReader::Salvage> SegmentReader::SalvageSections(uint64_t begin, uint64_t end) {
  Salvage saved;
  saved.record.head.place = {number_, begin};
  saved.record.head.bytes = end - begin;
  uint64_t first = 0, expected = 0;  // where the first section began, and where the next one should
  bool gapless = true;
  for (uint64_t offset = begin; offset + sizeof(SectionHead) < end;) {
    PENSTOCK_ASSIGN_OR_RETURN(const std::byte* bytes, At(offset, sizeof(SectionHead)));
    SectionHead head;
    std::memcpy(&head, bytes, sizeof(head));
    const uint64_t section_bytes = sizeof(head) + head.bytes();
    const uint64_t delta_offset = offset + sizeof(head);
    offset += 8;
    if (!use_ || !IsValid(head, *use_) || section_bytes > end - (delta_offset - sizeof(head))) continue;
    PENSTOCK_ASSIGN_OR_RETURN(bytes, At(delta_offset, head.bytes()));
    if (Crc32c(0, bytes, head.bytes()) != head.checksum) continue;
    if (saved.record.sections.empty()) {
      first = expected = delta_offset - sizeof(head);
    }
    gapless &= expected == delta_offset - sizeof(head);
    saved.record.sections.push_back(head);
    saved.record.delta_offsets.push_back(delta_offset);
    offset = expected = delta_offset + head.bytes();
  }
  const uint64_t count = saved.record.sections.size();
  saved.record.head.sections = static_cast<uint32_t>(count);
  saved.complete = count > 0 && gapless && expected == end &&
                   first == begin + sizeof(RecordHead) + count * sizeof(SectionHead);
  return saved;
}

namespace {

// The sections of a record, but those with a wrong checksum; false: there were such.
Result<bool> VisitSections(SegmentReader& reader, const Record& record, const DeltaVisitor& visit) {
  bool right = true;
  for (size_t i = 0; i < record.sections.size(); ++i) {
    PENSTOCK_ASSIGN_OR_RETURN(const auto delta, reader.ReadDelta(record, i));
    right &= delta.has_value();
    if (!delta) continue;
    PENSTOCK_RETURN_IF_ERROR(visit({.shard = record.sections[i].shard,
                                    .incarnation = record.sections[i].incarnation,
                                    .words = *delta,
                                    .checksum = record.sections[i].checksum,
                                    .offset = record.delta_offsets[i]}));
  }
  return right;
}

Status BadRecord(const SegmentReader& reader, uint64_t offset) {
  return DataLoss(reader.path() + ": bad record at " + std::to_string(offset));
}

}  // namespace

Status ForEachDelta(FileLayer& files, const std::string& dir, const SegmentInfo& info,
                    const DeltaVisitor& visit) {
  PENSTOCK_ASSIGN_OR_RETURN(auto reader,
                            SegmentReader::Open(files, dir, {info.number, info.aside}, info.bytes));
  uint64_t offset = sizeof(SegmentHeader);
  while (offset < info.bytes) {
    PENSTOCK_ASSIGN_OR_RETURN(std::optional<Record> record, reader->ReadHead(offset));
    bool whole = record.has_value();
    const bool sure = offset < info.trusted && !info.damaged;
    if (whole && !sure) {
      PENSTOCK_ASSIGN_OR_RETURN(const std::vector<size_t> bad, reader->BadSections(*record));
      whole = bad.empty();
    }
    if (!whole && sure) return BadRecord(*reader, offset);
    if (!whole && offset >= info.trusted) return Status::Ok();
    if (!record) {
      PENSTOCK_ASSIGN_OR_RETURN(const std::optional<Record> next, reader->FindHead(offset + 8));
      const uint64_t end = next ? next->head.place.offset : reader->end();
      if (end <= offset) return Status::Ok();
      PENSTOCK_ASSIGN_OR_RETURN(SegmentReader::Salvage saved, reader->SalvageSections(offset, end));
      record = std::move(saved.record);
    }
    // What is sure to be right is read once.
    PENSTOCK_ASSIGN_OR_RETURN(const bool right, VisitSections(*reader, *record, visit));
    if (!right && sure) return BadRecord(*reader, offset);
    offset = record->end();
  }
  return Status::Ok();
}

}  // namespace penstock
