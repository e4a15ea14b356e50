// Names, checksums and checks of segment files.
#include "server/storage/segment_format.h"

#include <charconv>
#include <cstdio>

#include "common/base/crc32c.h"

namespace penstock {
namespace {

constexpr std::string_view kPrefix = "log-", kAsidePrefix = "aside-", kSparePrefix = "spare-",
                           kSuffix = ".seg";
constexpr size_t kDigits = 20;

std::string FileName(std::string_view prefix, uint64_t number) {
  const std::string digits = std::to_string(number);
  return std::string(prefix) + std::string(kDigits - digits.size(), '0') + digits + std::string(kSuffix);
}

// nullopt: another name. Numbers begin with 1; the first spare has 0.
std::optional<uint64_t> NumberOf(std::string_view prefix, std::string_view name) {
  if (!name.starts_with(prefix)) return std::nullopt;
  name.remove_prefix(prefix.size());
  if (name.size() != kDigits + kSuffix.size() || !name.ends_with(kSuffix)) return std::nullopt;
  uint64_t number = 0;
  const auto [end, error] = std::from_chars(name.data(), name.data() + kDigits, number);
  if (error != std::errc() || end != name.data() + kDigits) return std::nullopt;
  return number;
}

uint32_t ChecksumOf(SegmentHeader header) {
  header.checksum = 0;
  return Crc32c(0, &header, sizeof(header));
}

uint32_t ChecksumOf(RecordHead head, const SectionHead* table) {
  head.checksum = 0;
  return Crc32c(Crc32c(0, &head, sizeof(head)), table, head.sections * sizeof(SectionHead));
}

uint32_t ChecksumOf(SectionHead head) {
  head.head_checksum = 0;
  return Crc32c(0, &head, sizeof(head));
}

}  // namespace

std::string ToString(const Position& position) {
  return std::to_string(position.segment) + ":" + std::to_string(position.offset);
}

std::string SegmentFileName(uint64_t number, bool aside) {
  return FileName(aside ? kAsidePrefix : kPrefix, number);
}

std::string SpareFileName(uint64_t number) { return FileName(kSparePrefix, number); }

std::optional<SegmentName> ParseSegmentFileName(std::string_view name) {
  for (const bool aside : {false, true}) {
    const auto number = NumberOf(aside ? kAsidePrefix : kPrefix, name);
    if (number && *number != 0) return SegmentName{.number = *number, .aside = aside};
  }
  return std::nullopt;
}

std::optional<uint64_t> ParseSpareFileName(std::string_view name) { return NumberOf(kSparePrefix, name); }

void Seal(SegmentHeader& header) { header.checksum = ChecksumOf(header); }

void Seal(SectionHead& head) { head.head_checksum = ChecksumOf(head); }

void Seal(RecordHead& head, const SectionHead* table) { head.checksum = ChecksumOf(head, table); }

bool IsValid(const SegmentHeader& header, uint64_t number) {
  return header.magic == SegmentHeader::kMagic && header.number == number &&
         header.checksum == ChecksumOf(header);
}

bool IsValid(const SectionHead& head, uint32_t use) {
  return head.magic == SectionHead::kMagic && head.words != 0 && head.use == use &&
         head.head_checksum == ChecksumOf(head);
}

bool IsPlausible(const RecordHead& head, const Position& place, uint64_t bytes_left) {
  return head.magic == RecordHead::kMagic && head.place == place && head.bytes <= bytes_left &&
         head.bytes % 8 == 0 && head.bytes >= sizeof(RecordHead) &&
         head.sections <= (head.bytes - sizeof(RecordHead)) / (2 * sizeof(SectionHead));
}

bool HasRightChecksum(const RecordHead& head, const SectionHead* table) {
  return head.checksum == ChecksumOf(head, table) && head.bytes == RecordBytes(table, head.sections);
}

uint64_t RecordBytes(const SectionHead* table, uint32_t sections) {
  uint64_t bytes = sizeof(RecordHead);
  for (uint32_t i = 0; i < sections; ++i) bytes += 2 * sizeof(SectionHead) + table[i].bytes();
  return bytes;
}

}  // namespace penstock
