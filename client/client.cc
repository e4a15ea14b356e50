// Client: tables, producers, pulls and pushes, on the caller's thread up to where the core takes over.
#include "client/client.h"

#include <algorithm>
#include <chrono>
#include <utility>

#include "client/caller.h"
#include "client/combine.h"
#include "common/base/copy_row.h"
#include "common/cluster/wire.h"

namespace penstock {
namespace {

std::vector<TableKeysView> ViewsOf(const std::vector<TableKeys>& tables) {
  std::vector<TableKeysView> views;
  for (const TableKeys& table : tables) views.push_back({table.table, table.keys});
  return views;
}
std::vector<TablePushView> ViewsOf(const std::vector<TablePush>& tables) {
  std::vector<TablePushView> views;
  for (const TablePush& table : tables) views.push_back({table.table, table.keys, table.values});
  return views;
}

// A future, and the callback that fills it.
template <typename T>
std::pair<std::future<Result<T>>, absl::AnyInvocable<void(Result<T>)>> Awaited() {
  std::promise<Result<T>> promise;
  auto future = promise.get_future();
  return {std::move(future),
          [promise = std::move(promise)](Result<T> result) mutable { promise.set_value(std::move(result)); }};
}

Result<std::shared_ptr<Producer>> AskForProducer(Caller& caller, uint64_t deadline_ms) {
  return caller.Ask<std::shared_ptr<Producer>>(
      "new producer",
      [](proto::Scheduler::Client& scheduler) {
        auto request = scheduler.newProducersRequest();
        request.setCount(1);
        return request;
      },
      [](auto& answer) -> Result<std::shared_ptr<Producer>> {
        return std::make_shared<Producer>(answer.getFirst(), ProducerKind::kClient, 0);
      },
      deadline_ms);
}

// Rows of one key are pulled once, into what was pushed of them, and written to all their places at the end.
// Changes `pulled` accordingly.
Completion<PushResult> Repeating(std::vector<CombinedRows> combined, const std::vector<BatchTable>& tables,
                                 std::vector<std::span<float>>* pulled, Completion<PushResult> done) {
  struct Repeats {
    CombinedRows rows;
    uint32_t dim;
    std::span<float> to;
  };
  std::vector<Repeats> repeats;
  for (size_t t = 0; t < pulled->size(); ++t) {
    if (t >= combined.size() || combined[t].places.empty()) continue;
    repeats.push_back({std::move(combined[t]), tables[t].dim, (*pulled)[t]});
    (*pulled)[t] = repeats.back().rows.values;
  }
  if (repeats.empty()) return done;
  return Completion<PushResult>(
      [repeats = std::move(repeats), done = std::move(done)](Result<PushResult> result) mutable {
        for (size_t r = 0; result.ok() && r < repeats.size(); ++r) {
          const auto& [rows, dim, to] = repeats[r];
          for (size_t i = 0; i < rows.places.size(); ++i)
            CopyRow(&rows.values[size_t{rows.places[i]} * dim], dim, &to[i * dim]);
        }
        done(std::move(result));
      });
}

}  // namespace

Client::Client(std::unique_ptr<Caller> caller) : caller_(std::move(caller)) {}
Client::~Client() = default;

Result<std::unique_ptr<Client>> Client::Connect(const ClientOptions& options) {
  PENSTOCK_ASSIGN_OR_RETURN(auto caller, Caller::Connect(options));
  return std::unique_ptr<Client>(new Client(std::move(caller)));
}

const ClientOptions& Client::options() const { return caller_->options(); }
uint64_t Client::cluster() const { return caller_->cluster(); }
uint32_t Client::shard_count() const { return caller_->layout()->shards; }
KjLoop& Client::loop() { return caller_->loop(); }
SchedulerLink& Client::scheduler() { return caller_->scheduler(); }
std::string Client::Waits(uint64_t for_ms) { return caller_->Waits(for_ms); }

// --- Tables ---

Result<TableSpec> Client::CreateTable(const TableSpec& spec) {
  PENSTOCK_RETURN_IF_ERROR(spec.Validate());
  auto created = caller_->Ask<TableSpec>(
      "create table '" + spec.name + "'",
      [spec](proto::Scheduler::Client& scheduler) {
        auto request = scheduler.createTableRequest();
        WriteTableSpec(spec, request.initSpec());
        return request;
      },
      [](auto& answer) { return ReadTableSpec(answer.getSpec()); });
  if (created.ok()) caller_->Learn(*created);
  return created;
}

Result<TableSpec> Client::OpenTable(const std::string& name) {
  auto opened = caller_->Ask<TableSpec>(
      "open table '" + name + "'",
      [name](proto::Scheduler::Client& scheduler) {
        auto request = scheduler.openTableRequest();
        request.setName(name);
        return request;
      },
      [](auto& answer) { return ReadTableSpec(answer.getSpec()); });
  if (opened.ok()) caller_->Learn(*opened);
  return opened;
}

Status Client::DropTable(const std::string& name) {
  const auto dropped = caller_->Ask<bool>(
      "drop table '" + name + "'",
      [name](proto::Scheduler::Client& scheduler) {
        auto request = scheduler.dropTableRequest();
        request.setName(name);
        return request;
      },
      [](auto&) -> Result<bool> { return true; });
  if (dropped.ok()) caller_->Forget(name);
  return dropped.status();
}

// --- Producers ---

Result<std::shared_ptr<Producer>> Client::NewProducer() { return AskForProducer(*caller_, 0); }

std::shared_ptr<Producer> Client::AttachProducer(ProducerId id, Sequence begin) {
  auto producer = std::make_shared<Producer>(id, ProducerKind::kJob, begin);
  caller_->Attach(producer);
  return producer;
}

// --- The small case ---

Result<std::vector<float>> Client::Pull(TableId table, const std::vector<Key>& keys, uint64_t deadline_ms) {
  PENSTOCK_RETURN_IF_ERROR(caller_->MayBlock("pull"));
  const TableKeysView view{table, keys};
  PENSTOCK_ASSIGN_OR_RETURN(PullResult pulled, Pull(std::span(&view, 1), {.deadline_ms = deadline_ms}).get());
  return std::move(pulled.values[0]);
}

// The scheduler is asked without the lock, so that nobody waits for another's question: of two new ones, one
// is left unused.
Result<std::shared_ptr<Producer>> Client::OwnProducer(const std::shared_ptr<Producer>& unknown,
                                                      uint64_t deadline_ms) {
  {
    std::lock_guard lock(own_mutex_);
    if (own_ != unknown) return own_;
  }
  PENSTOCK_ASSIGN_OR_RETURN(auto fresh, AskForProducer(*caller_, deadline_ms));
  std::lock_guard lock(own_mutex_);
  if (own_ == unknown) own_ = std::move(fresh);
  return own_;
}

Result<PushResult> Client::Push(TableId table, const std::vector<Key>& keys, const std::vector<float>& values,
                                uint64_t deadline_ms) {
  PENSTOCK_RETURN_IF_ERROR(caller_->MayBlock("push"));
  using std::chrono::steady_clock;
  const auto end = steady_clock::now() + std::chrono::milliseconds(caller_->Deadline(deadline_ms));
  const auto left_ms = [end] {
    const auto left = std::chrono::duration_cast<std::chrono::milliseconds>(end - steady_clock::now());
    return static_cast<uint64_t>(std::max<int64_t>(left.count(), 1));
  };
  const TablePushView view{table, keys, values};
  std::shared_ptr<Producer> producer;
  for (bool again = false;; again = true) {
    PENSTOCK_ASSIGN_OR_RETURN(producer, OwnProducer(producer, left_ms()));
    auto pushed = Push(*producer, std::span(&view, 1), {.deadline_ms = left_ms()}).get();
    // Nothing was applied then, and a producer that was just given is not forgotten.
    if (again || pushed.status().code() != Code::kUnknownProducer) return pushed;
  }
}

// --- Pull and push ---

std::future<Result<PullResult>> Client::Pull(const std::vector<TableKeys>& tables,
                                             const PullOptions& options) {
  return Pull(ViewsOf(tables), options);
}

std::future<Result<PullResult>> Client::Pull(std::span<const TableKeysView> tables,
                                             const PullOptions& options) {
  auto [future, callback] = Awaited<PullResult>();
  PullAsync(tables, std::move(callback), options);
  return std::move(future);
}

void Client::PullAsync(const std::vector<TableKeys>& tables, PullCallback callback,
                       const PullOptions& options) {
  PullAsync(ViewsOf(tables), std::move(callback), options);
}

void Client::PullAsync(std::span<const TableKeysView> tables, PullCallback callback,
                       const PullOptions& options) {
  Completion<PullResult> done(std::move(callback));
  auto described = caller_->Describe(tables, options.codec);
  if (!described.ok()) return done(described.status().Prepend("pull"));
  PullResult result;
  PullPlaces out;  // within the vectors, which stay where they are
  for (const BatchTable& table : *described) {
    out.values.emplace_back(result.values.emplace_back(table.keys.size() * table.dim));
    if (options.stored) out.stored.emplace_back(result.stored.emplace_back(table.keys.size()));
  }
  Completion<bool> pulled([result = std::move(result), done = std::move(done)](Result<bool> all) mutable {
    if (!all.ok()) return done(all.status());
    done(std::move(result));
  });
  caller_->Pull(*described, std::move(out), options.deadline_ms, std::move(pulled));
}

std::future<Status> Client::PullInto(std::span<const TablePullView> tables, const PullOptions& options) {
  std::promise<Status> promise;
  auto future = promise.get_future();
  PullIntoAsync(
      tables, [promise = std::move(promise)](Status status) mutable { promise.set_value(std::move(status)); },
      options);
  return future;
}

void Client::PullIntoAsync(std::span<const TablePullView> tables, DoneCallback callback,
                           const PullOptions& options) {
  Completion<bool> done(
      [callback = std::move(callback)](Result<bool> pulled) mutable { callback(pulled.status()); });
  auto described = caller_->Describe(tables, options.codec);
  if (!described.ok()) return done(described.status().Prepend("pull"));
  if (options.stored)
    return done(
        InvalidArgument("pull: PullOptions::stored is for Pull; PullInto has no place for the answer"));
  PullPlaces out;
  for (const TablePullView& table : tables) out.values.push_back(table.values);
  caller_->Pull(*described, std::move(out), options.deadline_ms, std::move(done));
}

std::future<Result<PushResult>> Client::Push(Producer& producer, const std::vector<TablePush>& tables,
                                             const PushOptions& options) {
  return Push(producer, ViewsOf(tables), options);
}

std::future<Result<PushResult>> Client::Push(Producer& producer, std::span<const TablePushView> tables,
                                             const PushOptions& options) {
  auto [future, callback] = Awaited<PushResult>();
  PushAsync(producer, tables, std::move(callback), options);
  return std::move(future);
}

void Client::PushAsync(Producer& producer, const std::vector<TablePush>& tables, PushCallback callback,
                       const PushOptions& options) {
  PushAsync(producer, ViewsOf(tables), std::move(callback), options);
}

void Client::PushAsync(Producer& producer, std::span<const TablePushView> tables, PushCallback callback,
                       const PushOptions& options) {
  PushWith(producer, tables, {}, std::move(callback), options,
           [](ProducerWindow& window) { return window.BeginNext(); });
}

std::future<Result<PushResult>> Client::PushPull(Producer& producer,
                                                 std::span<const TablePushPullView> tables,
                                                 const PushOptions& options) {
  auto [future, callback] = Awaited<PushResult>();
  PushPullAsync(producer, tables, std::move(callback), options);
  return std::move(future);
}

void Client::PushPullAsync(Producer& producer, std::span<const TablePushPullView> tables,
                           PushCallback callback, const PushOptions& options) {
  std::vector<TablePushView> pushes;
  std::vector<std::span<float>> pulled;
  for (const TablePushPullView& table : tables) {
    if (table.pulled.size() != table.values.size()) {
      return Completion<PushResult>(std::move(callback))(InvalidArgument(
          "push of producer " + std::to_string(producer.id()) + ": table " + std::to_string(table.table) +
          ": room for " + std::to_string(table.pulled.size()) + " floats, expected " +
          std::to_string(table.values.size()) + ", as many as are pushed"));
    }
    pushes.push_back({table.table, table.keys, table.values});
    pulled.push_back(table.pulled);
  }
  PushWith(producer, pushes, std::move(pulled), std::move(callback), options,
           [](ProducerWindow& window) { return window.BeginNext(); });
}

std::future<Result<PushResult>> Client::PushAt(Producer& producer, Sequence sequence,
                                               const std::vector<TablePush>& tables,
                                               const PushOptions& options) {
  return PushAt(producer, sequence, ViewsOf(tables), options);
}

std::future<Result<PushResult>> Client::PushAt(Producer& producer, Sequence sequence,
                                               std::span<const TablePushView> tables,
                                               const PushOptions& options) {
  auto [future, callback] = Awaited<PushResult>();
  PushAtAsync(producer, sequence, tables, std::move(callback), options);
  return std::move(future);
}

void Client::PushAtAsync(Producer& producer, Sequence sequence, const std::vector<TablePush>& tables,
                         PushCallback callback, const PushOptions& options) {
  PushAtAsync(producer, sequence, ViewsOf(tables), std::move(callback), options);
}

void Client::PushAtAsync(Producer& producer, Sequence sequence, std::span<const TablePushView> tables,
                         PushCallback callback, const PushOptions& options) {
  PushWith(producer, tables, {}, std::move(callback), options,
           [sequence](ProducerWindow& window) -> Result<Sequence> {
             PENSTOCK_RETURN_IF_ERROR(window.Begin(sequence));
             return sequence;
           });
}

void Client::PushWith(Producer& producer, std::span<const TablePushView> tables,
                      std::vector<std::span<float>> pulled, PushCallback callback, PushOptions options,
                      absl::AnyInvocable<Result<Sequence>(ProducerWindow&)> begin) {
  Completion<PushResult> done(std::move(callback));
  const std::string what = "push of producer " + std::to_string(producer.id());
  auto described = caller_->Describe(tables, options.codec);
  if (!described.ok()) return done(described.status().Prepend(what));
  std::vector<CombinedRows> combined(options.combine ? described->size() : 0);
  for (size_t t = 0; t < combined.size(); ++t) {
    BatchTable& table = (*described)[t];
    const Combining how = table.assigns ? Combining::kLast : Combining::kSum;
    if (!CombineRows(table.keys, table.values, table.dim, how, &combined[t])) continue;
    table.keys = combined[t].keys;
    table.values = combined[t].values;
  }
  auto batch = BucketPush(*described, *caller_->layout(), caller_->limits(), !pulled.empty());
  if (!batch.ok()) return done(batch.status().Prepend(what));
  // Last: nothing that was refused takes a sequence.
  const auto begun = producer.With([&](ProducerWindow& window) { return begin(window); });
  if (!begun.ok()) return done(begun.status().Prepend(what));
  const Sequence sequence = *begun;
  options.deadline_ms = caller_->Deadline(options.deadline_ms);
  Completion<PushResult> repeated = Repeating(std::move(combined), *described, &pulled, std::move(done));
  auto shared = producer.shared_from_this();
  Completion<PushResult> ended(
      [shared, sequence, done = std::move(repeated)](Result<PushResult> result) mutable {
        if (!result.ok()) shared->With([&](ProducerWindow& window) { window.Fail(sequence); });
        done(std::move(result));
      });
  caller_->Post(std::move(ended), [shared, sequence, batch = std::move(*batch), pulled = std::move(pulled),
                                   options](ClientCore& core, Completion<PushResult> done) mutable {
    core.Push(std::move(shared), sequence, std::move(batch), std::move(pulled), options, std::move(done));
  });
}

// --- The rest of the data plane ---

Status Client::Flush(uint64_t deadline_ms) {
  const uint64_t ms = caller_->Deadline(deadline_ms);
  return caller_
      ->Await<bool>("flush",
                    [ms](ClientCore& core, Completion<bool> done) { core.Flush(ms, std::move(done)); })
      .status();
}

Status Client::CommitRound(const std::vector<TableId>& tables, uint64_t round, uint64_t examples,
                           uint64_t step, uint64_t rewind, uint64_t deadline_ms) {
  for (TableId table : tables) PENSTOCK_RETURN_IF_ERROR(caller_->Known(table).Prepend("commit round"));
  const RoundToCommit commit{
      .tables = tables, .round = round, .examples = examples, .step = step, .rewind = rewind};
  const uint64_t ms = caller_->Deadline(deadline_ms);
  return caller_
      ->Await<bool>("commit round",
                    [ms, commit](ClientCore& core, Completion<bool> done) {
                      core.CommitRound(commit, ms, std::move(done));
                    })
      .status();
}

}  // namespace penstock
