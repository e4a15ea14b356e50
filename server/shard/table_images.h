// Checked reading of one table of a delta: sizes, layout and alignment agree before anyone loops over it.
#pragma once

#include <cstdint>
#include <span>

#include "common/base/ids.h"
#include "common/base/status.h"
#include "proto/delta.capnp.h"

namespace penstock {

inline constexpr uint16_t kRowLayout = 1;
inline constexpr uint16_t kSectionValues = 1;
inline constexpr uint16_t kSectionSlots = 2;
inline constexpr uint16_t kSectionAccumulator = 4;  // comes with the other two

// One element of TableDelta.headers.
struct ImageHeader {
  uint32_t push_count;
  uint32_t flags;
};
static_assert(sizeof(ImageHeader) == 8);

// The rows of a TableDelta, in place: spans into the message, which must outlive them.
struct TableImages {
  TableId table = 0;
  bool dropped = false;
  uint32_t dim = 0;
  uint32_t slots = 0;
  uint16_t sections = 0;
  uint64_t open_round = 0;       // of the table's open accumulators; 0: none is open
  uint64_t committed_round = 0;  // the last one
  std::span<const Key> keys;
  std::span<const ImageHeader> headers;  // as many as keys
  std::span<const float> images;         // keys * image_floats()
  std::span<const Key> deletions;

  // Floats of one image: the sections that it carries.
  uint32_t image_floats() const {
    return (sections & kSectionValues ? dim : 0) + (sections & kSectionSlots ? slots : 0) +
           (accumulators() ? dim : 0);
  }
  bool accumulators() const { return sections & kSectionAccumulator; }
  // The table is one of a sync job: its rows have room for an accumulator.
  bool accumulates() const { return open_round > 0 || committed_round > 0 || accumulators(); }
};

// DataLoss naming the table and what does not fit.
Result<TableImages> ReadTableImages(proto::TableDelta::Reader delta);

}  // namespace penstock
