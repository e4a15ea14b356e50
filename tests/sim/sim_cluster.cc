#include "tests/sim/sim_cluster.h"

#include <algorithm>
#include <nlohmann/json.hpp>

namespace penstock::sim {
namespace {

constexpr uint64_t kFaultsFromMs = 2500, kFaultsToMs = 9500, kHealMs = 11000, kRestMs = 90000;

TableSpec AddTable(const std::string& name, Durability level, TableId id = 0) {
  TableSpec spec{.id = id, .name = name, .dim = 1};
  spec.optimizer.kind = OptimizerKind::kAdd;
  spec.optimizer.learning_rate = OptimizerSpec{}.learning_rate;
  spec.durability = level;
  return spec;
}

}  // namespace

SimOptions DrawOptions(uint64_t seed) {
  std::mt19937_64 random(seed * 0x2545f4914f6cdd1dULL + 7);
  const auto pick = [&](uint64_t below) { return random() % below; };
  SimOptions options{.seed = seed};
  options.copies = static_cast<uint32_t>(1 + pick(3));
  options.servers = static_cast<uint32_t>(std::max<uint64_t>(options.copies, 2 + pick(3)));
  options.isolation = seed % 8 == 5;
  if (options.isolation) options.copies = options.servers = 3;
  options.min_copies = static_cast<uint32_t>(1 + pick(options.copies));
  options.kept_tail_bytes = pick(3) == 0 ? 0 : 4096;
  TableId id = 0;
  for (const Durability level : {Durability::kMemory, Durability::kLogged, Durability::kSynced})
    options.tables.push_back(AddTable(StrCat("t", static_cast<int>(level)), level, ++id));
  options.weights = static_cast<Durability>(pick(3));
  options.ledger_synced = pick(2) == 0;
  options.passes = static_cast<uint32_t>(1 + pick(2));
  options.with_base = seed % 10 == 0;
  options.damage = pick(5) == 0;
  options.delay_us = pick(4) == 0 ? 20000 : 2500;
  options.loss = pick(3) == 0 ? 0 : 300 + pick(2000);
  options.push_every_ms = 60 + pick(120);
  options.lease_ms = pick(2) == 0 ? 1200 : 3000;
  options.losses = seed % 8 == 3;
  if (options.losses) {
    // Nothing is synced but where a segment ends, and there is no other copy.
    options.servers = 2;
    options.copies = options.min_copies = 1;
    options.tables.pop_back();
    options.weights = Durability::kLogged;
    options.ledger_synced = options.damage = false;
    options.partitions = 24;
    // Workers hear late that their leases have ended.
    options.lease_ms = 3000;
    options.report_ms = 1000;
    options.passes = 1;
  }
  options.moves = seed % 3 == 0 && !options.losses;
  return options;
}

std::string Describe(const SimOptions& o) {
  return StrCat("seed ", o.seed, ": ", o.servers, " servers, ", o.copies, " copies, at least ", o.min_copies,
                o.isolation ? ", isolation" : "", o.losses ? ", losses" : "",
                o.with_base ? ", with a base" : "", o.damage ? ", with damage" : "");
}

SimCluster::SimCluster(const SimOptions& options)
    : options_(options),
      world({.seed = options.seed,
             .print_trace = options.print_trace,
             .delay_us = options.delay_us,
             .loss = options.loss}),
      truth(*this),
      scheduler(*this, PlaneOptions()) {
  world.OnReached([this](Step step, Endpoint process) { faults_->OnReached(step, process); });
  for (uint32_t i = 1; i <= options_.servers; ++i)
    servers_.push_back(std::make_unique<SimServer>(*this, i, options_.seed, options_.with_base));
  for (uint32_t i = 1; i <= 2; ++i) clients_.push_back(std::make_unique<SimClient>(*this, i));
  for (uint32_t i = 1; i <= 2; ++i) workers_.push_back(std::make_unique<SimWorker>(*this, i));
  faults_ = std::make_unique<SimFaults>(*this, kFaultsFromMs, kFaultsToMs);
}
SimCluster::~SimCluster() = default;

ControlPlaneOptions SimCluster::PlaneOptions() const {
  ControlPlaneOptions plane{.shards = options_.shards,
                            .servers = options_.servers,
                            .copies = options_.copies,
                            .min_copies = options_.min_copies};
  plane.leases.lease_ms = options_.lease_ms;
  plane.nodes = {.suspect_ms = 800, .dead_ms = 1800};
  plane.balance.delay_ms = options_.moves ? 300 : 2000;
  return plane;
}

std::string SimCluster::JobText() const {
  const Durability ledger = options_.ledger_synced ? Durability::kSynced : Durability::kLogged;
  return nlohmann::json{
      {"name", "job"},
      {"options", nlohmann::json::object()},
      {"tables", {AddTable("weights", options_.weights), AddTable("ledger", ledger)}},
      {"plan",
       {{"train",
         {{"partitions", options_.partitions}, {"records", 1000}, {"bytes", 1}, {"fingerprint", "00"}}},
        {"test", nullptr}}},
      {"passes", options_.passes},
      {"consistency", "async"},
      {"evaluate_train", false},
      {"evaluate_test", false}}
      .dump();
}

// --- Who is where.

std::optional<Endpoint> SimCluster::FindServer(const std::string& endpoint) const {
  for (const auto& server : servers_) {
    if (server->up() && server->endpoint() == endpoint) return server->self();
  }
  return std::nullopt;
}

SimCore* SimCluster::FindCore(Endpoint process) const {
  for (const auto& server : servers_) {
    if (server->self() == process) return server->core();
  }
  return nullptr;
}

SimServer* SimCluster::ServerOf(NodeId node) const {
  for (const auto& server : servers_) {
    if (server->node() == node) return server.get();
  }
  return nullptr;
}

bool SimCluster::IsHeard(const SimServer& server) const {
  const Endpoint self = server.self(), other = scheduler.self();
  return server.core() != nullptr && server.in_touch() && !world.paused(self) && !world.IsCut(self, other) &&
         !world.IsCut(other, self);
}

UnitNumber SimCluster::NumberOf(uint64_t key, UnitRecord unit) {
  UnitNumber& number = numbers_[key];
  if (number == 0) number = truth.NewUnit(std::move(unit));
  return number;
}

void SimCluster::OnReached(Step step, NodeId node) {
  const SimServer* server = ServerOf(node);
  if (server != nullptr && faults_ != nullptr) faults_->OnReached(step, server->self());
}

void SimCluster::NotePause(Endpoint process) { paused_.insert(process); }

// --- The run.

void SimCluster::RunUntil(uint64_t ms) {
  bool over = false;
  world.After(ms > world.now_ms() ? ms * 1000 - world.now_us() : 0, [&over] { over = true; });
  while (!over && world.failed().empty() && world.RunNext()) {
  }
}

void SimCluster::AcceptLosses(uint64_t every_ms) {
  scheduler.AcceptLosses();
  world.After(every_ms * 1000, [this, every_ms] { AcceptLosses(every_ms); });
}

void SimCluster::BeginFolds() {
  for (const auto& server : servers_) {
    if (server->core() != nullptr && world.OneIn(2)) server->core()->BeginFold();
  }
  world.After(world.Between(500, 1500) * 1000, [this] { BeginFolds(); });
}

// Of any shard from any of its servers to any other; and now and then a server is drained, or no more.
void SimCluster::MoveSomeShard() {
  if (world.now_ms() >= kHealMs) return;
  const auto node = [&] { return servers_[world.Pick(servers_.size())]->node(); };
  if (scheduler.up() && world.OneIn(5)) scheduler.Drain(node(), world.OneIn(2));
  if (scheduler.up()) scheduler.MoveShard(world.Pick(options_.shards), world.OneIn(3) ? node() : 0, node());
  world.After(world.Between(50, 600) * 1000, [this] { MoveSomeShard(); });
}

void SimCluster::Run() {
  scheduler.Start();
  scheduler.Submit(options_.tables, JobText());
  for (const auto& server : servers_) server->Start();
  for (const auto& client : clients_) client->Start();
  for (const auto& worker : workers_) worker->Start();
  if (options_.with_base) BeginFolds();
  if (options_.moves) MoveSomeShard();
  AcceptLosses(1500);
  RunUntil(kHealMs);
  world.Note(scheduler.self(), "everything is healed");
  faults_->HealAll();
  for (const auto& client : clients_) client->Stop();
  Settle();
  if (!world.failed().empty()) return;
  truth.CheckEnd();
  if (world.events() < 2000 || faults_->count() < 3) {
    world.Fail("enough_happens", StrCat(world.events(), " events, ", faults_->count(), " faults"));
  }
}

// The scheduler may not take it at once.
void SimCluster::Undrain() {
  for (const auto& [id, node] : scheduler.data().nodes) {
    if (node.drained) scheduler.Drain(id, false);
  }
}

void SimCluster::Settle() {
  for (uint64_t ms = kHealMs; world.failed().empty(); ms += 250) {
    RunUntil(ms);
    Undrain();
    const std::string why = WhyNotQuiet();
    if (why.empty()) return;
    if (ms > kHealMs + kRestMs) return world.Fail("it_comes_to_rest", why);
  }
}

std::string SimCluster::WhyNotQuiet() const {
  for (const auto& client : clients_) {
    if (!client->idle()) return "a client still pushes";
  }
  const StateData& data = scheduler.data();
  const JobRecord& job = data.jobs.at(1);
  if (job.state != JobState::kDone)
    return StrCat("the job is in state ", static_cast<int>(job.state), ", pass ", job.pass, " ", job.error);
  for (const auto& server : servers_) {
    if (server->core() == nullptr || !server->core()->Quiet())
      return StrCat("node ", server->node(), " is not quiet");
  }
  for (ShardId id = 0; id < data.shards.size(); ++id) {
    if (std::string why = WhyShardNotQuiet(id); !why.empty()) return StrCat("shard ", id, ": ", why);
  }
  return "";
}

std::string SimCluster::WhyShardNotQuiet(ShardId id) const {
  const ShardRecord& record = scheduler.data().shards[id];
  if (!record.quarantine.empty()) return record.quarantine;
  if (record.held) return "it is held";
  if (record.move.from != 0) return "it moves: " + nlohmann::json(record).dump();
  const SimSlot* slot = ServerOf(record.node)->core()->GetSlot(id);
  if (slot == nullptr || !slot->replica.granted() || slot->replica.SettledEpoch() != record.epoch)
    return StrCat("epoch ", record.epoch, " is not served");
  if (CountPromotable(record) < options_.copies) return StrCat(CountPromotable(record), " copies could lead");
  if (slot->replica.Logged() < slot->shard->last_lsn())
    return "its copies lack deltas: " + slot->replica.copies()->Missing(slot->shard->last_lsn());
  for (const CopyRecord& copy : record.backups) {
    const SimSlot* backup = ServerOf(copy.node)->core()->GetSlot(id);
    if (backup == nullptr || backup->replica.logged_here() < slot->shard->last_lsn())
      return StrCat("node ", copy.node, " lacks deltas");
  }
  return "";
}

}  // namespace penstock::sim
