#include "tools/bench/memory.h"

#include <algorithm>
#include <bit>
#include <chrono>
#include <deque>
#include <fstream>
#include <future>
#include <nlohmann/json.hpp>
#include <numeric>
#include <vector>

#include "common/base/hash.h"
#include "common/base/strings.h"
#include "common/net/identity.h"
#include "tools/bench/batches.h"
#include "tools/bench/row_oracle.h"
#include "tools/bench/step_loop.h"

namespace penstock {
namespace {

using Clock = std::chrono::steady_clock;

constexpr uint64_t kLoadDeadlineMs = 300'000;  // a load may have to wait for folds

double SecondsSince(Clock::time_point begin) {
  return std::chrono::duration<double>(Clock::now() - begin).count();
}

// What the load writes: whole numbers of 16 bits that differ from row to row and column to column.
float Loaded(Key key, uint32_t d) {
  return static_cast<float>(static_cast<int16_t>(Mix64(key * 0x9e3779b97f4a7c15ULL + d)));
}
float Stepped(uint32_t d) { return static_cast<float>(1 + (d & 3)); }

std::vector<float> Gradient(uint32_t dim) {
  std::vector<float> gradient;
  for (uint32_t d = 0; d < dim; ++d) gradient.push_back(-Stepped(d));
  return gradient;
}

class MemoryRun {
 public:
  MemoryRun(Client& client, const MemoryOptions& options, TableSpec table, std::shared_ptr<Producer> producer,
            const std::function<bool()>& interrupted)
      : client_(client),
        options_(options),
        table_(std::move(table)),
        producer_(std::move(producer)),
        loop_(client,
              {.work = Work::kStep,
               .table = table_.id,
               .inflight = options.inflight,
               .deadline_ms = kLoadDeadlineMs},
              producer_, Gradient(options.dim)),
        interrupted_(interrupted),
        stepped_(options.rows),
        random_(options.rows, std::nullopt, options.seed),
        zipf_(options.rows, options.zipf, options.seed + 1) {}

  Result<double> Load() {
    const auto begin = Clock::now();
    std::deque<std::future<Result<PushResult>>> pushes;
    const auto settle = [&]() -> Status {
      const auto pushed = pushes.front().get();
      pushes.pop_front();
      return pushed.status().Prepend("load");
    };
    for (uint64_t first = 0; first < options_.rows; first += options_.keys) {
      if (interrupted_()) return Cancelled("interrupted");
      std::vector<Key> keys = KeysFrom(first);
      std::vector<float> values;
      values.reserve(keys.size() * options_.dim);
      for (const Key key : keys) {
        for (uint32_t d = 0; d < options_.dim; ++d) values.push_back(-Loaded(key, d));
      }
      pushes.push_back(client_.Push(*producer_, {{table_.id, std::move(keys), std::move(values)}},
                                    {.deadline_ms = kLoadDeadlineMs}));
      if (pushes.size() >= options_.inflight) PENSTOCK_RETURN_IF_ERROR(settle());
    }
    while (!pushes.empty()) PENSTOCK_RETURN_IF_ERROR(settle());
    return static_cast<double>(options_.rows) / SecondsSince(begin);
  }

  // Every row, in order.
  Result<double> Check() {
    const auto begin = Clock::now();
    std::deque<std::pair<uint64_t, std::future<Result<PullResult>>>> pulls;
    for (uint64_t first = 0; first < options_.rows || !pulls.empty();) {
      if (interrupted_()) return Cancelled("interrupted");
      if (first < options_.rows && pulls.size() < options_.inflight) {
        pulls.emplace_back(first,
                           client_.Pull({{table_.id, KeysFrom(first)}}, {.deadline_ms = kLoadDeadlineMs}));
        first += options_.keys;
        continue;
      }
      const auto pulled = pulls.front().second.get();
      if (!pulled.ok()) return pulled.status().Prepend("read");
      PENSTOCK_RETURN_IF_ERROR(CheckRows(KeysFrom(pulls.front().first), pulled->values[0]));
      pulls.pop_front();
    }
    return static_cast<double>(options_.rows) / SecondsSince(begin);
  }

  // Batches are drawn before the clock starts, for about as many steps as the last time.
  Result<Spread> Measure(bool zipf) {
    std::vector<double> figures;
    size_t steps = 64;
    for (uint32_t i = 0; i <= options_.repeats; ++i) {  // the first one warms up
      std::vector<std::vector<Key>> pool(steps + steps / 2);
      for (auto& batch : pool) batch = (zipf ? zipf_ : random_).Next(options_.keys);
      PENSTOCK_ASSIGN_OR_RETURN(const double rate, Run(pool));
      if (i > 0) figures.push_back(rate);
      steps = std::clamp<size_t>(
          static_cast<size_t>(rate * options_.seconds / static_cast<double>(options_.keys)), 64, 2000);
    }
    return Spread::Of(std::move(figures));
  }

  uint64_t steps() const { return steps_; }

 private:
  std::vector<Key> KeysFrom(uint64_t first) const {
    std::vector<Key> keys(std::min<uint64_t>(options_.keys, options_.rows - first));
    std::iota(keys.begin(), keys.end(), first);
    return keys;
  }

  Status CheckRows(const std::vector<Key>& keys, const std::vector<float>& values) const {
    for (size_t i = 0; i < keys.size(); ++i) {
      for (uint32_t d = 0; d < options_.dim; ++d) {
        const float expected = Loaded(keys[i], d) + Stepped(d) * static_cast<float>(stepped_[keys[i]]);
        const float found = values[i * options_.dim + d];
        if (std::bit_cast<uint32_t>(found) == std::bit_cast<uint32_t>(expected)) continue;
        return DataLoss(StrCat("row ", keys[i], ", column ", d, " holds ", found,
                               ", but the acknowledged pushes make ", expected));
      }
    }
    return Status::Ok();
  }

  Result<double> Run(const std::vector<std::vector<Key>>& pool) {
    StepLoop::Hooks hooks;
    hooks.interrupted = interrupted_;
    hooks.done = [&](size_t batch, StepLoop::Clock::duration) {
      for (const Key key : pool[batch]) {
        if (++stepped_[key] * 4 + (1 << 15) >= static_cast<uint64_t>(RowOracle::kExactFloats))
          return Internal("too many steps for sums of whole numbers to be exact: make --seconds less");
      }
      ++steps_;
      return Status::Ok();
    };
    return loop_.Run(pool, Clock::now(), options_.seconds, hooks);
  }

  Client& client_;
  const MemoryOptions& options_;
  const TableSpec table_;
  const std::shared_ptr<Producer> producer_;
  StepLoop loop_;
  const std::function<bool()>& interrupted_;
  std::vector<uint32_t> stepped_;  // how often each row was pushed after the load
  KeySampler random_, zipf_;
  uint64_t steps_ = 0;
};

Result<MemoryFigures> Measure(MemoryRun& run, const std::function<void(const std::string&)>& say) {
  MemoryFigures figures;
  PENSTOCK_ASSIGN_OR_RETURN(figures.load_rows_per_second, run.Load());
  say("loaded");
  PENSTOCK_ASSIGN_OR_RETURN(figures.read_rows_per_second, run.Check());
  say("every row read back");
  PENSTOCK_ASSIGN_OR_RETURN(figures.random_rows_per_second, run.Measure(/*zipf=*/false));
  say("random steps measured");
  PENSTOCK_ASSIGN_OR_RETURN(figures.zipf_rows_per_second, run.Measure(/*zipf=*/true));
  say("Zipf steps measured");
  PENSTOCK_RETURN_IF_ERROR(run.Check().status());
  figures.steps = run.steps();
  return figures;
}

Result<uint64_t> StatusBytes(int pid, const std::string& field) {
  const std::string path = StrCat("/proc/", pid, "/status");
  std::ifstream file(path);
  for (std::string line; std::getline(file, line);) {
    if (line.starts_with(field)) return std::stoull(line.substr(field.size())) << 10;
  }
  return NotFound(path + " does not say how much memory the process has");
}

}  // namespace

Status CheckMemoryOptions(const MemoryOptions& o) {
  if (o.rows < 1 || o.rows > UINT32_MAX)
    return InvalidArgument(StrCat("--rows ", o.rows, ": must be from 1 to 4294967295"));
  if (o.keys < 1 || o.keys > 1'000'000)
    return InvalidArgument(StrCat("--keys ", o.keys, ": must be from 1 to 1000000"));
  if (o.dim < 1 || o.dim > 65536)
    return InvalidArgument(StrCat("--dim ", o.dim, ": must be from 1 to 65536"));
  if (o.inflight < 1 || o.inflight > 1024)
    return InvalidArgument(StrCat("--inflight ", o.inflight, ": must be from 1 to 1024"));
  if (o.repeats < 1) return InvalidArgument("--repeats 0: must be at least 1");
  if (!(o.zipf > 0 && o.zipf <= 10))
    return InvalidArgument(StrCat("--zipf ", o.zipf, ": must be above 0, at most 10"));
  if (!(o.seconds > 0 && o.seconds <= 3600))
    return InvalidArgument(StrCat("--seconds ", o.seconds, ": must be above 0, at most 3600"));
  return ParseDurability(o.durability).status().Prepend("--durability");
}

Result<MemoryFigures> RunMemoryBench(Client& client, const MemoryOptions& options,
                                     const std::function<void(const std::string&)>& say,
                                     const std::function<bool()>& interrupted) {
  PENSTOCK_RETURN_IF_ERROR(CheckMemoryOptions(options));
  PENSTOCK_ASSIGN_OR_RETURN(const Durability durability, ParseDurability(options.durability));
  TableSpec spec{.name = StrCat("bench/memory-", RandomId()), .dim = options.dim, .durability = durability};
  spec.optimizer = {.kind = OptimizerKind::kSgd, .learning_rate = 1};
  PENSTOCK_ASSIGN_OR_RETURN(const TableSpec table, client.CreateTable(spec));
  PENSTOCK_ASSIGN_OR_RETURN(auto producer, client.NewProducer());
  MemoryRun run(client, options, table, producer, interrupted);
  auto figures = Measure(run, say);
  const Status dropped = client.DropTable(table.name);
  if (!figures.ok()) return figures.status();
  if (!dropped.ok()) return dropped.Prepend("drop " + table.name);
  return figures;
}

Result<uint64_t> ResidentBytes(int pid) { return StatusBytes(pid, "VmRSS:"); }
Result<uint64_t> PeakResidentBytes(int pid) { return StatusBytes(pid, "VmHWM:"); }

nlohmann::json MemoryJson(const MemoryOptions& options, const MemoryFigures& figures,
                          uint64_t peak_resident_bytes) {
  const auto json = [](const Spread& s) {
    return nlohmann::json{{"min", s.min}, {"median", s.median}, {"max", s.max}};
  };
  return {{"work", "memory"},
          {"budget_bytes", options.budget_bytes},
          {"rows", options.rows},
          {"dim", options.dim},
          {"keys", options.keys},
          {"zipf", options.zipf},
          {"durability", options.durability},
          {"inflight", options.inflight},
          {"seconds", options.seconds},
          {"repeats", options.repeats},
          {"steps", figures.steps},
          {"checked", true},
          {"load_rows_per_second", figures.load_rows_per_second},
          {"read_rows_per_second", figures.read_rows_per_second},
          {"random_rows_per_second", json(figures.random_rows_per_second)},
          {"zipf_rows_per_second", json(figures.zipf_rows_per_second)},
          {"peak_resident_bytes", peak_resident_bytes}};
}

}  // namespace penstock
