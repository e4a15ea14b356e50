// A shard on its way to another server, and one of those who take part in that killed, stopped or cut off, at
// every step of it: nothing may be lost or counted twice, and every shard must be served soon after.
#include <signal.h>

#include <array>
#include <nlohmann/json.hpp>

#include "client/admin.h"
#include "common/base/strings.h"
#include "tests/chaos/cluster_run.h"

namespace penstock {
namespace {

constexpr int kBeginMs = 30000;   // until a move is taken, while the last fault is got over
constexpr int kStepMs = 5000;     // until a move has come to a step
constexpr int kServedMs = 10000;  // after the fault has ended
constexpr int kOverMs = 60000;    // until nothing moves any more

// As the scheduler shows them; "begun" is before any of them, "over" behind all.
constexpr std::array<const char*, 5> kSteps{"begun", "copying", "in sync", "handing over", "over"};
constexpr std::array<const char*, 4> kVictims{"source", "target", "scheduler", "another"};
constexpr std::array<const char*, 3> kFaults{"kill -9", "SIGSTOP", "cut"};

class MoveKill : public ClusterRun {
 public:
  using ClusterRun::ClusterRun;

 private:
  struct Move {
    ShardId shard = 0;
    std::string from, to, other;  // servers; other: neither, empty where there is none
  };

  void Do(ChaosCluster& cluster, std::mt19937_64& random, Iteration* iteration) override {
    if (!BeginLoad(cluster, 20 + DrawBelow(random, 100), iteration)) return;
    const std::string step = kSteps[DrawBelow(random, kSteps.size())];
    const std::string role = kVictims[DrawBelow(random, kVictims.size())];
    const std::string fault = kFaults[DrawBelow(random, kFaults.size())];
    const uint64_t ms = DrawLogUniform(random, 100, 4000);
    Move move;
    if (!WaitFor(kBeginMs, [&] { return Begin(cluster, random, &move); })) {
      iteration->what = "a move";
      iteration->error = "no move is taken";
      return;
    }
    const std::string victim = role == "source"      ? move.from
                               : role == "target"    ? move.to
                               : role == "scheduler" ? "scheduler"
                               : move.other.empty()  ? move.to
                                                     : move.other;
    const std::string met = WaitStep(cluster, move.shard, step);
    iteration->what = StrCat("shard ", move.shard, " from ", move.from, " to ", move.to, ", ", met, ": ",
                             fault, " of ", victim, " for ", ms, " ms");
    cluster.Fault(iteration);
    Hit(cluster, victim, fault, ms, iteration);
    if (Status served = cluster.processes().WaitServing(kServedMs); !served.ok() && iteration->error.empty())
      iteration->error = served.Prepend("10 s after the fault").ToString();
    if (!WaitFor(kOverMs, [&] { return StageOf(cluster, move.shard) == "over"; }) && iteration->error.empty())
      iteration->error = "the move does not come to an end";
    cluster.Finish(iteration, /*lossy=*/fault == kFaults[0]);
  }

  static bool Begin(ChaosCluster& cluster, std::mt19937_64& random, Move* move) {
    const auto shards = Admin(cluster.client()).Inspect("shards"),
               nodes = Admin(cluster.client()).Inspect("nodes");
    if (!shards.ok() || !nodes.ok()) return false;
    const auto& shard = shards->at(DrawBelow(random, shards->size()));
    move->shard = shard.at("shard");
    move->from = shard.at("node_name");
    std::vector<std::pair<NodeId, std::string>> others;
    for (const auto& node : *nodes) {
      const std::string name = node.at("name");
      if (node.at("role") == "server" && name != move->from) others.emplace_back(node.at("id"), name);
    }
    const auto [to, name] = DrawOne(random, others);
    move->to = name;
    move->other.clear();
    for (const auto& [id, other] : others) {
      if (other != name) move->other = other;
    }
    return Admin(cluster.client()).MoveShard(move->shard, 0, to).ok();
  }

  static std::string StageOf(ChaosCluster& cluster, ShardId shard) {
    const auto shown = Admin(cluster.client()).Inspect("shard", std::to_string(shard));
    if (!shown.ok()) return "";
    const auto& move = shown->at("move");
    return move.is_null() ? "over" : move.at("stage").get<std::string>();
  }

  // What it found: some are over before anybody can look.
  static std::string WaitStep(ChaosCluster& cluster, ShardId shard, const std::string& step) {
    if (step == kSteps[0]) return step;
    std::string stage;
    (void)WaitFor(kStepMs, [&] {
      stage = StageOf(cluster, shard);
      return stage == step || stage == "over";
    });
    return stage;
  }

  static void Hit(ChaosCluster& cluster, const std::string& victim, const std::string& fault, uint64_t ms,
                  Iteration* iteration) {
    if (fault == "kill -9") {
      cluster.processes().Kill(victim);
      Last(ms);
      if (Status again = cluster.StartOne(victim); !again.ok()) iteration->error = again.ToString();
    } else if (fault == "SIGSTOP") {
      cluster.processes().Signal(victim, SIGSTOP);
      Last(ms);
      cluster.processes().Signal(victim, SIGCONT);
    } else {
      // A server from all who connect to it and from the scheduler, which is cut off from all servers.
      std::vector<FaultProxy*> links;
      for (const std::string& name : cluster.processes().names()) {
        if (!name.starts_with("server") || (victim != "scheduler" && victim != name)) continue;
        links.push_back(&cluster.Link(name, "scheduler"));
        if (victim == name) links.push_back(&cluster.Link("client", name));
      }
      for (FaultProxy* link : links) link->SetBoth({.drop = true});
      Last(ms);
      for (FaultProxy* link : links) link->Heal();
    }
  }
};

}  // namespace

std::unique_ptr<SuiteRun> BeginMoveKill(const ChaosOptions& options) {
  return std::make_unique<MoveKill>(
      ChaosCluster::Options{.chaos = options, .proxies = true, .set = SmallLog()});
}

}  // namespace penstock
