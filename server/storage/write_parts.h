// WriteParts: the records of one append as the parts of one write, without a copy of the deltas.
#pragma once

#include <sys/uio.h>

#include <algorithm>
#include <cstdint>
#include <deque>
#include <span>
#include <vector>

#include "server/storage/log_record.h"
#include "server/storage/segment_format.h"

namespace penstock {

// The parts of one write, and what they point to.
struct WriteParts {
  std::deque<RecordHead> heads;
  std::deque<std::vector<SectionHead>> tables;
  std::vector<iovec> parts;
  uint64_t bytes = 0;

  void Add(const void* data, size_t size) {
    parts.push_back({const_cast<void*>(data), size});
    bytes += size;
  }
};

inline void AddRecord(const LogRecord& record, uint64_t window, const Position& place, const Position& synced,
                      uint32_t use, WriteParts* out) {
  std::vector<SectionHead>& table = out->tables.emplace_back();
  table.reserve(record.sections.size());
  for (const LogSection& section : record.sections) {
    table.push_back({.magic = SectionHead::kMagic,
                     .shard = section.shard,
                     .checksum = section.checksum,
                     .words = static_cast<uint32_t>(section.delta.size()),
                     .incarnation = section.incarnation});
    table.back().use = use;
    Seal(table.back());
  }
  RecordHead& head = out->heads.emplace_back();
  head.sections = static_cast<uint32_t>(table.size());
  head.bytes = RecordBytes(table.data(), head.sections);
  head.place = place;
  head.window = window;
  head.synced = synced;
  head.core = record.core;
  head.use = use;
  Seal(head, table.data());
  out->Add(&head, sizeof(head));
  out->Add(table.data(), table.size() * sizeof(SectionHead));
  for (size_t i = 0; i < table.size(); ++i) {
    out->Add(&table[i], sizeof(SectionHead));
    out->Add(record.sections[i].delta.begin(), table[i].bytes());
  }
}

inline uint64_t BytesOf(std::span<const LogRecord> records) {
  uint64_t bytes = 0;
  for (const LogRecord& record : records) {
    bytes += sizeof(RecordHead);
    for (const LogSection& section : record.sections) {
      bytes += 2 * sizeof(SectionHead) + section.delta.bytes();
    }
  }
  return bytes;
}

// The bytes [begin, end) of what the parts hold.
inline std::vector<iovec> Slice(std::span<const iovec> parts, uint64_t begin, uint64_t end) {
  std::vector<iovec> slice;
  uint64_t at = 0;
  for (const iovec& part : parts) {
    const uint64_t from = std::max(begin, at), to = std::min(end, at + part.iov_len);
    if (from < to) slice.push_back({static_cast<char*>(part.iov_base) + (from - at), to - from});
    at += part.iov_len;
  }
  return slice;
}

}  // namespace penstock
