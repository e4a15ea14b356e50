// SimServer: the process of a simulated server: it starts, replays, registers, sends heartbeats, and ends.
#pragma once

#include <memory>
#include <string>

#include "tests/sim/sim_core.h"

namespace penstock::sim {

class SimServer {
 public:
  SimServer(SimCluster& cluster, uint32_t number, uint64_t seed, bool with_base);
  ~SimServer();

  void Start();
  // `power`: what was not synced is lost as well.
  void End(bool power);

  Endpoint self() const { return self_; }
  bool up() const;
  NodeId node() const { return const_cast<SimDisk&>(disk_).node_file().node; }
  SimDisk& disk() { return disk_; }
  SimCore* core() const { return core_.get(); }  // nullptr: it does not run, or replays
  // Its last heartbeat, or register, was answered a moment ago.
  bool in_touch() const;
  // Where this life listens.
  std::string endpoint() const;

 private:
  void Replayed();
  void Register();
  void OnRegistered(const RegisterReply& reply);
  void Heartbeat();
  void OnHeartbeat(const HeartbeatReply& reply);
  void SeemEnded();
  void Again(uint64_t ms, void (SimServer::*what)());

  SimCluster& cluster_;
  World& world_;
  const std::string name_;
  const Endpoint self_;
  SimDisk disk_;
  std::unique_ptr<SimCore> core_;
  ChannelPtr scheduler_;
  uint64_t session_ = 0;
  uint64_t answered_ms_ = 0;
  uint64_t sign_ = 0;  // that the scheduler wanted last
};

}  // namespace penstock::sim
