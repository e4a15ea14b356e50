// CopyDecisionTest: a state and a table of nodes that a test puts together by hand, and what is decided on
// them.
#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <string>
#include <vector>

#include "scheduler/copies/balancer.h"
#include "scheduler/copies/copy_decision.h"

namespace penstock {

constexpr int64_t kWallMs = 1'700'000'000'000;  // at the beginning of the tests' clock

// Servers 1 to 3; all shards have their primary on 1.
class CopyDecisionTest : public ::testing::Test {
 protected:
  void Begin(uint32_t shards = 2, uint32_t copies = 2) {
    Do(BeginTerm{.term = 1, .cluster = 7, .shards = shards, .copies = copies, .min_copies = 1});
    for (NodeId node : {1u, 2u, 3u}) Restart(node);
    PlaceShards place;
    for (ShardId id = 0; id < shards; ++id) {
      place.placements.push_back({.shard = id, .node = 1, .incarnation = id + 1});
      Line(1, id) = {.shard = id, .incarnation = id + 1, .epoch = 1, .complete = true};
    }
    Do(place);
    for (NodeId node : {1u, 2u, 3u}) Beat(node);
  }

  void Do(const Command& command) {
    const Status status = state_.Apply(command);
    ASSERT_TRUE(status.ok()) << status.ToString();
  }
  // A new session, with the lines that it has.
  void Restart(NodeId node) {
    Do(RegisterNode{.node = {.id = node,
                             .name = "server-" + std::to_string(node),
                             .endpoints = {"h:1"},
                             .session = state_.data().last_session + 1,
                             .host = labels_[node].host,
                             .zone = labels_[node].zone,
                             .memory = labels_[node].memory}});
    for (auto& [id, line] : lines_[node]) line.epoch = 0, line.backups.clear();
    nodes_.OnRegister(node, Lines(node), now_);
  }
  // From its next register on.
  void Label(NodeId node, const std::string& host, const std::string& zone) {
    labels_[node].host = host;
    labels_[node].zone = zone;
  }
  // Where shard 0 shall have a copy; 0: nowhere.
  NodeId AddedOn() {
    for (const auto& copy : Decide().add.copies) {
      if (copy.shard == 0) return copy.node;
    }
    return 0;
  }
  // What was lost at once, and is heard again: nobody's word is from before.
  void RestartAll(const std::vector<NodeId>& nodes) {
    for (NodeId node : nodes) Restart(node);
    BeatTwice(nodes);
  }
  void BeatTwice(const std::vector<NodeId>& nodes) {
    for (int i = 0; i < 2; ++i) {
      for (NodeId node : nodes) Beat(node);
    }
  }
  void Beat(NodeId node) { nodes_.OnHeartbeat(node, false, Lines(node), now_); }
  void Pass(int64_t ms, const std::vector<NodeId>& alive) {
    now_ += ms;
    for (NodeId node : alive) Beat(node);
  }
  ShardLine& Line(NodeId node, ShardId shard) { return lines_[node][shard]; }
  std::vector<ShardLine> Lines(NodeId node) {
    std::vector<ShardLine> lines;
    for (const auto& [id, line] : lines_[node]) lines.push_back(line);
    return lines;
  }

  // A seeding copy of shard 0 that reports.
  void Seed(NodeId node, ShardId shard = 0) {
    const Incarnation incarnation = state_.data().last_incarnation + 1;
    Do(AddCopies{{{.shard = shard, .node = node, .incarnation = incarnation}}});
    Line(node, shard) = {.shard = shard, .incarnation = incarnation, .complete = true};
    Line(1, shard).backups.push_back({.node = node, .incarnation = incarnation});
    Beat(node);
  }
  void Enter(NodeId node, ShardId shard = 0) {
    auto backups = Shard(shard).backups;
    const Epoch epoch = Shard(shard).epoch + 1;
    for (auto& copy : backups) {
      if (copy.node == node) copy.in_sync = true, copy.since = epoch;
    }
    Do(ChangeCopies{{{.shard = shard,
                      .epoch = epoch,
                      .min_lsn = Shard(shard).highest + 1,
                      .node = 1,
                      .incarnation = Shard(shard).incarnation,
                      .backups = backups}}});
  }
  void Confirm(ShardId shard = 0) {
    Do(ConfirmEpochs{{{.shard = shard, .epoch = Shard(shard).epoch}}});
    Line(1, shard).epoch = Line(1, shard).seen = Shard(shard).epoch;
    for (const CopyRecord& copy : Shard(shard).backups) Line(copy.node, shard).seen = Shard(shard).epoch;
    Beat(1);
  }
  // It has taken the present epoch.
  void Serve(NodeId node, ShardId shard = 0) {
    Line(node, shard).epoch = Line(node, shard).seen = Shard(shard).epoch;
    Beat(node);
  }
  // An in-sync backup that could be promoted.
  void Follow(NodeId node, ShardId shard = 0) {
    Seed(node, shard);
    Enter(node, shard);
    Confirm(shard);
  }
  void Lsns(NodeId node, Lsn applied, Lsn logged, ShardId shard = 0) {
    Line(node, shard).applied = applied;
    Line(node, shard).logged = logged;
  }

  CopyDecision Decide() { return DecideCopies(state_, nodes_, now_, kWallMs + now_, CopyOptions{}); }
  void Step() {
    const auto decision = Decide();
    Do(decision.confirm);
    Do(decision.change);
    Do(decision.drop);
    Do(decision.add);
    Do(decision.quarantine);
    Do(decision.fence);
    Do(decision.end);
  }
  // A second later.
  StartMoves Balance() {
    Pass(1000, {1, 2, 3});
    const StartMoves start = balancer_.Next(Health(), kWallMs + now_);
    Do(start);
    return start;
  }
  // Shard 0's change; an empty one when there is none.
  ChangeCopies::Change Change() {
    const auto decision = Decide();
    for (const auto& change : decision.change.changes) {
      if (change.shard != 0) continue;
      EXPECT_TRUE(state_.Check(decision.change).ok()) << state_.Check(decision.change).ToString();
      return change;
    }
    return {};
  }
  // Shard 0's epoch.
  static bool Confirms(const CopyDecision& decision) {
    const auto& all = decision.confirm.confirmations;
    return std::any_of(all.begin(), all.end(), [](const auto& c) { return c.shard == 0; });
  }
  const ShardRecord& Shard(ShardId id = 0) const { return state_.data().shards[id]; }
  CopyHealth Health() const { return CopyHealth(state_, nodes_, now_); }

  ClusterState state_;
  NodeTable nodes_{{}, 0};
  Balancer balancer_{{}};
  int64_t now_ = 1000;
  std::map<NodeId, std::map<ShardId, ShardLine>> lines_;
  std::map<NodeId, NodeRecord> labels_;  // what nodes say of themselves: host, zone and memory
};

}  // namespace penstock
