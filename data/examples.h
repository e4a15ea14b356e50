// Examples: the records of one partition in memory, from which minibatches are gathered.
//
// Sparse data is held as CSR; images refer to the unpacked bytes of their file, shared with the data set, and
// are scaled when a minibatch is gathered; columns are floats with the categories of each field beside them.
// Immutable once read, so any thread may gather from it.
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
  size_t dim = 0;                                     // dense: bytes or floats a record
  float scale = 1.0f / 255;                           // dense: feature = byte * scale - mean
  float mean = 0;
  std::vector<uint32_t> records;  // dense: good records, relative to first_record

  std::vector<float> features;             // dense without `bytes`: [size, dim]
  size_t fields = 0;                       // of categories; with features only
  std::vector<uint64_t> field_offsets{0};  // [size*fields + 1], as Batch has them
  std::vector<uint64_t> categories;
  std::vector<float> weights;  // [size], or empty: all 1

  std::vector<uint64_t> row_offsets{0};  // sparse: [size + 1]
  std::vector<uint64_t> ids;             // sparse
  std::vector<float> values;             // sparse

  std::vector<float> labels;  // [size]
  // Some labels were written so (logistic and hinge, where both are 0).
  bool minus_ones = false, zeros = false;
  uint64_t bad_records = 0;  // skipped
  // Of the first few of them, "FILE:LINE: what is wrong, what is allowed".
  static constexpr size_t kMessagesKept = 10;
  std::vector<std::string> bad_messages;

  size_t size() const { return labels.size(); }
  // Of the records; the file's pixels, which are shared, do not count.
  uint64_t MemoryBytes() const;
  // Fills `batch` with these examples (each below size()), in this order.
  void Gather(std::span<const uint32_t> indices, Batch* batch) const;
};

}  // namespace penstock
