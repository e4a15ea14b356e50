#include "tools/bench/workload.h"

#include <charconv>
#include <nlohmann/json.hpp>

#include "common/base/hash.h"
#include "common/base/strings.h"
#include "tools/bench/batches.h"
#include "tools/bench/row_oracle.h"

namespace penstock {
namespace {

constexpr uint64_t kDayMs = 86'400'000;
constexpr std::string_view kWorks[] = {"pull", "push", "step"};

}  // namespace

std::string_view ToString(Work work) { return kWorks[static_cast<size_t>(work)]; }

bool Pushes(Work work) { return work != Work::kPull; }

Result<std::optional<double>> ParseSkew(const std::string& skew) {
  if (skew.empty()) return std::optional<double>();
  constexpr std::string_view kZipf = "zipf:";
  double exponent = 0;
  const char* end = skew.data() + skew.size();
  if (skew.starts_with(kZipf)) {
    const auto parsed = std::from_chars(skew.data() + kZipf.size(), end, exponent);
    if (parsed.ec == std::errc() && parsed.ptr == end && exponent > 0 && exponent <= 10)
      return std::optional<double>(exponent);
  }
  return InvalidArgument("--skew '" + skew + "': must be zipf:EXPONENT, above 0 and at most 10");
}

Status CheckLag(Work work, double seconds, uint64_t memory_lag_ms) {
  if (memory_lag_ms < 1 || memory_lag_ms > kDayMs)
    return InvalidArgument(StrCat("--memory-lag-ms ", memory_lag_ms, ": must be from 1 to ", kDayMs));
  if (!Pushes(work) || seconds * 1000 >= 2.0 * static_cast<double>(memory_lag_ms)) return Status::Ok();
  return InvalidArgument(StrCat("--seconds ", seconds, ": must be at least twice server.memory_lag_ms (",
                                memory_lag_ms,
                                ", see --memory-lag-ms), so that what is pushed is logged while it is "
                                "measured"));
}

Status CheckWorkloadOptions(const WorkloadOptions& o) {
  const auto in_range = [](const char* name, uint64_t value, uint64_t min, uint64_t max) {
    if (value >= min && value <= max) return Status::Ok();
    return InvalidArgument(StrCat(name, " ", value, ": must be from ", min, " to ", max));
  };
  PENSTOCK_RETURN_IF_ERROR(in_range("--rows", o.rows, 1, UINT32_MAX));
  PENSTOCK_RETURN_IF_ERROR(in_range("--keys", o.keys, 1, 1'000'000));
  PENSTOCK_ASSIGN_OR_RETURN(const std::optional<double> zipf, ParseSkew(o.skew));
  if (o.keys > o.rows && !zipf)
    return InvalidArgument(StrCat("--keys ", o.keys, ": must be from 1 to --rows (", o.rows, ")"));
  PENSTOCK_RETURN_IF_ERROR(in_range("--dim", o.dim, 1, 65536));
  PENSTOCK_RETURN_IF_ERROR(in_range("--inflight", o.inflight, 1, 1024));
  PENSTOCK_RETURN_IF_ERROR(in_range("--workers", o.workers, 1, 256));
  PENSTOCK_RETURN_IF_ERROR(in_range("--batches", o.batches, 1, 1'000'000));
  PENSTOCK_RETURN_IF_ERROR(in_range("--repeats", o.repeats, 1, 1000));
  PENSTOCK_RETURN_IF_ERROR(in_range("--spin-us", o.spin_us, 0, 100'000));
  if (!(o.seconds > 0 && o.seconds <= 3600))
    return InvalidArgument(StrCat("--seconds ", o.seconds, ": must be above 0, at most 3600"));
  PENSTOCK_RETURN_IF_ERROR(CheckLag(o.work, o.seconds, o.memory_lag_ms));
  PENSTOCK_ASSIGN_OR_RETURN(const TableSpec spec, WorkloadTable(o, "bench"));
  if (zipf && Pushes(o.work) && !RowOracle(spec.optimizer, 1).linear()) {
    return InvalidArgument("--skew with --optimizer '" + o.optimizer +
                           "': must be sgd or add, because rows that a batch names twice may be pushed once "
                           "with the sum, and only these cannot tell");
  }
  return Status::Ok();
}

Result<TableSpec> WorkloadTable(const WorkloadOptions& options, const std::string& name) {
  TableSpec spec{.name = name, .dim = options.dim};
  PENSTOCK_ASSIGN_OR_RETURN(spec.optimizer, RowOracle::Spec(options.optimizer));
  auto durability = ParseDurability(options.durability);
  if (!durability.ok()) return durability.status().Prepend("--durability");
  spec.durability = *durability;
  auto codec = ParseCodec(options.codec);
  if (!codec.ok()) return codec.status().Prepend("--codec");
  spec.codec = *codec;
  return spec;
}

std::vector<std::vector<Key>> MakePool(const WorkloadOptions& options, TableId table, uint32_t worker) {
  const uint64_t seed = options.seed * 1000 + worker;
  std::vector<std::vector<Key>> pool(options.batches);
  const auto zipf = ParseSkew(options.skew);
  if (zipf.ok() && *zipf) {
    KeySampler sampler(options.rows, *zipf, seed);
    for (auto& batch : pool) batch = sampler.Next(options.keys);
  } else {
    BatchMaker maker(options.rows, seed);
    for (auto& batch : pool) batch = maker.Next(options.keys);
  }
  for (auto& batch : pool) {
    std::erase_if(batch, [&](Key key) {
      return options.avoid_of_shards != 0 &&
             ShardOf(RowHash(key, table), options.avoid_of_shards) == options.avoid_shard;
    });
  }
  return pool;
}

double PayloadBytesPerRow(Work work, uint32_t dim, Codec codec) {
  return (work == Work::kStep ? 2.0 : 1.0) * static_cast<double>(sizeof(Key) + BytesOfValue(codec) * dim);
}

void to_json(nlohmann::json& json, const WorkloadOptions& o) {
  json = {{"work", o.work},
          {"keys", o.keys},
          {"rows", o.rows},
          {"skew", o.skew},
          {"dim", o.dim},
          {"optimizer", o.optimizer},
          {"durability", o.durability},
          {"inflight", o.inflight},
          {"batches", o.batches},
          {"seed", o.seed},
          {"avoid_of_shards", o.avoid_of_shards},
          {"avoid_shard", o.avoid_shard}};
}

void from_json(const nlohmann::json& json, WorkloadOptions& o) {
  json.at("work").get_to(o.work);
  json.at("keys").get_to(o.keys);
  json.at("rows").get_to(o.rows);
  json.at("skew").get_to(o.skew);
  json.at("dim").get_to(o.dim);
  json.at("optimizer").get_to(o.optimizer);
  json.at("durability").get_to(o.durability);
  json.at("inflight").get_to(o.inflight);
  json.at("batches").get_to(o.batches);
  json.at("seed").get_to(o.seed);
  json.at("avoid_of_shards").get_to(o.avoid_of_shards);
  json.at("avoid_shard").get_to(o.avoid_shard);
}

nlohmann::json SpreadJson(const Spread& s) { return {{"min", s.min}, {"median", s.median}, {"max", s.max}}; }

nlohmann::json WorkloadResult(const WorkloadOptions& options, const WorkloadFigures& figures,
                              uint64_t servers, const Limit& limit) {
  const Codec codec = ParseCodec(options.codec).value();
  const Spread payload = figures.rows_per_second.Times(PayloadBytesPerRow(options.work, options.dim, codec));
  nlohmann::json result = {{"work", ToString(options.work)},
                           {"dim", options.dim},
                           {"rows", options.rows},
                           {"keys", options.keys},
                           {"servers", servers},
                           {"workers", options.workers},
                           {"inflight", options.inflight},
                           {"durability", options.durability},
                           {"optimizer", options.optimizer},
                           {"codec", options.codec},
                           {"skew", options.skew.empty() ? "none" : options.skew},
                           {"batches", options.batches},
                           {"seconds", options.seconds},
                           {"repeats", options.repeats},
                           {"memory_lag_ms", options.memory_lag_ms},
                           {"pinned", options.pin},
                           {"spin_us", options.spin_us},
                           {"log_and_fold", figures.folds ? "on" : "off"},
                           {"calls", figures.calls},
                           {"checked", true},
                           {"rows_per_second", SpreadJson(figures.rows_per_second)},
                           {"payload_bytes_per_second", SpreadJson(payload)},
                           {"ratio_to_limit", payload.median / limit.tcp_bytes_per_second}};
  if (options.inflight == 1 && options.workers == 1) {
    result["p50_us"] = SpreadJson(figures.p50_us);
    result["p99_us"] = SpreadJson(figures.p99_us);
    result["p999_us"] = SpreadJson(figures.p999_us);
  }
  return result;
}

}  // namespace penstock
