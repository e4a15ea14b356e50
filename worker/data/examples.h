// Examples: the records of one partition in memory, from which minibatches are gathered.
//
// Sparse data is held as CSR; dense data refers to the unpacked bytes of its file, shared with the data set,
// and is scaled when a minibatch is gathered. Immutable once read, so any thread may gather from it.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "model/batch.h"

namespace penstock {

struct Examples {
  bool dense = false;

  std::shared_ptr<const std::vector<uint8_t>> bytes;  // dense: the file's pixels, record after record
  uint64_t first_record = 0;                          // dense: of the partition
  size_t dim = 0;                                     // dense: bytes a record
  float scale = 1.0f / 255;                           // dense: feature = byte * scale - mean
  float mean = 0;
  std::vector<uint32_t> records;  // dense: good records, relative to first_record

  std::vector<uint64_t> row_offsets{0};  // sparse: [size + 1]
  std::vector<uint64_t> ids;             // sparse
  std::vector<float> values;             // sparse

  std::vector<float> labels;  // [size]
  uint64_t bad_records = 0;   // skipped
  std::vector<std::string>
      bad_messages;  // of the first few of them, "FILE:LINE: what is wrong, what is allowed"

  size_t size() const { return labels.size(); }
  // Fills `batch` with these examples (each below size()), in this order.
  void Gather(std::span<const uint32_t> indices, Batch* batch) const;
};

}  // namespace penstock
