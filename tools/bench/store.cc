#include "tools/bench/store.h"

#include <chrono>
#include <memory>
#include <nlohmann/json.hpp>
#include <vector>

#include "common/base/hash.h"
#include "common/base/strings.h"
#include "server/shard/shard.h"
#include "tools/bench/row_oracle.h"

namespace penstock {
namespace {

using Clock = std::chrono::steady_clock;

constexpr TableId kTable = 1;
constexpr ProducerId kProducer = 1;

class StoreRun {
 public:
  StoreRun(const WorkloadOptions& options, uint32_t shards, const TableSpec& table)
      : options_(options), table_(table), oracle_(table.optimizer, options.dim), pushes_(options.rows, 0) {
    for (ShardId shard = 0; shard < shards; ++shard)
      shards_.push_back(std::make_unique<Shard>(ShardOptions{.shard = shard, .incarnation = 1}));
    values_ = Repeated(RowOracle::Gradient(options.dim), options.keys);
    pulled_.resize(values_.size());
  }

  Status Prepare() {
    for (auto& shard : shards_) {
      PENSTOCK_RETURN_IF_ERROR(shard->CreateTable(table_));
      PENSTOCK_RETURN_IF_ERROR(shard->BeginEpoch(1, 1));
    }
    for (const auto& batch : MakePool(options_, 0, 0)) pool_.push_back(Bucketed(batch));
    for (Key first = 0; first < options_.rows; first += options_.keys) {
      std::vector<Key> keys;
      for (Key key = first; key < std::min<Key>(first + options_.keys, options_.rows); ++key)
        keys.push_back(key);
      PENSTOCK_RETURN_IF_ERROR(Push(Bucketed(keys)));
    }
    return Status::Ok();
  }

  // Rows a second.
  Result<double> Measure(bool push) {
    uint64_t rows = 0;
    const auto begin = Clock::now();
    const auto seconds = [&] { return std::chrono::duration<double>(Clock::now() - begin).count(); };
    while (seconds() < options_.seconds) {
      const auto& batch = pool_[next_++ % pool_.size()];
      PENSTOCK_RETURN_IF_ERROR(push ? Push(batch) : Pull(batch));
      rows += options_.keys;
    }
    const double rate = static_cast<double>(rows) / seconds();
    // As a server does when the lag is over; here it is not measured.
    for (auto& shard : shards_) PENSTOCK_RETURN_IF_ERROR(shard->BuildDelta().status());
    return rate;
  }

  Status Check() {
    for (Key key = 0; key < options_.rows; ++key) {
      PENSTOCK_RETURN_IF_ERROR(oracle_.Prepare(pushes_[key]));
      std::vector<float> row(options_.dim);
      Shard& shard = *shards_[ShardOf(HashOf(key), static_cast<uint32_t>(shards_.size()))];
      PENSTOCK_RETURN_IF_ERROR(shard.PullRows(kTable, {&key, 1}, row.data(), nullptr));
      for (uint32_t d = 0; d < options_.dim; ++d) {
        if (row[d] == oracle_.Value(pushes_[key], d)) continue;
        return DataLoss(StrCat("row ", key, ", column ", d, " holds ", row[d], ", but its pushes make ",
                               oracle_.Value(pushes_[key], d)));
      }
    }
    return Status::Ok();
  }

 private:
  using Units = std::vector<std::pair<ShardId, std::vector<Key>>>;

  static std::vector<float> Repeated(const std::vector<float>& row, uint64_t times) {
    std::vector<float> values;
    values.reserve(row.size() * times);
    for (uint64_t i = 0; i < times; ++i) values.insert(values.end(), row.begin(), row.end());
    return values;
  }
  static uint64_t HashOf(Key key) { return RowHash(key, kTable); }

  Units Bucketed(const std::vector<Key>& batch) const {
    std::vector<std::vector<Key>> by_shard(shards_.size());
    for (const Key key : batch)
      by_shard[ShardOf(HashOf(key), static_cast<uint32_t>(shards_.size()))].push_back(key);
    Units units;
    for (ShardId shard = 0; shard < by_shard.size(); ++shard) {
      if (!by_shard[shard].empty()) units.emplace_back(shard, std::move(by_shard[shard]));
    }
    return units;
  }

  Status Push(const Units& units) {
    ++sequence_;
    for (const auto& [shard, keys] : units) {
      auto outcome = shards_[shard]->PushUnit(
          {.producer = kProducer, .sequence = sequence_, .low = sequence_}, kTable, keys, values_.data());
      if (!outcome.ok()) return outcome.status();
      if (!outcome->applied()) return Internal("a shard did not apply a unit");
      for (const Key key : keys) ++pushes_[key];
    }
    return Status::Ok();
  }

  Status Pull(const Units& units) {
    float* out = pulled_.data();
    for (const auto& [shard, keys] : units) {
      PENSTOCK_RETURN_IF_ERROR(shards_[shard]->PullRows(kTable, keys, out, nullptr));
      out += keys.size() * options_.dim;
    }
    return Status::Ok();
  }

  const WorkloadOptions options_;
  const TableSpec table_;
  RowOracle oracle_;
  std::vector<int64_t> pushes_;
  std::vector<std::unique_ptr<Shard>> shards_;
  std::vector<Units> pool_;
  std::vector<float> values_, pulled_;
  Sequence sequence_ = 0;
  size_t next_ = 0;
};

}  // namespace

Result<StoreFigures> RunStoreBench(const WorkloadOptions& options, uint32_t shards,
                                   const std::function<bool()>& interrupted) {
  PENSTOCK_ASSIGN_OR_RETURN(TableSpec table, WorkloadTable(options, "bench"));
  table.id = kTable;
  StoreRun run(options, shards, table);
  PENSTOCK_RETURN_IF_ERROR(run.Prepare());
  StoreFigures figures;
  for (const bool push : {false, true}) {
    std::vector<double> rates;
    for (uint32_t i = 0; i <= options.repeats; ++i) {
      if (interrupted()) return Cancelled("interrupted");
      PENSTOCK_ASSIGN_OR_RETURN(const double rate, run.Measure(push));
      if (i > 0) rates.push_back(rate);  // the first one warms up
    }
    (push ? figures.push_rows_per_second : figures.pull_rows_per_second) = Spread::Of(std::move(rates));
  }
  PENSTOCK_RETURN_IF_ERROR(run.Check());
  return figures;
}

nlohmann::json StoreResult(const WorkloadOptions& options, uint32_t shards, const StoreFigures& figures,
                           const Limit& limit) {
  nlohmann::json results = nlohmann::json::array();
  for (const Work work : {Work::kPull, Work::kPush}) {
    const Spread& rows = work == Work::kPull ? figures.pull_rows_per_second : figures.push_rows_per_second;
    const Spread payload = rows.Times(PayloadBytesPerRow(work, options.dim, Codec::kF32));
    results.push_back({{"work", StrCat("store ", ToString(work))},
                       {"dim", options.dim},
                       {"rows", options.rows},
                       {"keys", options.keys},
                       {"shards", shards},
                       {"optimizer", options.optimizer},
                       {"seconds", options.seconds},
                       {"repeats", options.repeats},
                       {"log_and_fold", "off"},
                       {"checked", true},
                       {"rows_per_second", SpreadJson(rows)},
                       {"payload_bytes_per_second", SpreadJson(payload)},
                       {"ratio_to_limit", payload.median / limit.tcp_bytes_per_second}});
  }
  return results;
}

}  // namespace penstock
