// The work of `bench pull|push|step|latency` in one worker process.
#include <algorithm>
#include <nlohmann/json.hpp>

#include "common/base/bf16.h"
#include "common/base/strings.h"
#include "tools/bench/bench_worker.h"
#include "tools/bench/row_oracle.h"
#include "tools/bench/workload.h"

namespace penstock {
namespace {

double Quantile(std::vector<double>& values, double q) {
  if (values.empty()) return 0;
  const auto at = values.begin() + static_cast<ptrdiff_t>(q * static_cast<double>(values.size() - 1));
  std::nth_element(values.begin(), at, values.end());
  return *at;
}

class RowsTask final : public BenchTask {
 public:
  static Result<std::unique_ptr<BenchTask>> Make(Client& client, const nlohmann::json& order) {
    const auto options = order.at("options").get<WorkloadOptions>();
    PENSTOCK_ASSIGN_OR_RETURN(const TableSpec table, client.OpenTable(order.at("table").get<std::string>()));
    PENSTOCK_ASSIGN_OR_RETURN(auto producer, client.NewProducer());
    std::unique_ptr<RowsTask> task(new RowsTask(client, options, table, std::move(producer)));
    PENSTOCK_RETURN_IF_ERROR(task->oracle_.Prepare(kMostFillPushes));
    task->pool_ = MakePool(options, table.id, order.at("worker").get<uint32_t>());
    return std::unique_ptr<BenchTask>(std::move(task));
  }

  Result<nlohmann::json> Go(StepLoop::Clock::time_point begin, double seconds,
                            const nlohmann::json& order) override {
    loop_.SetGradient(RowOracle::Gradient(options_.dim, order.at("sign").get<int>()));
    loop_.SetRate(order.value("rate", 0.0));
    std::vector<uint32_t> done(pool_.size(), 0);
    std::vector<double> took_us;
    took_us.reserve(1 << 20);
    StepLoop::Hooks hooks;
    if (options_.work == Work::kPull)
      hooks.pulled = [this](size_t batch, std::span<const float> values) { return Check(batch, values); };
    hooks.done = [&](size_t batch, StepLoop::Clock::duration took) {
      ++done[batch];
      if (options_.inflight == 1) took_us.push_back(std::chrono::duration<double, std::micro>(took).count());
      return Status::Ok();
    };
    PENSTOCK_ASSIGN_OR_RETURN(const double rows_per_second, loop_.Run(pool_, begin, seconds, hooks));
    return nlohmann::json{{"rows_per_second", rows_per_second},
                          {"done", done},
                          {"p50_us", Quantile(took_us, 0.5)},
                          {"p99_us", Quantile(took_us, 0.99)},
                          {"p999_us", Quantile(took_us, 0.999)}};
  }

 private:
  RowsTask(Client& client, const WorkloadOptions& options, const TableSpec& table,
           std::shared_ptr<Producer> producer)
      : options_(options),
        oracle_(table.optimizer, options.dim),
        codec_(table.codec),
        loop_(client,
              {.work = options.work,
               .table = table.id,
               .inflight = options.inflight,
               // Where two steps are not one of their sum, the account is of steps.
               .combine = oracle_.linear() || options.skew.empty()},
              std::move(producer), RowOracle::Gradient(options.dim)) {}

  // The first and the last column of every row: enough to see a row in the wrong place, and cheap beside its
  // transport.
  Status Check(size_t batch, std::span<const float> values) const {
    const std::vector<Key>& keys = pool_[batch];
    const uint32_t last = options_.dim - 1;
    for (size_t i = 0; i < keys.size(); ++i) {
      const int64_t pushes = FillPushes(keys[i]);
      const float* row = values.data() + i * options_.dim;
      if (row[0] == Travelled(oracle_.Value(pushes, 0)) &&
          row[last] == Travelled(oracle_.Value(pushes, last)))
        continue;
      return DataLoss(StrCat("a pull of row ", keys[i], " got ", row[0], " .. ", row[last], ", but it holds ",
                             oracle_.Value(pushes, 0), " .. ", oracle_.Value(pushes, last)));
    }
    return Status::Ok();
  }

  // The value as it arrives.
  float Travelled(float value) const { return codec_ == Codec::kBf16 ? FromBf16(ToBf16(value)) : value; }

  const WorkloadOptions options_;
  RowOracle oracle_;
  const Codec codec_;
  StepLoop loop_;
  std::vector<std::vector<Key>> pool_;
};

}  // namespace

Result<std::unique_ptr<BenchTask>> MakeRowsTask(Client& client, const nlohmann::json& order) {
  return RowsTask::Make(client, order);
}

}  // namespace penstock
