// Random histories of servers that end, come back, and lose their way to the scheduler, while writes are
// answered as rule 19 says: whoever serves a shard, and whoever is granted it, has every write that was ever
// answered.
#include <random>

#include "tests/unit/scheduler/fake_cluster.h"

namespace penstock {
namespace {

// A copy's content: its writes in order, each with its lsn.
struct Copy {
  Incarnation incarnation = 0;
  Epoch seen = 0;
  bool complete = false;
  std::vector<std::pair<Lsn, uint64_t>> writes;
};

struct ModelServer {
  std::string name;
  NodeId id = 0;
  uint64_t session = 0;
  bool up = false;
  bool hears_scheduler = true;
  std::map<ShardId, Copy> disk;
  std::map<ShardId, NodeGrant> serves;
  std::set<ShardId> reported;  // of those served: every in-sync copy has all of it
};

class History {
 public:
  explicit History(uint64_t seed) : random_(seed) {
    for (int i = 0; i < 3; ++i) servers_[i].name = "server-" + std::to_string(i + 1);
    for (auto& server : servers_) Come(server);
    Calm();
  }

  void Run(int steps) {
    for (int i = 0; i < steps && !::testing::Test::HasFailure(); ++i) Step();
  }
  // Everybody comes back, and time passes.
  void Calm() {
    for (auto& server : servers_) {
      server.hears_scheduler = true;
      if (!server.up) Come(server);
    }
    for (int i = 0; i < 80; ++i) {
      for (auto& server : servers_) Beat(server);
      Tick(100);
    }
  }
  size_t answered() const { return answered_.size(); }
  ControlPlane& plane() { return *c_.plane; }

 private:
  uint64_t Pick(uint64_t below) { return std::uniform_int_distribution<uint64_t>(0, below - 1)(random_); }
  ModelServer* Find(NodeId id) {
    for (auto& server : servers_) {
      if (server.id == id) return &server;
    }
    return nullptr;
  }

  void Step() {
    ModelServer& server = servers_[Pick(3)];
    switch (Pick(12)) {
      case 0:
        if (Pick(2) == 0) End(server);
        break;
      case 1:
        if (!server.up) Come(server);
        break;
      case 2:
        if (Pick(2) == 0) server.hears_scheduler = !server.hears_scheduler;
        break;
      case 3:
        if (Pick(30) == 0) c_.Start();
        break;
      case 4:
      case 5:
        Tick(static_cast<int64_t>(Pick(8)) * 100);
        break;
      case 6:
      case 7:
      case 8:
        Write(server);
        break;
      default:
        Beat(server);
    }
    CheckGrants();
  }

  void Tick(int64_t ms) {
    c_.now.ms += ms;
    c_.plane->Tick(c_.now);
  }

  void End(ModelServer& server) {
    server.up = false;
    server.session = 0;
    server.serves.clear();
    server.reported.clear();
  }
  void Come(ModelServer& server) {
    RegisterRequest request{.node = server.id, .name = server.name, .endpoints = {server.name + ":1"}};
    for (auto& [id, copy] : server.disk) request.lines.push_back(Line(server, id));
    auto answer = c_.plane->Register(request, c_.now);
    ASSERT_TRUE(answer.ok()) << answer.status().ToString();
    server.id = answer->node;
    server.session = answer->session;
    server.up = true;
  }

  ShardLine Line(const ModelServer& server, ShardId id) {
    const Copy& copy = server.disk.at(id);
    const Lsn last = copy.writes.empty() ? 0 : copy.writes.back().first;
    ShardLine line{.shard = id, .incarnation = copy.incarnation, .applied = last, .logged = last};
    line.seen = copy.seen;
    line.complete = copy.complete;
    auto served = server.serves.find(id);
    if (served == server.serves.end()) return line;
    line.epoch = server.reported.contains(id) ? served->second.grant.epoch : 0;
    line.logged = Replicate(server, id) ? last : 0;
    for (const auto& backup : served->second.backups) {
      if (backup.in_sync || backup.endpoint.empty()) continue;
      line.backups.push_back({.node = backup.node, .incarnation = backup.incarnation});
      line.backups.back().caught_up = Send(server, id, backup);
    }
    return line;
  }

  // The backup takes all that the primary has, unless it knows a later epoch.
  bool Send(const ModelServer& primary, ShardId id, const GrantedBackup& backup) {
    ModelServer* node = Find(backup.node);
    const Copy& from = primary.disk.at(id);
    if (node == nullptr || !node->up || !node->disk.contains(id)) return false;
    Copy& to = node->disk.at(id);
    const Epoch epoch = primary.serves.at(id).grant.epoch;
    if (to.incarnation != backup.incarnation || to.seen > epoch || node->serves.contains(id)) return false;
    to.seen = epoch;
    to.writes = from.writes;
    to.complete = true;
    return true;
  }
  bool Replicate(const ModelServer& primary, ShardId id) {
    bool all = true;
    for (const auto& backup : primary.serves.at(id).backups) {
      if (backup.in_sync) all &= Send(primary, id, backup);
    }
    return all;
  }

  void Write(ModelServer& server) {
    for (auto& [id, grant] : server.serves) {
      Copy& copy = server.disk[id];
      const Lsn last = copy.writes.empty() ? 0 : copy.writes.back().first;
      copy.writes.emplace_back(std::max(last + 1, grant.grant.min_lsn), ++last_write_);
      if (Replicate(server, id)) answered_[id].push_back(last_write_);
    }
  }

  void Beat(ModelServer& server) {
    if (!server.up || !server.hears_scheduler) return;
    HeartbeatRequest request{.node = server.id, .session = server.session};
    for (auto& [id, grant] : server.serves) {
      if (Replicate(server, id)) server.reported.insert(id);
    }
    for (auto& [id, copy] : server.disk) request.lines.push_back(Line(server, id));
    auto answer = c_.plane->Heartbeat(std::move(request), c_.now);
    ASSERT_TRUE(answer.ok()) << answer.status().ToString();
    if (Pick(4) == 0) return;  // the answer is lost
    const auto before = std::exchange(server.serves, {});
    for (const auto& grant : answer->wanted.grants) {
      const ShardId id = grant.grant.shard;
      Copy& copy = server.disk[id];
      if (copy.incarnation != grant.incarnation) copy = Copy{.incarnation = grant.incarnation};
      copy.complete = true;
      copy.seen = std::max(copy.seen, grant.grant.epoch);
      server.serves[id] = grant;
      auto same = before.find(id);
      if (same == before.end() || same->second.grant.epoch != grant.grant.epoch) server.reported.erase(id);
    }
    for (const auto& follow : answer->wanted.follows) {
      Copy& copy = server.disk[follow.shard];
      if (copy.incarnation != follow.incarnation) copy = Copy{.incarnation = follow.incarnation};
      copy.seen = std::max(copy.seen, follow.epoch);
    }
  }

  // Whoever is granted a shard has all that was answered.
  void CheckGrants() {
    for (ShardId id = 0; id < c_.plane->data().shards.size(); ++id) {
      const ShardRecord& shard = c_.plane->data().shards[id];
      ASSERT_EQ(shard.quarantine, "") << "nobody has lost anything";
      ModelServer* server = Find(shard.node);
      if (server == nullptr || shard.granted_session != server->session) continue;
      const auto copy = server->disk.find(id);
      for (uint64_t write : answered_[id]) {
        const bool has = copy != server->disk.end() && copy->second.incarnation == shard.incarnation &&
                         std::any_of(copy->second.writes.begin(), copy->second.writes.end(),
                                     [write](const auto& w) { return w.second == write; });
        ASSERT_TRUE(has) << "shard " << id << ": " << server->name << " lacks write " << write << " in epoch "
                         << shard.epoch;
      }
    }
  }

  std::mt19937_64 random_;
  FakeCluster c_{static_cast<uint32_t>(2 + Pick(2))};
  ModelServer servers_[3];
  uint64_t last_write_ = 0;
  std::map<ShardId, std::vector<uint64_t>> answered_;
};

TEST(CopyHistoryTest, NothingThatWasAnsweredIsLost) {
  uint64_t promotions = 0;
  size_t answered = 0;
  for (uint64_t seed = 1; seed <= 400; ++seed) {
    SCOPED_TRACE("seed " + std::to_string(seed));
    History history(seed);
    for (int i = 0; i < 4; ++i) {
      history.Run(150);
      promotions += history.plane().promotions();
      history.Calm();
      ASSERT_FALSE(HasFailure());
      ASSERT_EQ(history.plane().CountShards(ShardState::kServing), 8u) << "all are back";
      ASSERT_EQ(history.plane().CountShortOfCopies(), 0u);
    }
    answered += history.answered();
  }
  EXPECT_GT(promotions, 100u) << "or else this proves little";
  EXPECT_GT(answered, 100u);
}

}  // namespace
}  // namespace penstock
