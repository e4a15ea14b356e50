// FakeCluster: a control plane on a log in memory and a clock that stands, with servers and workers that do
// as they are told.
#pragma once

#include <gtest/gtest.h>

#include <map>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "scheduler/node/control_plane.h"

namespace penstock {

// Keeps commands as the journal would, and the state before each of them.
class MemoryLog final : public CommandLog {
 public:
  Status Append(const Command& command, int64_t at_ms) override {
    if (full || takes == 0) return Overloaded("journal in memory: it is full");
    if (takes > 0) --takes;
    states.push_back(state_.ToJson().dump());
    PENSTOCK_RETURN_IF_ERROR(state_.Apply(command, at_ms));
    commands.push_back(CommandToJson(command, at_ms).dump());
    return Status::Ok();
  }
  void DropLast() {
    state_ = *ClusterState::FromJson(nlohmann::json::parse(states.back()));
    states.pop_back();
    commands.pop_back();
  }
  // The state after all commands, from the one before command `begin`.
  ClusterState Replay(size_t begin = 0) const {
    ClusterState state;
    if (begin < states.size()) state = *ClusterState::FromJson(nlohmann::json::parse(states[begin]));
    for (size_t i = begin; i < commands.size(); ++i) {
      int64_t at_ms = 0;
      const auto command = CommandFromJson(nlohmann::json::parse(commands[i]), &at_ms);
      EXPECT_TRUE(command.ok()) << commands[i] << ": " << command.status().ToString();
      const Status applied = state.Apply(*command, at_ms);
      EXPECT_TRUE(applied.ok()) << commands[i] << ": " << applied.ToString();
    }
    return state;
  }
  size_t Count(const std::string& type) const {
    size_t count = 0;
    for (const auto& command : commands) count += nlohmann::json::parse(command)["type"] == type;
    return count;
  }

  bool full = false;
  int takes = -1;  // so many commands and then no more; -1: any
  std::vector<std::string> commands;
  std::vector<std::string> states;

 private:
  ClusterState state_;  // after all commands
};

struct FakeNode {
  std::string name;
  NodeRole role = NodeRole::kServer;
  NodeId id = 0;
  uint64_t session = 0;
  std::string host = {};
  std::map<ShardId, ShardLine> lines;  // what it has
  std::set<ShardId> granted;           // of those it serves
  std::set<ShardId> followed;
  std::map<ShardId, NodeGrant> grants;    // of those granted
  std::map<ShardId, std::string> failed;  // as primary: what it says of all its backups
  bool catches_up = true;  // as primary: its backups have all it has once their cores are known
  bool completes = true;   // as backup: its seeds end at once
};

class FakeCluster {
 public:
  explicit FakeCluster(uint32_t copies = 1) {
    options.shards = 8;
    options.servers = 2;
    options.copies = copies;
    Start();
  }

  // Also a restart: everything that is not journaled is gone.
  void Start() {
    auto started = ControlPlane::Start(log.Replay(), log, options, 0xc1u, now);
    ASSERT_TRUE(started.ok()) << started.status().ToString();
    plane = std::move(*started);
  }

  Status Register(FakeNode& node, uint64_t highest_term = 0) {
    RegisterRequest request{.role = node.role,
                            .node = node.id,
                            .name = node.name,
                            .endpoints = {},
                            .http = "",
                            .lines = {},
                            .highest_term = highest_term,
                            .highest_map_version = 0};
    request.host = node.host;
    if (node.role == NodeRole::kServer) request.endpoints = {node.name + ":1", node.name + ":2"};
    for (const auto& [id, line] : node.lines) {
      request.lines.push_back(line);
      request.lines.back().epoch = 0;
      request.lines.back().backups.clear();
    }
    auto answer = plane->Register(request, now);
    PENSTOCK_RETURN_IF_ERROR(answer.status());
    node.id = answer->node;
    node.session = answer->session;
    node.granted.clear();
    node.followed.clear();
    node.grants.clear();
    return Status::Ok();
  }

  // A heartbeat; a server then serves what is granted, with the lsns that it must, and follows what it shall.
  Status Beat(FakeNode& node) {
    HeartbeatRequest request{.node = node.id, .session = node.session, .lines = {}, .busy = false};
    for (const auto& [id, line] : node.lines) request.lines.push_back(Report(node, line));
    auto answer = plane->Heartbeat(std::move(request), now);
    PENSTOCK_RETURN_IF_ERROR(answer.status());
    node.granted.clear();
    node.followed.clear();
    node.grants.clear();
    for (const auto& grant : answer->wanted.grants) Serve(node, grant);
    for (const auto& follow : answer->wanted.follows) {
      ShardLine& line = node.lines[follow.shard];
      if (line.incarnation != follow.incarnation)
        line =
            ShardLine{.shard = follow.shard, .incarnation = follow.incarnation, .complete = node.completes};
      line.epoch = 0;
      line.seen = std::max(line.seen, follow.epoch);
      node.followed.insert(follow.shard);
    }
    return Status::Ok();
  }

  static ShardLine Report(const FakeNode& node, ShardLine line) {
    line.backups.clear();
    if (!node.granted.contains(line.shard)) {
      line.epoch = 0;
      return line;
    }
    for (const auto& backup : node.grants.at(line.shard).backups) {
      auto failed = node.failed.find(line.shard);
      line.backups.push_back({.node = backup.node,
                              .incarnation = backup.incarnation,
                              .caught_up = node.catches_up && !backup.endpoint.empty(),
                              .failed = failed == node.failed.end() ? "" : failed->second});
    }
    return line;
  }

  void Serve(FakeNode& node, const NodeGrant& grant) {
    const ShardId id = grant.grant.shard;
    ShardLine& line = node.lines[id];
    if (line.incarnation != grant.incarnation)
      line = ShardLine{.shard = id, .incarnation = grant.incarnation};
    if (grant.grant.epoch > line.epoch) {
      line.damage.clear();
      line.core = id % 2;
    }
    line.epoch = grant.grant.epoch;
    line.seen = std::max(line.seen, line.epoch);
    line.complete = true;
    min_lsns[id] = grant.grant.min_lsn;
    node.granted.insert(id);
    node.grants[id] = grant;
  }

  // Time passes, with heartbeats of `alive` each 100 ms.
  void Pass(int64_t ms, const std::vector<FakeNode*>& alive = {}) {
    for (int64_t i = 0; i < ms; i += 100) {
      now.ms += 100;
      now.wall_ms += 100;
      for (FakeNode* node : alive) {
        const Status status = Beat(*node);
        ASSERT_TRUE(status.ok()) << status.ToString();
      }
      plane->Tick(now);
    }
  }

  // Two servers that serve all shards.
  void Up() {
    for (FakeNode* server : {&s1, &s2}) {
      const Status status = Register(*server);
      ASSERT_TRUE(status.ok()) << status.ToString();
    }
    Pass(200, {&s1, &s2});
    ASSERT_EQ(plane->CountShards(ShardState::kServing), 8u);
  }

  void SetLsns(FakeNode& node, ShardId shard, Lsn applied, Lsn logged, Lsn synced) {
    ShardLine& line = node.lines[shard];
    line.applied = applied;
    line.logged = logged;
    line.synced = synced;
  }

  static std::string JobText(uint32_t passes, uint32_t partitions, uint32_t tests = 0,
                             const std::string& name = "job") {
    TableSpec spec;
    spec.name = "weights";
    nlohmann::json json{
        {"name", name},
        {"options", nlohmann::json::object()},
        {"tables", {spec}},
        {"plan",
         {{"train", {{"partitions", partitions}, {"records", 1000}, {"bytes", 1}, {"fingerprint", "00"}}},
          {"test", nullptr}}},
        {"passes", passes},
        {"consistency", "async"},
        {"evaluate_train", tests > 0},
        {"evaluate_test", tests > 0}};
    if (tests > 0) json["plan"]["test"] = {{"partitions", tests}, {"records", 10}};
    return json.dump();
  }

  // Of an ssp job with a staleness of 3, or of a sync job with 2 rounds a pass.
  static std::string JobTextWith(const std::string& consistency, uint32_t passes, uint32_t partitions) {
    auto json = nlohmann::json::parse(JobText(passes, partitions));
    json["consistency"] = consistency;
    if (consistency == "ssp") json["policy"] = {{"staleness", 3}};
    if (consistency == "sync") {
      json["policy"] = {{"rounds", 2}};
      json["tables"][0]["accumulate"] = true;
    }
    return json.dump();
  }

  struct Given {
    JobId job;
    uint32_t partition;
    LeaseToken token;
    ProducerId producer;
    uint64_t begin;
    JobPhase phase;
    uint32_t pass;
  };
  std::vector<Given> Lease(FakeNode& worker, uint32_t count = 1) {
    auto answer = plane->Lease(worker.id, worker.session, count, now);
    EXPECT_TRUE(answer.ok()) << answer.status().ToString();
    std::vector<Given> given;
    if (!answer.ok()) return given;
    for (const auto& lease : answer->leases) {
      const auto& partition = lease.job->partitions[lease.partition];
      given.push_back({lease.job->id, lease.partition, partition.token, partition.producer,
                       partition.recorded, lease.job->phase, lease.job->pass});
    }
    return given;
  }
  // The result of the one line; of the call if that failed.
  Status Report(FakeNode& worker, const Given& lease, uint64_t recorded, bool done = false, Status error = {},
                std::string result = "{}") {
    ReportedProgress line{.job = lease.job,
                          .token = lease.token,
                          .recorded = recorded,
                          .tally = {.examples = recorded * 10, .loss_sum = 0.5},
                          .done = done,
                          .result = std::move(result),
                          .error = std::move(error)};
    auto answer = plane->Report(worker.id, worker.session, {line}, now);
    return answer.ok() ? answer->front() : answer.status();
  }
  Status Done(FakeNode& worker, const Given& lease, uint64_t recorded = 10) {
    return Report(worker, lease, recorded, true);
  }

  const JobRecord& Job(JobId id = 1) const { return *plane->state().FindJob(id); }
  ShardEntry Entry(ShardId shard) {
    auto map = plane->Map(now);
    EXPECT_TRUE(map.ok()) << map.status().ToString();
    return map.ok() ? (*map)->shards[shard] : ShardEntry{};
  }

  MemoryLog log;
  ControlPlaneOptions options;
  Now now{.ms = 5000, .wall_ms = 1700000000000};
  std::unique_ptr<ControlPlane> plane;
  std::map<ShardId, Lsn> min_lsns;  // of the latest grants
  FakeNode s1{.name = "server-1"}, s2{.name = "server-2"}, s3{.name = "server-3"};
  FakeNode w1{.name = "worker-1", .role = NodeRole::kWorker},
      w2{.name = "worker-2", .role = NodeRole::kWorker};
};

}  // namespace penstock
