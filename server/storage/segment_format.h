// What a segment file of the delta log looks like, byte by byte, and what is known of a segment.
//
//   segment  DIR/log-<20 digits>.seg: SegmentHeader, then records without gaps. All integers little-endian,
//   all parts 8-byte aligned. record   RecordHead, SectionHead[sections], then per section its SectionHead
//   once more and the delta's words.
//
// A record is what one core's commit window brought; a section is one shard's delta, a flat Cap'n Proto
// message. The head's checksum covers head and table, a section's own covers its delta. As each section is
// described twice, a single damaged place costs at most the one delta it lies in, and that delta's shard is
// known. A head names its own place, so that data which happens to look like a record is not taken for one. A
// file whose segment is in the base becomes a spare, DIR/spare-<20 digits>.seg, and then a new segment,
// behind whose records the old ones still stand: each use of a file has a random number, which every head of
// it repeats. (The number of the segment would not do: a loss of power may undo the renaming of the file and
// not what was written into it.)
#pragma once

#include <compare>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <type_traits>
#include <vector>

#include "common/base/ids.h"
#include "common/base/status.h"

namespace penstock {

// A place in the log. Segment numbers rise and are never used again.
struct Position {
  uint64_t segment = 0;
  uint64_t offset = 0;
  auto operator<=>(const Position&) const = default;
};
std::string ToString(const Position& position);

// 2: as 3, without the boot.
inline constexpr uint32_t kSegmentFormat = 3, kOldestSegmentFormat = 2;

struct SegmentHeader {
  static constexpr uint64_t kMagic = 0x474f4c4b54534e50;  // "PNSTKLOG"
  // The segments before this one are not trusted behind `synced`: a write or sync of theirs failed. A bad
  // record there is no damage and does not end the log; what mattered was logged again from this segment on.
  static constexpr uint32_t kAbandoned = 1;

  uint64_t magic = kMagic;
  uint32_t format = kSegmentFormat;
  uint32_t checksum = 0;  // CRC-32C of the header with 0 here
  uint64_t cluster = 0;
  uint32_t node = 0;
  uint32_t flags = 0;
  uint64_t number = 0;
  uint64_t first_window = 0;  // of the first record
  uint64_t previous = 0;      // number of the segment before this one; 0: there was none
  uint64_t previous_end = 0;  // where its last good record ended
  Position synced;            // up to where the log was synced when this was written
  uint32_t use = 0;           // of the file
  uint32_t boot = 0;          // of the machine, when this was written; 0: not known

  bool abandoned() const { return (flags & kAbandoned) != 0; }
};
static_assert(sizeof(SegmentHeader) == 88 && std::is_trivially_copyable_v<SegmentHeader>);

struct RecordHead {
  static constexpr uint32_t kMagic = 0x31524c50;  // "PLR1"

  uint32_t magic = kMagic;
  uint32_t checksum = 0;  // CRC-32C of head, with 0 here, and table
  uint64_t bytes = 0;     // of the whole record
  Position place;         // of the record itself
  uint64_t window = 0;    // records are numbered through the whole log
  Position synced;        // up to where the log was synced when this was written
  uint32_t core = 0;
  uint32_t sections = 0;
  uint32_t use = 0;  // of the file
  uint32_t reserved = 0;
};
static_assert(sizeof(RecordHead) == 72 && std::is_trivially_copyable_v<RecordHead>);

struct SectionHead {
  static constexpr uint32_t kMagic = 0x32534c50;  // "PLS2"

  uint32_t magic = kMagic;
  ShardId shard = 0;
  uint32_t checksum = 0;        // CRC-32C of the delta
  uint32_t words = 0;           // of 8 bytes
  Incarnation incarnation = 0;  // which life of the shard on this node
  uint32_t head_checksum = 0;   // CRC-32C of this head with 0 here
  uint32_t use = 0;             // of the file
  uint64_t bytes() const { return uint64_t{words} * 8; }
};
static_assert(sizeof(SectionHead) == 32 && std::is_trivially_copyable_v<SectionHead>);

// What is known of a segment that is no longer written.
struct SegmentInfo {
  uint64_t number = 0;
  uint64_t bytes = 0;    // its records end here
  uint64_t trusted = 0;  // a bad record from here on is no damage: it ends the segment (bytes, unless the
                         // segment was abandoned)
  bool damaged = false;  // replay found and reported damage in it: reading goes on behind bad places
  bool aside = false;    // kept for a quarantined shard alone, outside the log limit
};

// A later segment was begun because of a failure: nothing behind `synced` is trusted any more.
inline void LimitTrust(SegmentInfo& info, const Position& synced) {
  if (info.number > synced.segment) info.trusted = 0;
  if (info.number == synced.segment && info.trusted > synced.offset) info.trusted = synced.offset;
}

// How replay leaves the log, and where DeltaLog::Open goes on.
struct LogTail {
  std::vector<SegmentInfo> segments;  // ascending
  uint64_t next_segment = 1;
  uint64_t next_window = 1;
};

std::string SegmentFileName(uint64_t number, bool aside = false);
// Of a file that waits to become a segment again; `number` is the last one that it had.
std::string SpareFileName(uint64_t number);
std::optional<uint64_t> ParseSpareFileName(std::string_view name);
struct SegmentName {
  uint64_t number = 0;
  bool aside = false;
};
// nullopt for any other file.
std::optional<SegmentName> ParseSegmentFileName(std::string_view name);

// Fills in the checksums.
void Seal(SegmentHeader& header);
void Seal(RecordHead& head, const SectionHead* table);
void Seal(SectionHead& head);
// Whether magic, checksum and number are right. A header of a later format has a right checksum too: look at
// `format`.
bool IsValid(const SegmentHeader& header, uint64_t number);
// Whether `head` may be one at this place: everything but the checksum, and which use of the file it is of.
bool IsPlausible(const RecordHead& head, const Position& place, uint64_t bytes_left);
bool HasRightChecksum(const RecordHead& head, const SectionHead* table);
bool IsValid(const SectionHead& head, uint32_t use);
// The bytes of a record with these sections.
uint64_t RecordBytes(const SectionHead* table, uint32_t sections);

}  // namespace penstock
