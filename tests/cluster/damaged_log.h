// A place in the log of a server that is down, where a test damages one delta of one shard.
#pragma once

#include <algorithm>
#include <filesystem>
#include <string>
#include <vector>

#include "server/storage/segment_reader.h"
#include "tests/cluster/flip_byte.h"

namespace penstock {

struct LogPlace {
  std::string file;
  uint64_t offset = 0;
  ShardId shard = 0;
};

// The middle of the first delta behind the middle of the oldest segment's records.
inline Result<LogPlace> MiddleOfTheLog(const std::string& folder) {
  std::vector<std::string> names;
  for (const auto& entry : std::filesystem::directory_iterator(folder)) {
    if (ParseSegmentFileName(entry.path().filename().string()))
      names.push_back(entry.path().filename().string());
  }
  if (names.empty()) return NotFound("no segment in " + folder);
  const std::string oldest = *std::min_element(names.begin(), names.end());
  PosixFileLayer files;
  PENSTOCK_ASSIGN_OR_RETURN(auto reader, SegmentReader::Open(files, folder, *ParseSegmentFileName(oldest)));
  PENSTOCK_ASSIGN_OR_RETURN(const auto record, reader->FindHead(reader->end() / 2));
  if (!record) return NotFound("no record behind the middle of " + reader->path());
  return LogPlace{.file = reader->path(),
                  .offset = record->delta_offsets[0] + record->sections[0].bytes() / 2,
                  .shard = record->sections[0].shard};
}

}  // namespace penstock
