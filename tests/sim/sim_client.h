// SimClient: pushes whole numbers into tables that add, a few pushes at a time, each of some units.
#pragma once

#include <memory>

#include "client/producer_window.h"
#include "tests/sim/sim_pusher.h"

namespace penstock::sim {

class SimClient {
 public:
  SimClient(SimCluster& cluster, uint32_t number);

  void Start();
  // No further pushes; true when all are over.
  void Stop() { stopped_ = true; }
  bool idle() const { return window_.in_flight() == 0; }
  Endpoint self() const { return self_; }

 private:
  void AskProducer();
  void Next();
  PushRequest MakeUnit(Sequence sequence, const TableSpec& spec, ShardId shard);
  void Push();

  SimCluster& cluster_;
  World& world_;
  const Endpoint self_;
  SimPusher pusher_;
  ProducerId producer_ = 0;
  ProducerWindow window_{ProducerKind::kClient, 0};
  bool stopped_ = false;
};

}  // namespace penstock::sim
