#include "tools/bench/step.h"

#include <algorithm>
#include <nlohmann/json.hpp>
#include <numeric>

#include "common/base/hash.h"
#include "common/base/strings.h"
#include "common/net/identity.h"
#include "tools/bench/step_loop.h"

namespace penstock {
namespace {

constexpr double kWarmUpSeconds = 0.5;
constexpr size_t kCheckRows = 10000;
constexpr uint64_t kExactFloats = 1 << 24;

// What a push adds in column d; not the same everywhere, so that values in the wrong place are noticed.
float Pushed(uint32_t d) { return static_cast<float>(1 + (d & 3)); }

std::vector<float> Gradient(uint32_t dim) {
  std::vector<float> gradient;
  for (uint32_t d = 0; d < dim; ++d) gradient.push_back(Pushed(d));
  return gradient;
}

Result<TableSpec> MakeTable(Client& client, const StepOptions& options) {
  ASSIGN_OR_RETURN(const Durability durability, ParseDurability(options.durability));
  TableSpec spec{.name = StrCat("bench/step-", RandomId()), .dim = options.dim, .durability = durability};
  spec.optimizer = options.optimizer == "add"
                       ? OptimizerSpec{.kind = OptimizerKind::kAdd}
                       : OptimizerSpec{.kind = OptimizerKind::kSgd, .learning_rate = 1};
  return client.CreateTable(spec);
}

// The steps in flight, and which batches were acknowledged how often.
class StepRun {
 public:
  StepRun(Client& client, const StepOptions& options, TableSpec table, std::shared_ptr<Producer> producer)
      : client_(client),
        options_(options),
        table_(std::move(table)),
        loop_(client, table_.id, std::move(producer), Gradient(options.dim), options.inflight) {}

  void MakePool() {
    BatchMaker maker(options_.rows, options_.seed);
    for (uint32_t i = 0; i < options_.batches; ++i) pool_.push_back(maker.Next(options_.keys));
    acknowledged_.assign(pool_.size(), 0);
  }

  // Steps for so long; how many rows a second.
  Result<double> Run(double seconds, const std::function<bool()>& interrupted) {
    return loop_.Run(pool_, seconds, interrupted, [this](size_t batch) {
      ++acknowledged_[batch];
      ++steps_;
      return Status::Ok();
    });
  }

  uint64_t steps() const { return steps_; }

  // Every row against what was acknowledged.
  Status Check() {
    std::vector<uint32_t> pushes(options_.rows, 0);
    for (size_t b = 0; b < pool_.size(); ++b) {
      for (const Key key : pool_[b]) pushes[key] += acknowledged_[b];
    }
    const float sign = options_.optimizer == "add" ? 1.0f : -1.0f;
    for (uint64_t first = 0; first < options_.rows; first += kCheckRows) {
      std::vector<Key> keys(std::min<uint64_t>(kCheckRows, options_.rows - first));
      std::iota(keys.begin(), keys.end(), first);
      ASSIGN_OR_RETURN(const PullResult pulled, client_.Pull({{table_.id, keys}}).get());
      for (size_t i = 0; i < keys.size(); ++i) {
        for (uint32_t d = 0; d < options_.dim; ++d) {
          const float expected = sign * Pushed(d) * static_cast<float>(pushes[keys[i]]);
          const float found = pulled.values[0][i * options_.dim + d];
          if (found == expected) continue;
          return DataLoss(StrCat("row ", keys[i], ", column ", d, " holds ", found,
                                 ", but the acknowledged pushes make ", expected));
        }
      }
    }
    return Status::Ok();
  }

 private:
  Client& client_;
  const StepOptions& options_;
  const TableSpec table_;
  StepLoop loop_;
  std::vector<std::vector<Key>> pool_;
  std::vector<uint32_t> acknowledged_;
  uint64_t steps_ = 0;
};

Result<StepFigures> Measure(StepRun& run, const StepOptions& options,
                            const std::function<bool()>& interrupted) {
  run.MakePool();
  RETURN_IF_ERROR(run.Run(kWarmUpSeconds, interrupted).status());
  std::vector<double> figures;
  for (uint32_t i = 0; i < options.repeats; ++i) {
    ASSIGN_OR_RETURN(const double rows_per_second, run.Run(options.seconds, interrupted));
    figures.push_back(rows_per_second);
  }
  RETURN_IF_ERROR(run.Check());
  return StepFigures{.rows_per_second = Spread::Of(std::move(figures)),
                     .payload_bytes_per_row = 2.0 * (sizeof(Key) + sizeof(float) * options.dim),
                     .steps = run.steps()};
}

}  // namespace

BatchMaker::BatchMaker(uint64_t rows, uint64_t seed) : permutation_(rows), state_(seed) {
  std::iota(permutation_.begin(), permutation_.end(), 0u);
}

// The first steps of a Fisher-Yates shuffle of what the last batch left: uniform, distinct, and as quick for
// few keys as for all.
std::vector<Key> BatchMaker::Next(uint64_t keys) {
  std::vector<Key> batch(keys);
  for (uint64_t i = 0; i < keys; ++i) {
    const uint64_t random = Mix64(state_ += 0x9e3779b97f4a7c15ULL);
    const uint64_t range = permutation_.size() - i;
    const uint64_t j = i + static_cast<uint64_t>((static_cast<unsigned __int128>(random) * range) >> 64);
    std::swap(permutation_[i], permutation_[j]);
    batch[i] = permutation_[i];
  }
  return batch;
}

Status CheckStepOptions(const StepOptions& o) {
  if (o.rows < 1 || o.rows > UINT32_MAX)
    return InvalidArgument(StrCat("--rows ", o.rows, ": must be from 1 to 4294967295"));
  if (o.keys < 1 || o.keys > o.rows)
    return InvalidArgument(StrCat("--keys ", o.keys, ": must be from 1 to --rows (", o.rows, ")"));
  if (o.dim < 1 || o.dim > 65536)
    return InvalidArgument(StrCat("--dim ", o.dim, ": must be from 1 to 65536"));
  if (o.inflight < 1 || o.inflight > 1024)
    return InvalidArgument(StrCat("--inflight ", o.inflight, ": must be from 1 to 1024"));
  if (o.batches < 1) return InvalidArgument("--batches 0: must be at least 1");
  if (o.repeats < 1) return InvalidArgument("--repeats 0: must be at least 1");
  if (!(o.seconds > 0 && o.seconds <= 3600))
    return InvalidArgument(StrCat("--seconds ", o.seconds, ": must be above 0, at most 3600"));
  if (o.optimizer != "sgd" && o.optimizer != "add") {
    return InvalidArgument("--optimizer '" + o.optimizer +
                           "': must be sgd or add, whose results can be checked exactly");
  }
  return ParseDurability(o.durability).status().Prepend("--durability");
}

Result<StepFigures> RunStepBench(Client& client, const StepOptions& options,
                                 const std::function<bool()>& interrupted) {
  RETURN_IF_ERROR(CheckStepOptions(options));
  ASSIGN_OR_RETURN(const TableSpec table, MakeTable(client, options));
  ASSIGN_OR_RETURN(auto producer, client.NewProducer());
  StepRun run(client, options, table, producer);
  auto figures = Measure(run, options, interrupted);
  const Status dropped = client.DropTable(table.name);
  if (!figures.ok()) return figures.status();
  if (!dropped.ok()) return dropped.Prepend("drop " + table.name);
  if (figures->steps * 4 >= kExactFloats)
    return Internal("too many steps for sums of whole numbers to be exact: make --seconds less");
  return figures;
}

nlohmann::json StepJson(const StepOptions& options, const StepFigures& figures, uint64_t servers,
                        double tcp_bytes_per_second) {
  const Spread payload = figures.rows_per_second.Times(figures.payload_bytes_per_row);
  const auto json = [](const Spread& s) {
    return nlohmann::json{{"min", s.min}, {"median", s.median}, {"max", s.max}};
  };
  return {{"work", "step"},
          {"dim", options.dim},
          {"rows", options.rows},
          {"keys", options.keys},
          {"batches", options.batches},
          {"servers", servers},
          {"workers", 1},
          {"inflight", options.inflight},
          {"optimizer", options.optimizer},
          {"durability", options.durability},
          {"seconds", options.seconds},
          {"repeats", options.repeats},
          {"steps", figures.steps},
          {"checked", true},
          {"rows_per_second", json(figures.rows_per_second)},
          {"payload_bytes_per_second", json(payload)},
          {"ratio_to_limit", tcp_bytes_per_second > 0 ? payload.median / tcp_bytes_per_second : 0}};
}

}  // namespace penstock
