// Client: checks and cuts up calls on the caller's thread, and hands them to the core on the loop.
#include "client/client.h"

#include <algorithm>
#include <mutex>
#include <nlohmann/json.hpp>
#include <random>
#include <unordered_map>
#include <unordered_set>
#include <utility>

#include "client/client_core.h"
#include "client/combine.h"
#include "common/base/copy_row.h"
#include "common/cluster/wire.h"

namespace penstock {
namespace {

Status CheckRange(const char* name, uint64_t value, uint64_t low, uint64_t high) {
  if (value >= low && value <= high) return Status::Ok();
  return InvalidArgument(std::string("client option ") + name + " is " + std::to_string(value) +
                         ", allowed is " + std::to_string(low) + " to " + std::to_string(high));
}

Status Validate(const ClientOptions& o) {
  if (o.scheduler.empty())
    return InvalidArgument(
        "client option scheduler is empty, allowed is host:port or the path of an address file");
  if (!o.token.empty() && !o.token_file.empty())
    return InvalidArgument("client options token and token_file are both set, allowed is one");
  PENSTOCK_RETURN_IF_ERROR(CheckRange("deadline_ms", o.deadline_ms, 1, 86400000));
  PENSTOCK_RETURN_IF_ERROR(CheckRange("connect_timeout_ms", o.connect_timeout_ms, 1, 600000));
  PENSTOCK_RETURN_IF_ERROR(CheckRange("attempt_timeout_ms", o.attempt_timeout_ms, 1, 600000));
  PENSTOCK_RETURN_IF_ERROR(CheckRange("max_unit_bytes", o.max_unit_bytes, 1 << 10, 64 << 20));
  PENSTOCK_RETURN_IF_ERROR(CheckRange("piece_bytes", o.piece_bytes, 4 << 10, 64 << 20));
  PENSTOCK_RETURN_IF_ERROR(CheckRange("max_inflight_bytes", o.max_inflight_bytes, 1, uint64_t{1} << 40));
  return CheckRange("spin_us", o.spin_us, 0, 100'000);
}

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

template <typename T>
Status StatusOf(const Result<T>& result) {
  return result.status();
}

// A future, and the callback that fills it.
template <typename T>
std::pair<std::future<Result<T>>, absl::AnyInvocable<void(Result<T>)>> Awaited() {
  std::promise<Result<T>> promise;
  auto future = promise.get_future();
  return {std::move(future),
          [promise = std::move(promise)](Result<T> result) mutable { promise.set_value(std::move(result)); }};
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

class Client::Impl {
 public:
  Impl(const ClientOptions& options, std::string token)
      : options_(options),
        identity_(std::make_shared<ClusterIdentity>()),
        loop_(options.name, options.spin_us) {
    identity_->name = options.name;
    identity_->token = std::move(token);
    loop_.Run([this] { core_ = std::make_unique<ClientCore>(loop_, identity_, options_); });
  }

  ~Impl() {
    // What was posted after this finds no core; its completions say so.
    loop_.Run([this] { core_.reset(); });
    loop_.Stop();
  }

  const ClientOptions& options() const { return options_; }
  uint64_t cluster() const { return identity_->cluster; }
  KjLoop& loop() { return loop_; }
  ClientCore& core() { return *core_; }
  uint64_t Deadline(uint64_t deadline_ms) const {
    return deadline_ms == 0 ? options_.deadline_ms : deadline_ms;
  }
  BucketLimits limits() const {
    return {.piece_bytes = options_.piece_bytes, .max_unit_bytes = options_.max_unit_bytes};
  }
  std::shared_ptr<const ShardLayout> layout() const { return core_->map().layout(); }

  // Runs `use(core, done)` on the loop; done says kCancelled if that never happens.
  template <typename T, typename Use>
  void Post(Completion<T> done, Use use) {
    loop_.Post([this, done = std::move(done), use = std::move(use)]() mutable {
      if (core_ != nullptr) use(*core_, std::move(done));
    });
  }

  // Of checked tables.
  void Pull(const std::vector<BatchTable>& tables, std::vector<std::span<float>> out, uint64_t deadline_ms,
            Completion<bool> done) {
    auto batch = BucketPull(tables, *layout(), limits());
    if (!batch.ok()) return done(batch.status().Prepend("pull"));
    Post(std::move(done), [batch = std::move(*batch), out = std::move(out), ms = Deadline(deadline_ms)](
                              ClientCore& core, Completion<bool> done) mutable {
      core.Pull(std::move(batch), std::move(out), ms, std::move(done));
    });
  }

  // As Post, and waits. `use` starts something that ends by a deadline.
  template <typename T, typename Use>
  Result<T> Await(const std::string& what, Use use) {
    if (loop_.OnLoop()) return FailedPrecondition(what + ": a blocking call in a callback of the client");
    std::promise<Result<T>> promise;
    auto future = promise.get_future();
    Post(CompletionOf<T>(std::move(promise)), std::move(use));
    return future.get();
  }

  // A question to the scheduler that may be repeated until the deadline.
  template <typename T, typename Make, typename Read>
  Result<T> Ask(const std::string& what, Make make, Read read) {
    return Await<T>(what,
                    [what, make, read, ms = options_.deadline_ms](ClientCore& core, Completion<T> done) {
                      core.Spawn(what, core.Ask<T>(what, make, read, ms), std::move(done));
                    });
  }

  template <typename T, typename Make, typename Read>
  Result<T> AskOnce(const std::string& what, Make make, Read read) {
    return Await<T>(what,
                    [what, make, read, ms = options_.deadline_ms](ClientCore& core, Completion<T> done) {
                      core.Spawn(what, core.AskOnce<T>(what, make, read, ms), std::move(done));
                    });
  }

  void Attach(std::weak_ptr<Producer> producer) {
    loop_.Post([this, producer = std::move(producer)] {
      if (core_ != nullptr) core_->Attach(producer);
    });
  }

  void Learn(const TableSpec& spec) {
    std::lock_guard lock(mutex_);
    tables_[spec.id] = {spec.name, spec.dim, spec.optimizer.kind, spec.codec};
  }
  void Forget(const std::string& name) {
    std::lock_guard lock(mutex_);
    std::erase_if(tables_, [&](const auto& table) { return table.second.name == name; });
  }
  Status Known(TableId id) const {
    std::lock_guard lock(mutex_);
    return tables_.contains(id) ? Status::Ok() : Unknown(id);
  }

  // Checks a batch's tables and gives their names, widths and codecs, unless the call says `codec`; keys and
  // values are those of the caller.
  template <typename Table>
  Result<std::vector<BatchTable>> Describe(std::span<const Table> tables, std::optional<Codec> codec) const {
    std::vector<BatchTable> out;
    std::unordered_set<TableId> seen;
    std::lock_guard lock(mutex_);
    for (const Table& table : tables) {
      const auto it = tables_.find(table.table);
      if (it == tables_.end()) return Unknown(table.table);
      if (!seen.insert(table.table).second)
        return InvalidArgument("table '" + it->second.name + "' is twice in one call");
      if (codec)
        PENSTOCK_RETURN_IF_ERROR(
            CheckCodec(it->second.optimizer, *codec).Prepend("table '" + it->second.name + "'"));
      out.push_back({.table = table.table,
                     .name = it->second.name,
                     .dim = it->second.dim,
                     .keys = table.keys,
                     .values = {},
                     .assigns = it->second.optimizer == OptimizerKind::kAssign,
                     .codec = codec.value_or(it->second.codec)});
      if constexpr (!std::is_same_v<Table, TableKeysView>) {
        if (table.values.size() != table.keys.size() * it->second.dim) {
          return InvalidArgument("table '" + it->second.name + "': " + std::to_string(table.values.size()) +
                                 " values for " + std::to_string(table.keys.size()) + " keys, expected " +
                                 std::to_string(it->second.dim) + " a key");
        }
      }
      if constexpr (std::is_same_v<Table, TablePushView>) out.back().values = table.values;
    }
    return out;
  }

 private:
  struct TableInfo {
    std::string name;
    uint32_t dim = 0;
    OptimizerKind optimizer = OptimizerKind::kSgd;
    Codec codec = Codec::kF32;
  };

  static Status Unknown(TableId id) {
    return InvalidArgument("table " + std::to_string(id) + " was neither created nor opened by this client");
  }

  const ClientOptions options_;
  const std::shared_ptr<ClusterIdentity> identity_;
  mutable std::mutex mutex_;
  std::unordered_map<TableId, TableInfo> tables_;  // guarded by mutex_
  KjLoop loop_;
  std::unique_ptr<ClientCore> core_;  // the loop's
};

Client::Client(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
Client::~Client() = default;

Result<std::unique_ptr<Client>> Client::Connect(const ClientOptions& options) {
  PENSTOCK_RETURN_IF_ERROR(Validate(options));
  std::string token = options.token;
  if (!options.token_file.empty()) {
    PENSTOCK_ASSIGN_OR_RETURN(token, ReadTokenFile(options.token_file));
  }
  auto impl = std::make_unique<Impl>(options, std::move(token));
  const uint64_t ms = options.connect_timeout_ms;
  const auto loaded = impl->Await<bool>("connect", [ms](ClientCore& core, Completion<bool> done) {
    core.Spawn("connect", core.LoadMap(ms), std::move(done));
  });
  if (!loaded.ok()) return loaded.status().Prepend("connect to the cluster");
  return std::unique_ptr<Client>(new Client(std::move(impl)));
}

const ClientOptions& Client::options() const { return impl_->options(); }
uint64_t Client::cluster() const { return impl_->cluster(); }
uint32_t Client::shard_count() const { return impl_->layout()->shards; }
KjLoop& Client::loop() { return impl_->loop(); }
SchedulerLink& Client::scheduler() { return impl_->core().scheduler(); }

// --- Tables ---

Result<TableSpec> Client::CreateTable(const TableSpec& spec) {
  PENSTOCK_RETURN_IF_ERROR(spec.Validate());
  auto created = impl_->Ask<TableSpec>(
      "create table '" + spec.name + "'",
      [spec](proto::Scheduler::Client& scheduler) {
        auto request = scheduler.createTableRequest();
        WriteTableSpec(spec, request.initSpec());
        return request;
      },
      [](auto& answer) { return ReadTableSpec(answer.getSpec()); });
  if (created.ok()) impl_->Learn(*created);
  return created;
}

Result<TableSpec> Client::OpenTable(const std::string& name) {
  auto opened = impl_->Ask<TableSpec>(
      "open table '" + name + "'",
      [name](proto::Scheduler::Client& scheduler) {
        auto request = scheduler.openTableRequest();
        request.setName(name);
        return request;
      },
      [](auto& answer) { return ReadTableSpec(answer.getSpec()); });
  if (opened.ok()) impl_->Learn(*opened);
  return opened;
}

Status Client::DropTable(const std::string& name) {
  const auto dropped = impl_->Ask<bool>(
      "drop table '" + name + "'",
      [name](proto::Scheduler::Client& scheduler) {
        auto request = scheduler.dropTableRequest();
        request.setName(name);
        return request;
      },
      [](auto&) -> Result<bool> { return true; });
  if (dropped.ok()) impl_->Forget(name);
  return StatusOf(dropped);
}

// --- Producers ---

Result<std::shared_ptr<Producer>> Client::NewProducer() {
  return impl_->Ask<std::shared_ptr<Producer>>(
      "new producer",
      [](proto::Scheduler::Client& scheduler) {
        auto request = scheduler.newProducersRequest();
        request.setCount(1);
        return request;
      },
      [](auto& answer) -> Result<std::shared_ptr<Producer>> {
        return std::make_shared<Producer>(answer.getFirst(), ProducerKind::kClient, 0);
      });
}

std::shared_ptr<Producer> Client::AttachProducer(ProducerId id, Sequence begin) {
  auto producer = std::make_shared<Producer>(id, ProducerKind::kJob, begin);
  impl_->Attach(producer);
  return producer;
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
  auto described = impl_->Describe(tables, options.codec);
  if (!described.ok()) return done(described.status().Prepend("pull"));
  PullResult result;
  std::vector<std::span<float>> out;
  for (const BatchTable& table : *described) {
    result.values.emplace_back(table.keys.size() * table.dim);
    out.emplace_back(result.values.back());
  }
  Completion<bool> pulled([result = std::move(result), done = std::move(done)](Result<bool> all) mutable {
    if (!all.ok()) return done(all.status());
    done(std::move(result));
  });
  impl_->Pull(*described, std::move(out), options.deadline_ms, std::move(pulled));
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
  auto described = impl_->Describe(tables, options.codec);
  if (!described.ok()) return done(described.status().Prepend("pull"));
  std::vector<std::span<float>> out;
  for (const TablePullView& table : tables) out.push_back(table.values);
  impl_->Pull(*described, std::move(out), options.deadline_ms, std::move(done));
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
  auto described = impl_->Describe(tables, options.codec);
  if (!described.ok()) return done(described.status().Prepend(what));
  std::vector<CombinedRows> combined(options.combine ? described->size() : 0);
  for (size_t t = 0; t < combined.size(); ++t) {
    BatchTable& table = (*described)[t];
    const Combining how = table.assigns ? Combining::kLast : Combining::kSum;
    if (!CombineRows(table.keys, table.values, table.dim, how, &combined[t])) continue;
    table.keys = combined[t].keys;
    table.values = combined[t].values;
  }
  auto batch = BucketPush(*described, *impl_->layout(), impl_->limits(), !pulled.empty());
  if (!batch.ok()) return done(batch.status().Prepend(what));
  // Last: nothing that was refused takes a sequence.
  const auto begun = producer.With([&](ProducerWindow& window) { return begin(window); });
  if (!begun.ok()) return done(begun.status().Prepend(what));
  const Sequence sequence = *begun;
  options.deadline_ms = impl_->Deadline(options.deadline_ms);
  Completion<PushResult> repeated = Repeating(std::move(combined), *described, &pulled, std::move(done));
  auto shared = producer.shared_from_this();
  Completion<PushResult> ended(
      [shared, sequence, done = std::move(repeated)](Result<PushResult> result) mutable {
        if (!result.ok()) shared->With([&](ProducerWindow& window) { window.Fail(sequence); });
        done(std::move(result));
      });
  impl_->Post(std::move(ended), [shared, sequence, batch = std::move(*batch), pulled = std::move(pulled),
                                 options](ClientCore& core, Completion<PushResult> done) mutable {
    core.Push(std::move(shared), sequence, std::move(batch), std::move(pulled), options, std::move(done));
  });
}

// --- The rest of the data plane ---

Status Client::Flush(uint64_t deadline_ms) {
  const uint64_t ms = impl_->Deadline(deadline_ms);
  return StatusOf(impl_->Await<bool>(
      "flush", [ms](ClientCore& core, Completion<bool> done) { core.Flush(ms, std::move(done)); }));
}

Status Client::Fold(uint64_t deadline_ms) {
  const uint64_t ms = impl_->Deadline(deadline_ms);
  return StatusOf(impl_->Await<bool>(
      "fold", [ms](ClientCore& core, Completion<bool> done) { core.Fold(ms, std::move(done)); }));
}

Result<std::vector<TableStats>> Client::Stats(const std::vector<TableId>& tables, uint64_t deadline_ms) {
  for (TableId table : tables) PENSTOCK_RETURN_IF_ERROR(impl_->Known(table).Prepend("stats"));
  const uint64_t ms = impl_->Deadline(deadline_ms);
  return impl_->Await<std::vector<TableStats>>(
      "stats", [ms, tables](ClientCore& core, Completion<std::vector<TableStats>> done) {
        core.Stats(tables, ms, std::move(done));
      });
}

Status Client::CommitRound(const std::vector<TableId>& tables, uint64_t round, uint64_t examples,
                           uint64_t step, uint64_t deadline_ms) {
  for (TableId table : tables) PENSTOCK_RETURN_IF_ERROR(impl_->Known(table).Prepend("commit round"));
  const RoundToCommit commit{.tables = tables, .round = round, .examples = examples, .step = step};
  const uint64_t ms = impl_->Deadline(deadline_ms);
  return StatusOf(impl_->Await<bool>("commit round", [ms, commit](ClientCore& core, Completion<bool> done) {
    core.CommitRound(commit, ms, std::move(done));
  }));
}

Result<ExpiryReport> Client::Expire(TableId table, bool dry_run, uint64_t deadline_ms) {
  PENSTOCK_RETURN_IF_ERROR(impl_->Known(table).Prepend("expire"));
  std::random_device random;
  const ExpiryRun run{.table = table, .dry_run = dry_run, .run = uint64_t{random()} << 32 | random()};
  const uint64_t ms = impl_->Deadline(deadline_ms);
  return impl_->Await<ExpiryReport>("expire", [ms, run](ClientCore& core, Completion<ExpiryReport> done) {
    core.Expire(run, ms, std::move(done));
  });
}

Result<std::vector<WorkerClock>> Client::Clocks(TableId table, uint64_t deadline_ms) {
  PENSTOCK_RETURN_IF_ERROR(impl_->Known(table).Prepend("clocks"));
  const uint64_t ms = impl_->Deadline(deadline_ms);
  return impl_->Await<std::vector<WorkerClock>>(
      "clocks", [ms, table](ClientCore& core, Completion<std::vector<WorkerClock>> done) {
        core.Clocks(table, ms, std::move(done));
      });
}

// --- The scheduler, for tools ---

Result<nlohmann::json> Client::Inspect(const std::string& what, const std::string& name) {
  const std::string asked = "inspect " + what + (name.empty() ? "" : " '" + name + "'");
  const auto text = impl_->Ask<std::string>(
      asked,
      [what, name](proto::Scheduler::Client& scheduler) {
        auto request = scheduler.inspectRequest();
        request.setWhat(what);
        request.setName(name);
        return request;
      },
      [](auto& answer) -> Result<std::string> { return std::string(answer.getJson().cStr()); });
  if (!text.ok()) return text.status();
  auto json = nlohmann::json::parse(*text, nullptr, false);
  if (json.is_discarded()) return Internal(asked + ": the scheduler's answer is not JSON");
  return json;
}

Result<uint32_t> Client::SubmitJob(const nlohmann::json& job) {
  const std::string spec = job.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
  return impl_->AskOnce<uint32_t>(
      "submit job",
      [spec](proto::Scheduler::Client& scheduler) {
        auto request = scheduler.submitJobRequest();
        request.setSpec(spec);
        return request;
      },
      [](auto& answer) -> Result<uint32_t> { return answer.getJob(); });
}

Status Client::CancelJob(uint32_t job) {
  return StatusOf(impl_->AskOnce<bool>(
      "cancel job " + std::to_string(job),
      [job](proto::Scheduler::Client& scheduler) {
        auto request = scheduler.cancelJobRequest();
        request.setJob(job);
        return request;
      },
      [](auto&) -> Result<bool> { return true; }));
}

Status Client::PauseJob(uint32_t job) {
  return StatusOf(impl_->AskOnce<bool>(
      "pause job " + std::to_string(job),
      [job](proto::Scheduler::Client& scheduler) {
        auto request = scheduler.pauseJobRequest();
        request.setJob(job);
        return request;
      },
      [](auto&) -> Result<bool> { return true; }));
}

Status Client::ResumeJob(uint32_t job) {
  return StatusOf(impl_->AskOnce<bool>(
      "resume job " + std::to_string(job),
      [job](proto::Scheduler::Client& scheduler) {
        auto request = scheduler.resumeJobRequest();
        request.setJob(job);
        return request;
      },
      [](auto&) -> Result<bool> { return true; }));
}

Status Client::AcceptLoss(ShardId shard) {
  return StatusOf(impl_->AskOnce<bool>(
      "accept the loss of shard " + std::to_string(shard),
      [shard](proto::Scheduler::Client& scheduler) {
        auto request = scheduler.acceptLossRequest();
        request.setShard(shard);
        return request;
      },
      [](auto&) -> Result<bool> { return true; }));
}

Status Client::SetCopies(uint32_t copies, uint32_t min_copies) {
  return StatusOf(impl_->AskOnce<bool>(
      "keep " + std::to_string(copies) + " copies",
      [copies, min_copies](proto::Scheduler::Client& scheduler) {
        auto request = scheduler.setCopiesRequest();
        request.setCopies(copies);
        request.setMinCopies(min_copies);
        return request;
      },
      [](auto&) -> Result<bool> { return true; }));
}

Status Client::ForceShard(ShardId shard, NodeId node) {
  return StatusOf(impl_->AskOnce<bool>(
      "force shard " + std::to_string(shard),
      [shard, node](proto::Scheduler::Client& scheduler) {
        auto request = scheduler.forceShardRequest();
        request.setShard(shard);
        request.setNode(node);
        return request;
      },
      [](auto&) -> Result<bool> { return true; }));
}

}  // namespace penstock
