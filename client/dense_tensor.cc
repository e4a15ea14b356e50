// DenseTensor: from floats to rows and back.
#include "client/dense_tensor.h"

#include <algorithm>

namespace penstock {
namespace {

std::string RangeText(uint64_t begin, uint64_t end) {
  return "[" + std::to_string(begin) + ", " + std::to_string(end) + ")";
}

template <typename T>
std::future<T> Failed(Status status) {
  std::promise<T> promise;
  promise.set_value(std::move(status));
  return promise.get_future();
}

}  // namespace

Result<DenseTensor> DenseTensor::Of(const TableSpec& spec) {
  if (spec.dense_size == 0)
    return InvalidArgument("table '" + spec.name + "' is not dense: its dense_size is 0");
  return DenseTensor(spec.id, spec.dim, spec.dense_size);
}

Result<TableKeys> DenseTensor::Keys(uint64_t begin, uint64_t end) const {
  if (begin > end || end > size_) {
    return InvalidArgument("table " + std::to_string(table_) + ": floats " + RangeText(begin, end) +
                           ", allowed is within [0, " + std::to_string(size_) + ")");
  }
  TableKeys keys{.table = table_, .keys = {}};
  if (begin == end) return keys;
  keys.keys.reserve((end - 1) / dim_ - begin / dim_ + 1);
  for (Key row = begin / dim_; row <= (end - 1) / dim_; ++row) keys.keys.push_back(row);
  return keys;
}

std::vector<float> DenseTensor::Floats(uint64_t begin, uint64_t end, const std::vector<float>& rows) const {
  const uint64_t skip = begin % dim_;
  return std::vector<float>(rows.begin() + static_cast<ptrdiff_t>(skip),
                            rows.begin() + static_cast<ptrdiff_t>(skip + end - begin));
}

Result<TableKeys> DenseTensor::WholeRows(uint64_t begin, uint64_t end) const {
  auto keys = Keys(begin, end);
  if (!keys.ok()) return keys;
  if (begin % dim_ != 0 || (end % dim_ != 0 && end != size_)) {
    return InvalidArgument("table " + std::to_string(table_) + ": floats " + RangeText(begin, end) +
                           " are not whole rows of " + std::to_string(dim_));
  }
  return keys;
}

Result<TablePush> DenseTensor::Rows(uint64_t begin, std::span<const float> values) const {
  auto keys = WholeRows(begin, begin + values.size());
  if (!keys.ok()) return keys.status();
  TablePush push{.table = table_, .keys = std::move(keys->keys), .values = {}};
  push.values.reserve(push.keys.size() * dim_);
  push.values.assign(values.begin(), values.end());
  push.values.resize(push.keys.size() * dim_);
  return push;
}

std::future<Result<std::vector<float>>> DenseTensor::Pull(Client& client, uint64_t begin, uint64_t end,
                                                          const PullOptions& options) const {
  end = std::min(end, size_);
  auto keys = Keys(begin, end);
  if (!keys.ok()) return Failed<Result<std::vector<float>>>(keys.status());
  std::promise<Result<std::vector<float>>> promise;
  auto future = promise.get_future();
  std::vector<TableKeys> tables;
  tables.push_back(std::move(*keys));
  client.PullAsync(
      tables,
      [promise = std::move(promise), tensor = *this, begin, end](Result<PullResult> pulled) mutable {
        if (!pulled.ok()) return promise.set_value(pulled.status());
        std::vector<float>& rows = pulled->values[0];
        const bool whole = begin % tensor.dim_ == 0 && rows.size() == end - begin;
        promise.set_value(whole ? std::move(rows) : tensor.Floats(begin, end, rows));
      },
      options);
  return future;
}

std::future<Status> DenseTensor::PullInto(Client& client, std::span<float> out, uint64_t begin,
                                          const PullOptions& options) const {
  auto keys = WholeRows(begin, begin + out.size());
  if (!keys.ok()) return Failed<Status>(keys.status());
  const TablePullView rows{table_, keys->keys, out};
  return client.PullInto(std::span(&rows, 1), options);
}

std::future<Result<PushResult>> DenseTensor::Push(Client& client, Producer& producer,
                                                  std::span<const float> values, uint64_t begin,
                                                  const PushOptions& options) const {
  if (values.size() % dim_ != 0) {
    // The last row is filled up.
    const auto rows = Rows(begin, values);
    if (!rows.ok()) return Failed<Result<PushResult>>(rows.status());
    return client.Push(producer, std::vector<TablePush>{*rows}, options);
  }
  const auto keys = WholeRows(begin, begin + values.size());
  if (!keys.ok()) return Failed<Result<PushResult>>(keys.status());
  const TablePushView rows{table_, keys->keys, values};
  return client.Push(producer, std::span(&rows, 1), options);
}

}  // namespace penstock
