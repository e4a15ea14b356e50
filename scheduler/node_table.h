// NodeTable: what nodes said last, and who is silent. Not journaled: after a restart every node counts as
// just heard of.
//
// Pure: times (milliseconds of a clock that only rises) are passed in. One thread.
#pragma once

#include <map>
#include <string_view>

#include "scheduler/grant_decision.h"

namespace penstock {

enum class Liveness : uint8_t { kAlive, kSuspect, kDead };
std::string_view ToString(Liveness);

struct NodeTableOptions {
  int64_t suspect_ms = 1500;
  int64_t dead_ms = 3000;
};

class NodeTable {
 public:
  NodeTable(const NodeTableOptions& options, int64_t started_ms)
      : options_(options), started_ms_(started_ms) {}

  struct Entry {
    int64_t seen_ms = 0;
    bool beating = false;  // a heartbeat came since its latest register, or since the scheduler started
    bool busy = false;
    std::map<ShardId, ShardLine> lines;  // of the latest register or heartbeat
  };

  void OnRegister(NodeId node, const std::vector<ShardLine>& lines, int64_t now_ms);
  // Whether the map of shards may look different now: another epoch, core or damage, a shard more or less.
  bool OnHeartbeat(NodeId node, bool busy, std::vector<ShardLine> lines, int64_t now_ms);
  // It called, so it lives.
  void OnSign(NodeId node, int64_t now_ms);
  // The scheduler itself stood still for so long: nobody was silent meanwhile.
  void Forgive(int64_t ms);

  Liveness StateOf(NodeId node, int64_t now_ms) const;
  int64_t SilentMs(NodeId node, int64_t now_ms) const;
  bool Heard(NodeId node) const;  // in this life of the scheduler
  bool Beating(NodeId node) const;
  bool Busy(NodeId node) const;
  // nullptr: it did not report the shard.
  const ShardLine* Line(NodeId node, ShardId shard) const;
  const std::map<ShardId, ShardLine>& Lines(NodeId node) const;

 private:
  const NodeTableOptions options_;
  int64_t started_ms_;
  std::map<NodeId, Entry> entries_;
};

}  // namespace penstock
