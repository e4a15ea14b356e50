// DataIndex: where the records of a data set lie, found in one reading of it, and its cuts into partitions.
//
// Every file has at most about a million points at which it can be cut; small files can be cut at every
// record. Pure; filled by one thread, then constant.
#pragma once

#include <cstdint>
#include <vector>

namespace penstock {

// The records of one file that begin in [begin, end). Text: bytes (of the unpacked file), cut at record
// boundaries; idx: records. Empty ranges are allowed.
struct PartitionRange {
  uint64_t begin = 0;
  uint64_t end = 0;
  uint32_t file = 0;          // of the sorted files of the data set
  uint64_t first_record = 0;  // index of its first record over all files, headers not counted
  uint64_t records = 0;       // of the role (Holdout); in a DataPlan the good ones only
  bool operator==(const PartitionRange&) const = default;
};

// Which records of the same files are the test data: index i (as in PartitionRange::first_record; whatever
// stands where a record could stand has an index, also an empty or malformed line) with
// i mod every == offset.
struct Holdout {
  uint64_t every = 0;  // 0: all records are taken
  uint64_t offset = 0;
  bool test = false;  // take the held-out records, not the others
  bool Takes(uint64_t index) const { return every == 0 || (index % every == offset) == test; }
};

class DataIndex {
 public:
  explicit DataIndex(Holdout holdout) : holdout_(holdout) {}

  // The records of the next file follow. They lie in [begin, size), where the size may be a guess. Not
  // divisible: the file is one partition.
  void BeginFile(uint64_t begin, uint64_t size, bool divisible);
  // The next record ends before `end`. counts: it is a record, and not an empty line or a comment.
  void AddRecord(uint64_t end, bool counts);

  uint64_t records() const { return records_; }  // that count and are taken
  uint64_t extent() const;                       // bytes or records of all files
  // n >= 1 ranges that cover every record exactly once, about equal in size. More than n where there are
  // more files, as a range lies in one file; fewer where files cannot be divided.
  std::vector<PartitionRange> Cut(uint32_t n) const;

 private:
  struct Point {
    uint64_t at = 0;       // a record begins here, or the file ends
    uint64_t index = 0;    // of that record
    uint64_t records = 0;  // taken before it
  };
  struct File {
    uint64_t spacing = 1;  // at least, between points
    bool divisible = true;
    std::vector<Point> points = {};  // the last is the end
    bool kept = true;                // the last point stays when the end moves on
    uint64_t extent() const { return points.back().at - points.front().at; }
  };
  std::vector<uint32_t> Pieces(uint32_t n) const;

  const Holdout holdout_;
  uint64_t index_ = 0;
  uint64_t records_ = 0;
  std::vector<File> files_;
};

}  // namespace penstock
