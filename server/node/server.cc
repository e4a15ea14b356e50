#include "server/node/server.h"

#include <glog/logging.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <filesystem>
#include <mutex>
#include <optional>
#include <set>
#include <thread>
#include <utility>

#include "common/base/atomic_file.h"
#include "common/base/metrics.h"
#include "common/base/strings.h"
#include "common/cluster/node_session.h"
#include "common/cluster/wire.h"
#include "common/net/http_server.h"
#include "server/node/base_compactor.h"
#include "server/node/control_messages.h"
#include "server/node/core_runtime.h"
#include "server/node/damaged_folder.h"
#include "server/node/disk_trouble.h"
#include "server/node/fold_policy.h"
#include "server/node/fold_runner.h"
#include "server/node/leaving.h"
#include "server/node/memory_plan.h"
#include "server/node/node_file.h"
#include "server/node/open_storage.h"
#include "server/node/scheduler_contact.h"

namespace penstock {
class Server::Impl : public NodeSession::Host {
 public:
  Impl(const ClusterOptions& options, bool suspect)
      : options_(options),
        suspect_(suspect),
        memory_(PlanMemory(options.server.memory_budget_bytes)),
        data_dir_(options.cluster.data_dir),
        name_(std::filesystem::path(data_dir_).filename().string()),
        node_file_(data_dir_ + "/node"),
        damaged_folder_(data_dir_, options.server.damaged_limit_bytes),
        identity_(std::make_shared<ClusterIdentity>()),
        leaving_(name_, options.scheduler.heartbeat_ms),
        control_(name_ + "/control") {
    identity_->name = name_;
  }

  Status Start(const std::function<bool()>& interrupted) {
    PENSTOCK_RETURN_IF_ERROR(
        CheckPeerName(name_).Prepend("cluster.data_dir, whose last folder is the server's name"));
    PENSTOCK_RETURN_IF_ERROR(ReadTokens(options_.security, identity_.get()));
    control_.Run([this] {
      connections_ = std::make_unique<ConnectionCache>(
          control_, identity_, ConnectionOptions{.connect_timeout_ms = options_.client.connect_timeout_ms});
      link_ = std::make_unique<SchedulerLink>(control_, *connections_, options_.cluster.scheduler);
    });
    contact_ = std::make_unique<SchedulerContact>(control_, *link_, name_);
    if (const Status opened = Open(interrupted); !opened.ok()) {
      if (opened.code() != Code::kCancelled) contact_->TellCannotStart(opened);
      return opened;
    }
    control_.Run([this] {
      session_ =
          std::make_unique<NodeSession>(control_, *link_, *this, name_, options_.scheduler.heartbeat_ms);
      session_->set_term(state_.term);
      running_ = session_->Run().eagerlyEvaluate(
          [this](kj::Exception&& e) { LOG(ERROR) << name_ << ": session: " << e.getDescription().cStr(); });
    });
    return Status::Ok();
  }

  ~Impl() noexcept override { Stop(); }

  void Stop() {
    if (stopped_) return;
    stopped_ = true;
    control_.Run([this] { running_.reset(); });
    http_.reset();
    for (auto& core : cores_) core->CloseConnections();
    for (auto& core : cores_) core->FlushAll();
    if (session_ != nullptr) contact_->ReportLast(*session_);
    control_.Run([this] { session_.reset(); });
    if (fold_runner_ != nullptr) fold_runner_->FoldRest();
    fold_runner_.reset();
    compactor_.reset();
    for (auto& core : cores_) core->BeginStop();
    appender_.reset();
    if (storage_.log != nullptr) storage_.log->Close();
    for (auto& core : cores_) core->Stop();
    cores_.clear();
    contact_.reset();
    control_.Run([this] {
      link_.reset();
      connections_.reset();
    });
    control_.Stop();
  }

  void Drain(uint64_t grace_ms) {
    leaving_.Wait(grace_ms, [this] { return !refused().ok(); });
  }

  Status refused() const {
    std::lock_guard lock(mutex_);
    return refused_;
  }
  bool damaged() const { return damaged_; }

 private:
  Status Open(const std::function<bool()>& interrupted) {
    PENSTOCK_RETURN_IF_ERROR(MakeDirectories(data_dir_));
    PENSTOCK_ASSIGN_OR_RETURN(state_, node_file_.Load());
    state_.suspect |= suspect_;
    identity_->cluster = state_.cluster;
    if (state_.cluster == 0) {
      // The cluster's id comes with the scheduler's handshake.
      PENSTOCK_RETURN_IF_ERROR(contact_->Connect(interrupted));
      state_.cluster = identity_->cluster;
      PENSTOCK_RETURN_IF_ERROR(node_file_.Save(state_));
    }
    PENSTOCK_RETURN_IF_ERROR(OpenStorage());
    PENSTOCK_RETURN_IF_ERROR(StartCores());
    StartFold();
    return StartHttp();
  }

  uint64_t FoldAtNow() const {
    std::error_code failed;  // then it is said to be full
    const auto disk = std::filesystem::space(data_dir_, failed);
    return FoldAt({.fold_bytes = options_.server.fold_bytes,
                   .log_limit_bytes = options_.server.log_limit_bytes,
                   .segment_bytes = options_.server.segment_bytes,
                   .memory_budget_bytes = memory_.rows,
                   .recovery_seconds = options_.server.recovery_seconds},
                  {.live_bytes = metrics_.resident_bytes,
                   .log_bytes = metrics_.log_bytes,
                   .free_bytes = failed ? 0 : disk.available,
                   .replay_speed = replay_speed_});
  }

  Status OpenStorage() {
    PENSTOCK_ASSIGN_OR_RETURN(
        storage_,
        penstock::OpenStorage(files_,
                              {.name = name_,
                               .data_dir = data_dir_,
                               .segment_bytes = options_.server.segment_bytes,
                               .fold_bytes = options_.server.fold_bytes,
                               .block_cache_bytes = memory_.block_cache,
                               .loaded_bytes = memory_.loaded,
                               .reported = [this] { return contact_->ReportedSynced(state_.node); }},
                              state_, damaged_folder_));
    appender_ = std::make_unique<LogAppender>(*storage_.log, metrics_);
    const bool suspect = std::exchange(state_.suspect, false);
    if (storage_.replay_speed != 0) state_.replay_speed = storage_.replay_speed;
    replay_speed_ = state_.replay_speed;
    if (!suspect && storage_.replay_speed == 0) return Status::Ok();
    return node_file_.Save(state_);
  }

  Status StartCores() {
    const auto pace = std::make_shared<SeedPace>(options_.server.seed_bytes_per_s);
    for (uint32_t i = 0; i < options_.server.cores; ++i) {
      cores_.push_back(std::make_unique<CoreRuntime>(
          CoreOptions{.core = i,
                      .cluster = state_.cluster,
                      .memory_budget_bytes = memory_.rows / options_.server.cores,
                      .loaded_bytes = memory_.loaded / options_.server.cores,
                      .memory_lag_ms = options_.server.memory_lag_ms,
                      .expire_interval_ms = options_.server.expire_interval_ms,
                      .max_unit_bytes = options_.server.max_unit_bytes,
                      .log_limit_bytes = options_.server.log_limit_bytes,
                      .copy_wait_ms = options_.server.copy_wait_ms,
                      .copy_tail_bytes = options_.server.copy_tail_bytes,
                      .node_name = name_},
          options_.server.spin_us, pace, identity_, *appender_, *storage_.base,
          ServerCore::Asks{
              .fold = [this] { fold_wanted_ = true; },
              .base_damaged = [this](const Status& damage) { NoteDamage(damage, true); },
              .discarded =
                  [this](const Follow& life) { fold_runner_->Discard(life.shard, life.incarnation); }},
          metrics_));
      RpcServerOptions rpc{
          .host = options_.server.listen,
          .port = static_cast<uint16_t>(options_.server.port == 0 ? 0 : options_.server.port + i),
          .advertise_host = options_.server.advertise_host,
          .max_connections = options_.server.max_connections,
          .limit_name = "server.max_connections",
          .counters = &metrics_.rpc};
      PENSTOCK_RETURN_IF_ERROR(cores_.back()->Listen(identity_, rpc).Prepend(name_));
    }
    std::vector<TableSpec> specs;
    for (const auto& [id, spec] : state_.tables) specs.push_back(spec);
    for (auto& core : cores_) core->loop().Run([&] { core->core().SetTables(specs, {}); });
    for (auto& entry : storage_.shards) {
      const ShardId id = entry.first;
      if (entry.second->pieces() > 0) {
        LOG(INFO) << name_ << ": shard " << id << ": a seed that had not ended is discarded";
        unfinished_.push_back({.shard = id, .incarnation = entry.second->incarnation()});
        continue;
      }
      metrics_.resident_bytes += entry.second->ResidentBytes();  // the length of the log follows it
      CoreRuntime& core = CoreOf(id);
      core.loop().Run([&] {
        core.core().AdoptShard(std::move(entry.second), storage_.folded[id],
                               storage_.damaged.count(id) ? storage_.damaged[id].reason : "");
      });
    }
    storage_.shards.clear();
    for (auto& core : cores_) core->LoadRows();
    return Status::Ok();
  }

  // From a core's loop or a fold's thread, while it serves. `alone_too`: also where no copies are elsewhere,
  // of which it heals; else its memory may have what its disk has no more.
  void NoteDamage(const Status& damage, bool alone_too) {
    control_.Post([this, damage, alone_too] {
      if (state_.suspect || (!alone_too && !state_.copied)) return;
      LOG(ERROR) << name_ << ": begins again, and reads its base as a whole: " << damage.message();
      state_.suspect = true;
      const Status saved = node_file_.Save(state_);
      if (!saved.ok()) LOG(ERROR) << name_ << ": " << saved.ToString();
      damaged_ = true;
    });
  }

  // After the cores, whom it tells.
  void StartFold() {
    compactor_ = std::make_unique<BaseCompactor>(*storage_.base, metrics_);
    FoldRunner::Options fold{
        .log_dir = storage_.log->dir(),
        .cluster = state_.cluster,
        .fold_at = [this] { return FoldAtNow(); },
        .segment_bytes = options_.server.segment_bytes,
        .fold = {.image_buffer_bytes = memory_.fold_images, .index_limit_bytes = memory_.fold_index},
        .quarantined = {},
        .damaged = [this](const Status& damage) { NoteDamage(damage, false); },
        .wanted = &fold_wanted_};
    for (const auto& [shard, damage] : storage_.damaged) fold.quarantined[shard] = damage.incarnation;
    fold_runner_ =
        std::make_unique<FoldRunner>(fold, files_, *storage_.log, *appender_, *storage_.base, metrics_,
                                     [this](const FoldRunner::Folded& done) { TellFolded(done); });
    for (const Follow& life : unfinished_) fold_runner_->Discard(life.shard, life.incarnation);
  }

  // A shard keeps its core for as long as the number of cores stays, so its data is loaded where it will be
  // served.
  CoreRuntime& CoreOf(ShardId shard) { return *cores_[shard % cores_.size()]; }

  Status StartHttp() {
    metrics_.Declare(registry_);
    http_ = std::make_unique<HttpServer>(HttpOptions{.host = options_.server.listen,
                                                     .port = options_.server.http_port,
                                                     .advertise_host = options_.server.advertise_host,
                                                     .name = name_},
                                         registry_, [this] { return Ready(); });
    PENSTOCK_RETURN_IF_ERROR(http_->Start().Prepend(name_));
    return WriteFileAtomically(data_dir_ + "/http_address", http_->address() + "\n");
  }

  Status Ready() const {
    std::lock_guard lock(mutex_);
    if (!refused_.ok()) return refused_;
    if (Status log = storage_.log->failure(); !log.ok()) return log;
    if (!disk_.ok()) return disk_;
    return granted_ ? Status::Ok() : Unavailable(name_ + " has no grants from the scheduler yet");
  }

  void TellFolded(const FoldRunner::Folded& done) {
    compactor_->Look();
    for (auto& core : cores_) {
      core->loop().Post([&core = *core, done] { core.core().SetFolded(done); });
    }
  }

  // The reports of all cores, back on the control loop.
  kj::Promise<std::vector<CoreLine>> Gather() {
    auto paf = kj::newPromiseAndFulfiller<std::vector<CoreLine>>();
    struct Pending {
      std::vector<CoreLine> lines;
      size_t missing;
      kj::Own<kj::PromiseFulfiller<std::vector<CoreLine>>> done;
    };
    auto pending = std::make_shared<Pending>();  // touched on the control loop only
    pending->missing = cores_.size();
    pending->done = kj::mv(paf.fulfiller);
    for (uint32_t i = 0; i < cores_.size(); ++i) {
      // The core keeps no reference: the fulfiller belongs to the control loop.
      cores_[i]->loop().Post([this, i, pending = pending]() mutable {
        control_.Post([i, pending = std::move(pending), lines = cores_[i]->core().Report()] {
          for (const auto& line : lines) pending->lines.emplace_back(i, line);
          if (--pending->missing == 0) pending->done->fulfill(kj::mv(pending->lines));
        });
      });
    }
    return kj::mv(paf.promise);
  }

  template <typename Params>
  void FillShards(const std::vector<CoreLine>& lines, Params params) {
    WriteShardReports(lines, params.initShards(static_cast<uint32_t>(lines.size())));
    uint64_t bytes = 0, marks_bytes = 0;
    for (const auto& [core, line] : lines) {
      bytes += line.bytes;
      marks_bytes += line.marks_bytes;
    }
    metrics_.resident_bytes = bytes;
    metrics_.marks_bytes = marks_bytes;
  }

  kj::Promise<void> FillRegister(proto::Scheduler::RegisterParams::Builder params) override {
    return Gather().then([this, params](std::vector<CoreLine>&& lines) mutable {
      params.setRole(proto::Role::SERVER);
      params.setNode(state_.node);
      params.setName(name_);
      auto endpoints = params.initEndpoints(static_cast<uint32_t>(cores_.size()));
      for (uint32_t i = 0; i < cores_.size(); ++i) endpoints.set(i, cores_[i]->endpoint());
      params.setHttpEndpoint(http_->address());
      if (!options_.server.host.empty()) params.setHost(options_.server.host);
      params.setZone(options_.server.zone);
      params.setMemoryBytes(memory_.rows);
      params.setHighestTerm(state_.term);
      params.setHighestMapVersion(state_.map_version);
      FillShards(lines, params);
    });
  }

  kj::Promise<void> FillHeartbeat(proto::Scheduler::HeartbeatParams::Builder params) override {
    return Gather().then([this, params](std::vector<CoreLine>&& lines) mutable {
      params.setTableVersion(state_.table_version);
      params.setHold(true);
      params.setLeaving(leaving_.wanted());
      params.setLoading(metrics_.loading_tables > 0);
      params.setMapVersion(state_.map_version);
      params.setNote(DamagedNote());
      DiskTrouble trouble = LookForDiskTrouble(*storage_.log, *fold_runner_, node_file_,
                                               options_.server.log_limit_bytes, metrics_);
      params.setTrouble(trouble.text);
      {
        std::lock_guard lock(mutex_);
        disk_ = trouble.refuses ? Unavailable(StrCat(name_, ": ", trouble.text)) : Status::Ok();
      }
      FillShards(lines, params);
    });
  }

  std::string DamagedNote() {
    damaged_folder_.LookNowAndThen();
    metrics_.damaged_bytes = damaged_folder_.bytes();
    return damaged_folder_.Note();
  }

  Status OnRegistered(proto::Scheduler::RegisterResults::Reader results) override {
    NodeState next = state_;
    next.node = results.getNode();
    next.term = results.getTerm();
    PENSTOCK_RETURN_IF_ERROR(ReadTables(results.getTables(), &next.tables));
    for (auto& core : cores_) core->SetShards(results.getShardCount());
    return Adopt(std::move(next), {});
  }

  Status OnHeartbeat(proto::Scheduler::HeartbeatResults::Reader results) override {
    if (results.getMapVersion() < state_.map_version) {
      return Unavailable("a scheduler with map version " + std::to_string(results.getMapVersion()) +
                         " answered, version " + std::to_string(state_.map_version) + " was seen before");
    }
    NodeState next = state_;
    next.term = results.getTerm();
    std::vector<TableId> dropped;
    for (TableId table : results.getDroppedTables()) dropped.push_back(table);
    PENSTOCK_RETURN_IF_ERROR(ReadTables(results.getTables(), &next.tables));
    for (TableId table : dropped) next.tables.erase(table);
    next.table_version = results.getTableVersion();
    next.copied = HasCopies(results);
    state_.map_version = next.map_version = results.getMapVersion();
    // Specs are on disk before a shard may use them: replay needs no scheduler.
    PENSTOCK_RETURN_IF_ERROR(Adopt(std::move(next), dropped));
    GiveGrants(results);
    leaving_.OnHeartbeat(results.getMayLeave());
    return Status::Ok();
  }

  // Each shard that it holds is held by another server in sync, too: what it serves, what it follows, and
  // nothing that is damaged here and waits for an operator.
  bool HasCopies(proto::Scheduler::HeartbeatResults::Reader results) const {
    std::set<ShardId> held;
    for (auto grant : results.getGrants()) {
      bool in_sync = false;
      for (auto backup : grant.getBackups()) in_sync |= backup.getInSync();
      if (!in_sync) return false;
      held.insert(grant.getShard());
    }
    for (auto follow : results.getFollows()) held.insert(follow.getShard());
    const bool damaged_held = std::all_of(storage_.damaged.begin(), storage_.damaged.end(),
                                          [&](const auto& damaged) { return held.contains(damaged.first); });
    return !held.empty() && damaged_held;
  }

  Status Adopt(NodeState next, const std::vector<TableId>& dropped) {
    if (next.node == state_.node && next.term == state_.term && next.table_version == state_.table_version &&
        next.tables == state_.tables) {
      state_.copied = next.copied;
      node_file_.SaveSoon(state_);
      return Status::Ok();
    }
    PENSTOCK_RETURN_IF_ERROR(node_file_.Save(next));
    std::vector<TableSpec> changed;
    for (const auto& [id, spec] : next.tables) {
      auto it = state_.tables.find(id);
      if (it == state_.tables.end() || !(it->second == spec)) changed.push_back(spec);
    }
    state_ = std::move(next);
    for (auto& core : cores_) {
      core->loop().Post([&core = *core, changed, dropped] { core.core().SetTables(changed, dropped); });
    }
    return Status::Ok();
  }

  void GiveGrants(proto::Scheduler::HeartbeatResults::Reader results) {
    std::vector<WantedShards> wanted = ReadWantedShards(results, cores_.size());
    EndQuarantines(results);
    for (size_t i = 0; i < cores_.size(); ++i) {
      cores_[i]->loop().Post([&core = *cores_[i], wanted = std::move(wanted[i])] {  //
        core.core().ApplyWanted(wanted);
      });
    }
    std::lock_guard lock(mutex_);
    granted_ = results.getGrants().size() + results.getFollows().size() > 0;
  }

  // A damaged shard is granted when its loss was accepted, or in another life, seeded by another copy; or it
  // is not needed here any more.
  void EndQuarantines(proto::Scheduler::HeartbeatResults::Reader results) {
    const auto end = [this](ShardId shard) {
      if (storage_.damaged.erase(shard) > 0) fold_runner_->EndQuarantine(shard);
    };
    for (auto grant : results.getGrants()) end(grant.getShard());
    for (auto life : results.getDiscards()) end(life.getShard());
  }

  void OnRefused(Status status) override {
    std::lock_guard lock(mutex_);
    refused_ = std::move(status);
  }

  const ClusterOptions options_;
  const bool suspect_;
  const MemoryPlan memory_;
  const std::string data_dir_;
  const std::string name_;
  NodeFile node_file_;
  DamagedFolder damaged_folder_;  // after Start: the control loop's, like what follows
  std::shared_ptr<ClusterIdentity> identity_;
  Leaving leaving_;
  ServerMetrics metrics_;
  MetricsRegistry registry_;
  PosixFileLayer files_;
  NodeState state_;  // after Start: the control loop's
  KjLoop control_;
  std::unique_ptr<ConnectionCache> connections_;  // on the control loop, like the next three
  std::unique_ptr<SchedulerLink> link_;
  std::unique_ptr<SchedulerContact> contact_;
  std::unique_ptr<NodeSession> session_;
  std::optional<kj::Promise<void>> running_;
  Storage storage_;                 // the shards: until the cores have them
  std::vector<Follow> unfinished_;  // seeds of an earlier life of this process
  std::unique_ptr<LogAppender> appender_;
  std::vector<std::unique_ptr<CoreRuntime>> cores_;
  std::unique_ptr<BaseCompactor> compactor_;
  std::atomic<bool> fold_wanted_{false};
  std::atomic<uint64_t> replay_speed_{0};
  std::unique_ptr<FoldRunner> fold_runner_;
  std::unique_ptr<HttpServer> http_;
  std::atomic<bool> damaged_{false};
  bool stopped_ = false;
  mutable std::mutex mutex_;
  Status refused_;        // guarded by mutex_
  Status disk_;           // of the last heartbeat; guarded by mutex_
  bool granted_ = false;  // guarded by mutex_
};

Result<std::unique_ptr<Server>> Server::Start(const ClusterOptions& options,
                                              const std::function<bool()>& interrupted, bool suspect) {
  std::unique_ptr<Server> server(new Server(std::make_unique<Impl>(options, suspect)));
  PENSTOCK_RETURN_IF_ERROR(server->impl_->Start(interrupted));
  return server;
}

Server::Server(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
Server::~Server() = default;
void Server::Stop() { impl_->Stop(); }
void Server::Drain(uint64_t grace_ms) { impl_->Drain(grace_ms); }
Status Server::refused() const { return impl_->refused(); }
bool Server::damaged() const { return impl_->damaged(); }

}  // namespace penstock
