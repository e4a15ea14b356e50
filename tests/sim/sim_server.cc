#include "tests/sim/sim_server.h"

#include "tests/sim/sim_cluster.h"
#include "tests/sim/sim_replicator.h"

namespace penstock::sim {
namespace {

constexpr uint64_t kHeartbeatMs = 200;
constexpr uint64_t kAskedMs = 20;  // when the scheduler wants a sign
constexpr uint64_t kCallMs = 1000;

}  // namespace

SimServer::SimServer(SimCluster& cluster, uint32_t number, uint64_t seed, bool with_base)
    : cluster_(cluster),
      world_(cluster.world),
      name_(StrCat("server-", number)),
      self_(cluster.world.Add(name_)),
      disk_(seed * 31 + number, with_base) {}
SimServer::~SimServer() = default;

bool SimServer::up() const { return world_.up(self_); }
bool SimServer::in_touch() const {
  return session_ != 0 && world_.now_ms() <= answered_ms_ + 2 * kHeartbeatMs;
}
std::string SimServer::endpoint() const { return StrCat(self_, ":", world_.life(self_)); }

void SimServer::Start() {
  world_.Start(self_);
  world_.Note(self_, "starts");
  world_.After(self_, world_.Between(1000, 40000), Step::kReplayBegun, [this] { Replayed(); });
}

void SimServer::Replayed() {
  core_ = std::make_unique<SimCore>(cluster_, self_, name_, disk_);
  if (const Status opened = core_->Open(); !opened.ok()) {
    world_.Note(self_, "cannot start: ", opened.message());
    // The process ends, and whoever supervises it tries again.
    world_.End(self_, false);
    core_.reset();
    return world_.After(500'000, [this] {
      if (!up()) Start();
    });
  }
  Register();
}

void SimServer::End(bool power) {
  world_.Note(self_, power ? "loses power" : "is killed");
  world_.End(self_, power);
  core_.reset();
  scheduler_.reset();
  session_ = 0;
  if (!power) {
    // A machine without power refuses nobody; a process that has ended does, until it has registered again.
    world_.After(world_.Between(1'000, 60'000), [this] { SeemEnded(); });
    return disk_.Mend();
  }
  cluster_.truth.OnPowerCut(*this);
  disk_.PowerCut();
}

void SimServer::SeemEnded() {
  if (session_ == 0 && node() != 0) cluster_.scheduler.NoteEnded(node());
}

void SimServer::Again(uint64_t ms, void (SimServer::*what)()) {
  world_.After(self_, ms * 1000, Step::kNone, [this, what] { (this->*what)(); });
}

// --- The scheduler.

void SimServer::Register() {
  if (!cluster_.scheduler.up()) return Again(kHeartbeatMs, &SimServer::Register);
  scheduler_ = world_.Connect(self_, cluster_.scheduler.self());
  const SimNodeFile& file = disk_.node_file();
  RegisterRequest request{.node = file.node,
                          .name = name_,
                          .endpoints = {endpoint()},
                          .lines = core_->Report(),
                          .highest_term = file.term,
                          .highest_map_version = file.map_version};
  world_.Call<RegisterReply>(
      scheduler_, Step::kRegisterSent, Step::kNone, kCallMs,
      [&cluster = cluster_, request](auto reply) { reply(cluster.scheduler.Register(request)); },
      [this](std::optional<RegisterReply> reply) {
        if (!reply || !reply->status.ok()) {
          if (reply) world_.Note(self_, "is not registered: ", reply->status.message());
          return Again(kHeartbeatMs, &SimServer::Register);
        }
        OnRegistered(*reply);
      });
}

void SimServer::OnRegistered(const RegisterReply& reply) {
  session_ = reply.answer.session;
  answered_ms_ = world_.now_ms();
  disk_.node_file().node = reply.answer.node;
  disk_.node_file().term = reply.term;
  for (const TableSpec& spec : reply.tables) disk_.node_file().tables[spec.id] = spec;
  core_->SetTables(disk_.node_file().tables);
  Heartbeat();
}

void SimServer::Heartbeat() {
  HeartbeatRequest request{.node = node(), .session = session_, .lines = core_->Report()};
  world_.Call<HeartbeatReply>(
      scheduler_, Step::kHeartbeatSent, Step::kNone, kCallMs,
      [&cluster = cluster_, request, version = disk_.node_file().table_version](auto reply) {
        reply(cluster.scheduler.Heartbeat(request, version));
      },
      [this](std::optional<HeartbeatReply> reply) {
        if (!reply) return Again(kHeartbeatMs / 2, &SimServer::Register);
        if (!reply->status.ok()) {
          const bool again = reply->status.code() == Code::kFailedPrecondition;
          return Again(kHeartbeatMs, again ? &SimServer::Register : &SimServer::Heartbeat);
        }
        OnHeartbeat(*reply);
        const bool asked = std::exchange(sign_, reply->answer.wanted.sign) != reply->answer.wanted.sign;
        Again(asked ? kAskedMs : kHeartbeatMs, &SimServer::Heartbeat);
      });
}

void SimServer::OnHeartbeat(const HeartbeatReply& reply) {
  answered_ms_ = world_.now_ms();
  SimNodeFile& file = disk_.node_file();
  if (reply.answer.map_version < file.map_version) return;  // of an older scheduler
  file.term = reply.term;
  file.map_version = reply.answer.map_version;
  for (const TableSpec& spec : reply.tables) file.tables[spec.id] = spec;
  file.table_version = reply.answer.wanted.table_version;
  core_->SetTables(file.tables);
  core_->ApplyWanted(reply.answer.wanted, reply.forget_floor);
}

}  // namespace penstock::sim
