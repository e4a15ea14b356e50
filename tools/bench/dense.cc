#include "tools/bench/dense.h"

#include <algorithm>
#include <nlohmann/json.hpp>
#include <vector>

#include "client/admin.h"
#include "client/dense_tensor.h"
#include "common/base/strings.h"
#include "common/net/identity.h"
#include "tools/bench/row_oracle.h"
#include "tools/bench/workload.h"

namespace penstock {
namespace {

constexpr double kDenseWarmUpSeconds = 0.5;

class DenseRun {
 public:
  DenseRun(Client& client, const DenseOptions& options, const WorkersOptions& workers, TableSpec table,
           const DenseTensor& tensor, const std::function<bool()>& interrupted)
      : client_(client),
        options_(options),
        table_(std::move(table)),
        tensor_(tensor),
        workers_(workers, interrupted),
        pushes_(options.slices(), 0) {}
  ~DenseRun() { static_cast<void>(client_.DropTable(table_.name)); }

  Status Prepare() {
    PENSTOCK_ASSIGN_OR_RETURN(const auto producer, client_.NewProducer());
    std::vector<float> values(options_.slice_floats());
    for (uint64_t slice = 0; slice < options_.slices(); ++slice) {
      const uint64_t begin = slice * values.size();
      for (uint64_t i = 0; i < values.size(); ++i) values[i] = DenseFilled(begin + i);
      PENSTOCK_RETURN_IF_ERROR(
          tensor_.Push(client_, *producer, values, begin).get().status().Prepend("fill the tensor"));
    }
    return workers_.Prepare([&](uint32_t) {
      return nlohmann::json{{"kind", "dense"}, {"table", table_.name}, {"options", options_}};
    });
  }

  // Bytes a second.
  Result<double> Measure(double seconds, bool fold, uint64_t* calls) {
    std::function<Status()> meanwhile;
    if (fold) meanwhile = [this] { return Admin(client_).Fold().Prepend("fold"); };
    PENSTOCK_ASSIGN_OR_RETURN(const auto answers, workers_.Go(seconds, {{"sign", sign_}}, meanwhile));
    double bytes_per_second = 0;
    for (const nlohmann::json& answer : answers) {
      bytes_per_second += answer.at("bytes_per_second").get<double>();
      const auto done = answer.at("done").get<std::vector<uint32_t>>();
      for (size_t slice = 0; slice < done.size(); ++slice) {
        *calls += done[slice];
        if (options_.work == Work::kPush) pushes_[slice] += sign_ * int64_t{done[slice]};
      }
    }
    sign_ = -sign_;
    PENSTOCK_RETURN_IF_ERROR(Check());
    return bytes_per_second;
  }

 private:
  Status Check() {
    for (uint64_t slice = 0; slice < options_.slices(); ++slice) {
      if (std::abs(pushes_[slice]) * 2 + 1021 >= RowOracle::kExactFloats)
        return Internal("too many pushes for sums of whole numbers to be exact: make --seconds less");
      const uint64_t begin = slice * options_.slice_floats();
      const auto values = tensor_.Pull(client_, begin, begin + options_.slice_floats()).get();
      if (!values.ok()) return values.status().Prepend("read the tensor back");
      for (uint64_t i = 0; i < values->size(); ++i) {
        const float expected =
            DenseFilled(begin + i) + DensePushed(begin + i) * static_cast<float>(pushes_[slice]);
        if ((*values)[i] == expected) continue;
        return DataLoss(StrCat("float ", begin + i, " of the tensor is ", (*values)[i],
                               ", but the acknowledged pushes make ", expected));
      }
    }
    return Status::Ok();
  }

  Client& client_;
  const DenseOptions options_;
  const TableSpec table_;
  const DenseTensor tensor_;
  Workers workers_;
  std::vector<int64_t> pushes_;  // of each slice, those of negative sign taken away
  int sign_ = 1;
};

}  // namespace

Status CheckDenseOptions(const DenseOptions& o) {
  if (o.mib < 1 || o.mib > 65536)
    return InvalidArgument(StrCat("--mib ", o.mib, ": must be from 1 to 65536"));
  if (o.slice_mib < 1 || o.mib % o.slice_mib != 0)
    return InvalidArgument(StrCat("--slice-mib ", o.slice_mib, ": must divide --mib (", o.mib, ")"));
  if (o.dim < 1 || o.dim > 65536 || o.slice_floats() % o.dim != 0) {
    return InvalidArgument(StrCat("--dim ", o.dim,
                                  ": must be from 1 to 65536 and divide the floats of a slice (",
                                  o.slice_floats(), ")"));
  }
  if (o.inflight < 1 || o.inflight > 1024)
    return InvalidArgument(StrCat("--inflight ", o.inflight, ": must be from 1 to 1024"));
  if (o.repeats < 1) return InvalidArgument("--repeats 0: must be at least 1");
  if (!(o.seconds > 0 && o.seconds <= 3600))
    return InvalidArgument(StrCat("--seconds ", o.seconds, ": must be above 0, at most 3600"));
  PENSTOCK_RETURN_IF_ERROR(CheckLag(o.work, o.seconds, o.memory_lag_ms));
  return ParseDurability(o.durability).status().Prepend("--durability");
}

void to_json(nlohmann::json& json, const DenseOptions& o) {
  json = {
      {"work", o.work}, {"mib", o.mib}, {"slice_mib", o.slice_mib}, {"dim", o.dim}, {"inflight", o.inflight}};
}

void from_json(const nlohmann::json& json, DenseOptions& o) {
  json.at("work").get_to(o.work);
  json.at("mib").get_to(o.mib);
  json.at("slice_mib").get_to(o.slice_mib);
  json.at("dim").get_to(o.dim);
  json.at("inflight").get_to(o.inflight);
}

Result<DenseFigures> RunDenseBench(Client& client, const DenseOptions& options, WorkersOptions workers,
                                   bool folds, const std::function<bool()>& interrupted) {
  PENSTOCK_RETURN_IF_ERROR(CheckDenseOptions(options));
  PENSTOCK_ASSIGN_OR_RETURN(const Durability durability, ParseDurability(options.durability));
  TableSpec wanted{.name = StrCat("bench/dense-", RandomId()), .dim = options.dim, .durability = durability};
  wanted.optimizer.kind = OptimizerKind::kAdd;
  wanted.dense_size = options.floats();
  PENSTOCK_ASSIGN_OR_RETURN(const TableSpec table, client.CreateTable(wanted));
  PENSTOCK_ASSIGN_OR_RETURN(const DenseTensor tensor, DenseTensor::Of(table));
  workers.count = 1;
  DenseRun run(client, options, workers, table, tensor, interrupted);
  PENSTOCK_RETURN_IF_ERROR(run.Prepare());
  DenseFigures figures{.folds = folds};
  PENSTOCK_RETURN_IF_ERROR(
      run.Measure(std::min(kDenseWarmUpSeconds, options.seconds), false, &figures.calls).status());
  std::vector<double> rates;
  for (uint32_t i = 0; i < options.repeats; ++i) {
    const bool fold = folds && options.work == Work::kPush;
    PENSTOCK_ASSIGN_OR_RETURN(const double rate, run.Measure(options.seconds, fold, &figures.calls));
    rates.push_back(rate);
  }
  figures.bytes_per_second = Spread::Of(std::move(rates));
  return figures;
}

nlohmann::json DenseResult(const DenseOptions& options, const DenseFigures& figures, uint64_t servers,
                           const Limit& limit) {
  return {{"work", StrCat("dense ", ToString(options.work))},
          {"mib", options.mib},
          {"slice_mib", options.slice_mib},
          {"dim", options.dim},
          {"servers", servers},
          {"workers", 1},
          {"inflight", options.inflight},
          {"durability", options.durability},
          {"seconds", options.seconds},
          {"repeats", options.repeats},
          {"memory_lag_ms", options.memory_lag_ms},
          {"pinned", options.pin},
          {"log_and_fold", figures.folds ? "on" : "off"},
          {"calls", figures.calls},
          {"checked", true},
          {"payload_bytes_per_second", SpreadJson(figures.bytes_per_second)},
          {"ratio_to_limit", figures.bytes_per_second.median / limit.tcp_bytes_per_second}};
}

}  // namespace penstock
