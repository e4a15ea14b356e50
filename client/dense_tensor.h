// DenseTensor: a table with dense_size floats, seen as one array. An address computation and nothing else.
//
// Row r of the table holds the floats [r*dim, (r+1)*dim); the last row's rest is padding, pushed as zero and
// never read. A value: safe to share between threads.
#pragma once

#include <future>
#include <span>

#include "client/client.h"

namespace penstock {

class DenseTensor {
 public:
  // kInvalidArgument unless the table is dense.
  static Result<DenseTensor> Of(const TableSpec& spec);

  TableId table() const { return table_; }
  uint64_t size() const { return size_; }  // floats
  uint64_t rows() const { return (size_ + dim_ - 1) / dim_; }

  // The rows that hold the floats [begin, end). kInvalidArgument unless begin <= end <= size().
  Result<TableKeys> Keys(uint64_t begin, uint64_t end) const;
  // The floats [begin, end) out of what a pull of Keys(begin, end) answered.
  std::vector<float> Floats(uint64_t begin, uint64_t end, const std::vector<float>& rows) const;
  // A push of `values` to the floats [begin, begin + values.size()). kInvalidArgument unless the range
  // consists of whole rows (begin is a multiple of dim, and so is the end, or it is size()): an optimizer
  // steps whole rows.
  Result<TablePush> Rows(uint64_t begin, std::span<const float> values) const;

  // The same, done. Pull of [begin, end), by default all; PullInto of whole rows, into memory that must stay
  // until it is answered.
  std::future<Result<std::vector<float>>> Pull(Client& client, uint64_t begin = 0, uint64_t end = UINT64_MAX,
                                               const PullOptions& options = {}) const;
  std::future<Status> PullInto(Client& client, std::span<float> out, uint64_t begin = 0,
                               const PullOptions& options = {}) const;
  std::future<Result<PushResult>> Push(Client& client, Producer& producer, std::span<const float> values,
                                       uint64_t begin = 0, const PushOptions& options = {}) const;

 private:
  // Their keys, when the floats [begin, end) are whole rows.
  Result<TableKeys> WholeRows(uint64_t begin, uint64_t end) const;
  DenseTensor(TableId table, uint32_t dim, uint64_t size) : table_(table), dim_(dim), size_(size) {}
  TableId table_;
  uint32_t dim_;
  uint64_t size_;
};

}  // namespace penstock
