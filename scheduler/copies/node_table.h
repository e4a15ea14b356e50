// NodeTable: what nodes said last, and who is silent. Not journaled: after a restart every node counts as
// just heard of.
//
// Pure: times (milliseconds of a clock that only rises) are passed in. One thread.
#pragma once

#include <deque>
#include <map>
#include <string>
#include <string_view>
#include <utility>

#include "scheduler/copies/shard_loads.h"

namespace penstock {

enum class Liveness : uint8_t { kAlive, kSuspect, kDead };
std::string_view ToString(Liveness);

struct NodeTableOptions {
  int64_t suspect_ms = 1500;
  int64_t dead_ms = 3000;
};

// What a node says of itself with every heartbeat.
struct NodeWords {
  std::string note;      // what an operator should look at though it works; empty: nothing
  std::string trouble;   // what keeps it from its work; empty: nothing
  bool leaving = false;  // a server that is drained until it registers again, as it is to end
  bool loading = false;  // a server that still reads rows of its base: it reports less than it will have
};

class NodeTable {
 public:
  NodeTable(const NodeTableOptions& options, int64_t started_ms)
      : options_(options), started_ms_(started_ms) {}

  struct Entry {
    int64_t seen_ms = 0;
    bool beating = false;  // a heartbeat came since its latest register, or since the scheduler started
    bool busy = false;
    uint64_t registered = 0;  // when, in signs of all nodes; 0: not in this life of the scheduler
    uint64_t seen = 0;
    uint64_t answered = 0;  // the latest register or heartbeat
    uint64_t ended = 0;     // OnEnded came after so many signs; 0: there was a sign since
    NodeWords words;
    uint64_t known = 0;  // its lines are from after this sign was answered; 0: they may be of any age
    std::map<ShardId, ShardLine> lines;  // of the latest register or heartbeat
  };

  void OnRegister(NodeId node, const std::vector<ShardLine>& lines, int64_t now_ms);
  // Whether the map of shards, or what its copies shall become, may look different now: anything but lsns and
  // sizes has changed.
  bool OnHeartbeat(NodeId node, bool busy, std::vector<ShardLine> lines, int64_t now_ms);
  // Forgets it, also under its name.
  void Remove(NodeId node, const std::string& name);
  void SetWords(NodeId node, NodeWords words);
  // A server of that name ended, as it cannot start; until one registers.
  void OnCannotStart(const std::string& name, std::string reason);
  void OnStarted(const std::string& name) { cannot_start_.erase(name); }
  // Its connections have ended and its address refuses another one: it counts as dead until its next sign,
  // since what refuses may also be a firewall. Of one that was not heard in this life of the scheduler:
  // nothing.
  void OnEnded(NodeId node);
  // It called, so it lives.
  void OnSign(NodeId node, int64_t now_ms);
  // The scheduler itself stood still for so long: nobody was silent meanwhile.
  void Forgive(int64_t ms);

  Liveness StateOf(NodeId node, int64_t now_ms) const;
  int64_t SilentMs(NodeId node, int64_t now_ms) const;
  bool Heard(NodeId node) const;  // in this life of the scheduler
  bool Beating(NodeId node) const;
  bool Busy(NodeId node) const;
  // Whether `node` gave a sign after the latest register of `other`: then it did not end together with that
  // one.
  bool HeardSinceRegister(NodeId node, NodeId other) const;
  // Whether `node` said its lines after the latest register of `other`. A message may have waited for the
  // scheduler since before that; only one that follows an answer shows when it was sent.
  bool KnownSinceRegister(NodeId node, NodeId other) const;
  // Whether `node` gave a sign after `dead` counted as dead, by silence or by its end: then it did not end
  // meanwhile itself.
  bool HeardSinceDeath(NodeId node, NodeId dead) const;
  // nullptr: it did not report the shard.
  const ShardLine* Line(NodeId node, ShardId shard) const;
  const std::map<ShardId, ShardLine>& Lines(NodeId node) const;
  const ShardLoads& loads() const { return loads_; }
  const NodeWords& Words(NodeId node) const;
  // How often it has registered in the last kRegistersWindowMs, as far as this life of the scheduler has
  // seen.
  uint32_t Registers(NodeId node, int64_t now_ms) const;
  static constexpr int64_t kRegistersWindowMs = 600'000;
  // By name, why they cannot start.
  const std::map<std::string, std::string>& CannotStart() const { return cannot_start_; }

 private:
  const NodeTableOptions options_;
  int64_t started_ms_;
  uint64_t signs_ = 0;
  std::map<NodeId, Entry> entries_;
  std::map<NodeId, std::deque<int64_t>>
      registers_;  // when they registered, within the window before the last
  std::map<std::string, std::string> cannot_start_;
  ShardLoads loads_;
};

}  // namespace penstock
