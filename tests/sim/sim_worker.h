// SimWorker: leases partitions of the job, pulls and pushes their minibatches under the partition's producer,
// and reports how far they are logged, as the product's LeaseRun and ProducerWindow decide. A minibatch is a
// row of the ledger (+1) and rows of the weights, and a pure function of (pass, partition, minibatch), so
// whoever takes over pushes the same.
#pragma once

#include <map>
#include <memory>
#include <set>

#include "client/producer_window.h"
#include "tests/sim/sim_pusher.h"
#include "worker/train/lease_run.h"

namespace penstock::sim {

class SimWorker {
 public:
  static constexpr uint64_t kMinibatches = 8;  // of a partition

  SimWorker(SimCluster& cluster, uint32_t number);

  void Start();
  void End();
  Endpoint self() const { return self_; }

 private:
  struct Held {
    GivenPartition given;
    std::vector<TableSpec> tables;
    ProducerWindow window;
    LeaseRun run;
    bool pulling = false;  // the rows of the next minibatch
  };
  using HeldPtr = std::shared_ptr<Held>;

  void Register();
  void Lease();
  void Take(const LeaseReply& reply, uint64_t asked_ms);
  void Work();
  void Advance(const HeldPtr& held);
  // Pushes when the rows have come.
  void Pull(const HeldPtr& held, Sequence minibatch);
  void Begin(const HeldPtr& held);
  void Push(const HeldPtr& held, Sequence minibatch);
  ShardId ShardOf(const Held& held, Sequence minibatch, bool ledger) const;
  PushRequest MakeUnit(const HeldPtr& held, Sequence minibatch, bool ledger);
  void Poll(const HeldPtr& held);
  void Report();
  void OnReported(const std::vector<HeldPtr>& lines, const std::vector<bool>& over, uint64_t sent_ms,
                  const ReportReply& reply);
  void End(const HeldPtr& held, const std::string& why);
  void DropAll(const std::string& why);

  SimCluster& cluster_;
  World& world_;
  const std::string name_;
  const Endpoint self_;
  std::unique_ptr<SimPusher> pusher_;
  ChannelPtr scheduler_;
  NodeId node_ = 0;
  uint64_t session_ = 0;
  std::vector<HeldPtr> held_;
  uint64_t polled_ms_ = 0;
};

}  // namespace penstock::sim
