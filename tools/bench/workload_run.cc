#include "tools/bench/workload_run.h"

#include <algorithm>
#include <deque>
#include <future>
#include <nlohmann/json.hpp>

#include "client/admin.h"
#include "common/base/strings.h"
#include "common/net/identity.h"

namespace penstock {
namespace {

constexpr double kWarmUpSeconds = 0.5;
constexpr size_t kRowsOfACall = 10000;
constexpr size_t kCallsInFlight = 4;
constexpr size_t kSomeRows = 1000;

}  // namespace

Result<std::unique_ptr<WorkloadRun>> WorkloadRun::Start(Client& client, const WorkloadOptions& options,
                                                        WorkersOptions workers,
                                                        const std::function<bool()>& interrupted) {
  PENSTOCK_RETURN_IF_ERROR(CheckWorkloadOptions(options));
  PENSTOCK_ASSIGN_OR_RETURN(const TableSpec wanted,
                            WorkloadTable(options, StrCat("bench/rows-", RandomId())));
  PENSTOCK_ASSIGN_OR_RETURN(const TableSpec table, client.CreateTable(wanted));
  workers.count = options.workers;
  std::unique_ptr<WorkloadRun> run(new WorkloadRun(client, options, workers, table, interrupted));
  PENSTOCK_RETURN_IF_ERROR(run->Fill());
  PENSTOCK_RETURN_IF_ERROR(run->workers_.Prepare([&](uint32_t worker) {
    return nlohmann::json{{"kind", "rows"}, {"table", table.name}, {"worker", worker}, {"options", options}};
  }));
  if (Pushes(options.work)) {
    for (uint32_t worker = 0; worker < options.workers; ++worker)
      run->pools_.push_back(MakePool(options, table.id, worker));
  }
  return run;
}

WorkloadRun::WorkloadRun(Client& client, const WorkloadOptions& options, const WorkersOptions& workers,
                         TableSpec table, const std::function<bool()>& interrupted)
    : client_(client),
      options_(options),
      table_(std::move(table)),
      interrupted_(interrupted),
      oracle_(table_.optimizer, options.dim),
      workers_(workers, interrupted),
      pushes_(options.rows, 0) {}

// What cannot be dropped is named by the cluster, and the next run has a table of its own anyway.
WorkloadRun::~WorkloadRun() { static_cast<void>(client_.DropTable(table_.name)); }

Status WorkloadRun::Fill() {
  PENSTOCK_ASSIGN_OR_RETURN(const auto producer, client_.NewProducer());
  const std::vector<float> gradient = RowOracle::Gradient(options_.dim);
  std::deque<std::future<Result<PushResult>>> calls;
  const auto settle = [&](size_t leave) -> Status {
    for (; calls.size() > leave; calls.pop_front())
      PENSTOCK_RETURN_IF_ERROR(calls.front().get().status().Prepend("fill the table"));
    return Status::Ok();
  };
  for (int64_t round = 0; round < kMostFillPushes; ++round) {
    for (Key first = 0; first < options_.rows; first += kRowsOfACall) {
      if (interrupted_()) return Cancelled("interrupted");
      TablePush push{.table = table_.id, .keys = {}, .values = {}};
      for (Key key = first; key < std::min<Key>(first + kRowsOfACall, options_.rows); ++key) {
        if (FillPushes(key) <= round) continue;
        ++pushes_[key];
        push.keys.push_back(key);
        push.values.insert(push.values.end(), gradient.begin(), gradient.end());
      }
      if (push.keys.empty()) continue;
      PENSTOCK_RETURN_IF_ERROR(settle(kCallsInFlight - 1));
      std::vector<TablePush> tables;
      tables.push_back(std::move(push));
      calls.push_back(client_.Push(*producer, tables));
    }
  }
  return settle(0);
}

Result<WorkloadRun::Repeat> WorkloadRun::Measure(double seconds, bool fold, double rate,
                                                 const std::function<void()>& worked) {
  std::function<Status()> meanwhile;
  if (fold) meanwhile = [this] { return Admin(client_).Fold().Prepend("fold"); };
  PENSTOCK_ASSIGN_OR_RETURN(const std::vector<nlohmann::json> answers,
                            workers_.Go(seconds, {{"sign", sign_}, {"rate", rate}}, meanwhile));
  worked();
  Repeat repeat;
  for (size_t worker = 0; worker < answers.size(); ++worker) {
    const nlohmann::json& answer = answers[worker];
    repeat.rows_per_second += answer.at("rows_per_second").get<double>();
    repeat.p50_us = std::max(repeat.p50_us, answer.at("p50_us").get<double>());
    repeat.p99_us = std::max(repeat.p99_us, answer.at("p99_us").get<double>());
    repeat.p999_us = std::max(repeat.p999_us, answer.at("p999_us").get<double>());
    const auto done = answer.at("done").get<std::vector<uint32_t>>();
    for (size_t batch = 0; batch < done.size(); ++batch) {
      repeat.calls += done[batch];
      if (!Pushes(options_.work)) continue;
      for (const Key key : pools_[worker][batch]) pushes_[key] += sign_ * int64_t{done[batch]};
    }
  }
  if (oracle_.linear()) sign_ = -sign_;
  PENSTOCK_RETURN_IF_ERROR(Check());
  return repeat;
}

Status WorkloadRun::Check() {
  const auto [least, most] = std::minmax_element(pushes_.begin(), pushes_.end());
  PENSTOCK_RETURN_IF_ERROR(oracle_.Prepare(*most));
  PENSTOCK_RETURN_IF_ERROR(oracle_.Prepare(*least));
  std::deque<std::pair<Key, std::future<Result<PullResult>>>> calls;
  for (Key first = 0; first < options_.rows || !calls.empty();) {
    if (interrupted_()) return Cancelled("interrupted");
    if (first < options_.rows && calls.size() < kCallsInFlight) {
      std::vector<Key> keys(std::min<uint64_t>(kRowsOfACall, options_.rows - first));
      for (size_t i = 0; i < keys.size(); ++i) keys[i] = first + i;
      calls.emplace_back(first, client_.Pull({{table_.id, keys}}, {.codec = Codec::kF32}));
      first += keys.size();
      continue;
    }
    auto pulled = calls.front().second.get();
    if (!pulled.ok()) return pulled.status().Prepend("read the table back");
    const std::vector<float>& values = pulled->values[0];
    for (size_t i = 0; i < values.size(); ++i) {
      const Key key = calls.front().first + i / options_.dim;
      const auto column = static_cast<uint32_t>(i % options_.dim);
      const float expected = oracle_.Value(pushes_[key], column);
      if (values[i] == expected) continue;
      return DataLoss(StrCat("row ", key, ", column ", column, " holds ", values[i],
                             ", but the acknowledged pushes make ", expected));
    }
    calls.pop_front();
  }
  return Status::Ok();
}

std::future<Result<PullResult>> WorkloadRun::PullSome() {
  std::vector<Key> keys;
  for (Key key = 0; key < options_.rows; key += options_.rows / kSomeRows + 1) keys.push_back(key);
  return client_.Pull({{table_.id, std::move(keys)}}, {.deadline_ms = 60000, .codec = Codec::kF32});
}

Result<WorkloadFigures> RunWorkload(Client& client, const WorkloadOptions& options,
                                    const WorkersOptions& workers, bool folds,
                                    const std::function<bool()>& interrupted) {
  PENSTOCK_ASSIGN_OR_RETURN(const auto run, WorkloadRun::Start(client, options, workers, interrupted));
  PENSTOCK_ASSIGN_OR_RETURN(const WorkloadRun::Repeat warm_up,
                            run->Measure(std::min(kWarmUpSeconds, options.seconds), /*fold=*/false));
  WorkloadFigures figures{.calls = warm_up.calls, .folds = folds};
  std::vector<double> rows, p50, p99, p999;
  for (uint32_t i = 0; i < options.repeats; ++i) {
    PENSTOCK_ASSIGN_OR_RETURN(const WorkloadRun::Repeat repeat,
                              run->Measure(options.seconds, folds && Pushes(options.work)));
    rows.push_back(repeat.rows_per_second);
    p50.push_back(repeat.p50_us);
    p99.push_back(repeat.p99_us);
    p999.push_back(repeat.p999_us);
    figures.calls += repeat.calls;
  }
  figures.rows_per_second = Spread::Of(std::move(rows));
  figures.p50_us = Spread::Of(std::move(p50));
  figures.p99_us = Spread::Of(std::move(p99));
  figures.p999_us = Spread::Of(std::move(p999));
  return figures;
}

Result<PairFigures> RunPairs(Client& client, const WorkloadOptions& first, const WorkloadOptions& second,
                             const WorkersOptions& workers, uint32_t pairs,
                             const std::function<bool()>& interrupted) {
  const WorkloadOptions* options[] = {&first, &second};
  std::unique_ptr<WorkloadRun> runs[2];
  std::vector<double> rates[2], ratios;
  for (int i = 0; i < 2; ++i) {
    PENSTOCK_ASSIGN_OR_RETURN(runs[i], WorkloadRun::Start(client, *options[i], workers, interrupted));
    PENSTOCK_RETURN_IF_ERROR(runs[i]->Measure(std::min(kWarmUpSeconds, options[i]->seconds), false).status());
  }
  for (uint32_t pair = 0; pair < pairs; ++pair) {
    for (const uint32_t turn : {0u, 1u}) {
      const uint32_t i = (pair + turn) % 2;  // neither is always the first
      PENSTOCK_ASSIGN_OR_RETURN(const WorkloadRun::Repeat repeat,
                                runs[i]->Measure(options[i]->seconds, Pushes(options[i]->work)));
      rates[i].push_back(repeat.rows_per_second);
    }
    ratios.push_back(rates[0].back() / rates[1].back());
  }
  return PairFigures{.ratio = Spread::Of(std::move(ratios)),
                     .first_rows_per_second = Spread::Of(std::move(rates[0])),
                     .second_rows_per_second = Spread::Of(std::move(rates[1]))};
}

}  // namespace penstock
