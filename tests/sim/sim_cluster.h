// SimCluster: one run of the simulation: scheduler, servers, clients, workers, faults, and what must hold.
//
// First the faults come while everybody works; then all is healed, the clients stop, the job ends, and when
// nothing is on its way any more the copies, the rows and the ledger are looked at.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "common/base/hash.h"
#include "tests/sim/sim_client.h"
#include "tests/sim/sim_faults.h"
#include "tests/sim/sim_invariants.h"
#include "tests/sim/sim_scheduler.h"
#include "tests/sim/sim_server.h"
#include "tests/sim/sim_worker.h"

namespace penstock::sim {

inline constexpr uint64_t kSimCluster = 0x51;

// All drawn from the seed.
struct SimOptions {
  uint64_t seed = 1;
  bool print_trace = false;
  uint32_t shards = 4, servers = 3, copies = 1, min_copies = 1;
  uint64_t kept_tail_bytes = 0;   // of each shard's deltas, for copies that come back
  std::vector<TableSpec> tables;  // that clients push to
  Durability weights = Durability::kLogged;
  bool ledger_synced = false;
  uint32_t partitions = 4, passes = 1;
  bool with_base = false;
  bool damage = false;     // synced bytes may change
  bool losses = false;     // power cuts take what was reported, in the middle of the job's only pass
  bool moves = false;      // shards move from server to server
  bool isolation = false;  // servers with three copies end just behind what one of two backups has taken
  uint64_t delay_us = 3000, loss = 0;
  uint64_t push_every_ms = 100;
  int64_t lease_ms = 3000;
  uint64_t report_ms = 300;  // between a worker's reports
};
SimOptions DrawOptions(uint64_t seed);
std::string Describe(const SimOptions& options);

class SimCluster {
 public:
  explicit SimCluster(const SimOptions& options);
  ~SimCluster();

  void Run();

  const SimOptions& options() const { return options_; }
  const std::vector<std::unique_ptr<SimServer>>& servers() const { return servers_; }
  const std::vector<std::unique_ptr<SimClient>>& clients() const { return clients_; }
  const std::vector<std::unique_ptr<SimWorker>>& workers() const { return workers_; }
  // Who listens there; nullopt: nobody any more.
  std::optional<Endpoint> FindServer(const std::string& endpoint) const;
  // nullptr: it has not started yet.
  SimCore* FindCore(Endpoint server) const;
  SimServer* ServerOf(NodeId node) const;
  // Of a minibatch's unit, the same for whoever pushes it.
  UnitNumber NumberOf(uint64_t key, UnitRecord unit);
  void OnReached(Step step, NodeId node);
  void NotePause(Endpoint process);
  // It runs, and the scheduler hears of it.
  bool IsHeard(const SimServer& server) const;
  bool StoodStill(Endpoint process) const { return paused_.contains(process); }

 private:
  ControlPlaneOptions PlaneOptions() const;
  std::string JobText() const;
  void RunUntil(uint64_t ms);
  void AcceptLosses(uint64_t every_ms);
  void BeginFolds();
  void MoveSomeShard();
  // Empty: nothing is on its way.
  std::string WhyNotQuiet() const;
  std::string WhyShardNotQuiet(ShardId id) const;
  void Undrain();
  void Settle();

  const SimOptions options_;

 public:
  World world;
  Truth truth;
  SimScheduler scheduler;

 private:
  std::vector<std::unique_ptr<SimServer>> servers_;
  std::vector<std::unique_ptr<SimClient>> clients_;
  std::vector<std::unique_ptr<SimWorker>> workers_;
  std::unique_ptr<SimFaults> faults_;
  std::map<uint64_t, UnitNumber> numbers_;
  std::set<Endpoint> paused_;
};

}  // namespace penstock::sim
