// FoldRows: the rows of a fold on their way from the log into the base.
//
//   AddDelta, AddTable  for each delta that is taken: where it stands, and which rows it has images of
//   Write               each row's last image, in the order of keys: fetched again from the log, a buffer of
//                       them at a time, and put into the base's file
//
// What it allocates is kept for the next fold: new pages cost more than all else that a fold does with them.
// One thread.
#pragma once

#include <capnp/common.h>
#include <kj/array.h>

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <vector>

#include "common/base/ids.h"
#include "common/base/status.h"
#include "server/shard/table_images.h"
#include "server/storage/base_writer.h"
#include "server/storage/fold_index.h"
#include "server/storage/segment_reader.h"

namespace penstock {

// kCancelled: the fold is to end. nullptr: never.
inline Status GoesOn(const std::atomic<bool>* stop) {
  return stop != nullptr && *stop ? Cancelled("the fold was stopped") : Status::Ok();
}

class FoldRows {
 public:
  // For the next fold. The index keeps the memory of the one before, if that is at most so much.
  void Clear(size_t most_index_bytes);

  // The next delta: in the fold's segment `segment`, which has the number that Opener knows.
  void AddDelta(uint32_t segment, const LoggedDelta& delta);
  // A table of the delta added last: its `entry`th.
  void AddTable(FoldIndex::GroupKey group, unsigned entry, Lsn lsn, uint16_t layout,
                const TableImages& images);
  void RemoveTable(FoldIndex::GroupKey group) { index_.RemoveTable(group); }
  void RemoveIncarnation(Incarnation incarnation) { index_.RemoveIncarnation(incarnation); }
  // Before Write, and when Bytes has grown.
  void Compact() { index_.Compact(); }
  // What is kept of the deltas so far.
  size_t Bytes() const {
    return index_.Bytes() + pieces_.size() * sizeof(Piece) + deltas_.size() * sizeof(Place);
  }

  struct Written {
    uint64_t rows = 0;
    uint64_t deletions = 0;
  };
  // A reader of the fold's segment of that number.
  using Opener = std::function<Result<std::unique_ptr<SegmentReader>>(uint32_t segment)>;
  // kDataLoss, naming the file: a delta reads otherwise than before. kCancelled: GoesOn.
  Result<Written> Write(const Opener& open, size_t buffer_bytes, const std::atomic<bool>* stop,
                        BaseWriter& writer);

 private:
  // A delta, where it stands in the log.
  struct Place {
    uint32_t segment;
    uint32_t words;
    uint64_t offset;
    uint32_t checksum;
  };
  // One TableDelta of it.
  struct Piece {
    uint32_t delta;  // in deltas_
    uint32_t entry;
    Lsn lsn;
    uint32_t images;  // rows from here on are deletions
    uint32_t floats;  // of an image
    uint16_t layout;
  };
  // One row of a buffer on its way into the base.
  struct Row {
    const FoldIndex::GroupKey* group;
    const FoldIndex::Entry* entry;
    size_t offset;  // in images_; kDeleted: it has none
  };

  Status Flush(const Opener& open, const std::atomic<bool>* stop, BaseWriter& writer, Written* written);
  Status FillImages(const Opener& open);
  Status CopyImages(uint32_t delta, kj::ArrayPtr<const capnp::word> words, size_t* next);

  std::vector<Place> deltas_;
  std::vector<Piece> pieces_;
  FoldIndex index_;
  // The buffer that is being filled, in the order of keys; what it copies, piece by piece in the order of the
  // log.
  std::vector<Row> rows_;
  std::vector<uint32_t> copies_;
  std::vector<uint32_t> firsts_;  // of each piece's first among them
  std::vector<float> images_;     // at least as many as the buffer needs
  std::vector<ImageHeader> headers_;
};

}  // namespace penstock
