// SimFaults: at least three faults a seed, at moments of the seed's choice: some by the clock, some just
// behind a step of the protocol.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "tests/sim/sim_world.h"

namespace penstock::sim {

class SimCluster;
class SimServer;

class SimFaults {
 public:
  SimFaults(SimCluster& cluster, uint64_t from_ms, uint64_t to_ms);

  // A step was reached in this process: the trap may be for it.
  void OnReached(Step step, Endpoint process);
  // Cuts, broken disks and everything that is down: as if nothing had been.
  void HealAll();
  uint64_t count() const { return count_; }

 private:
  void Plan(uint64_t at_ms);
  void Inject(Endpoint where);
  void InjectInto(SimServer& server);
  void EndServer(SimServer& server, bool power);
  void StartLater(SimServer& server, uint64_t ms);
  void CutLinks(Endpoint from);
  void Isolate(SimServer& server);
  bool HoldsAlone(const SimServer& holder) const;
  void EndIsolated(SimServer* holder);
  void BreakDisk(SimServer& server);
  void DamageDisk(SimServer& server);
  void EndScheduler();
  void EndWorker(size_t number);
  void Pause(Endpoint process);
  void Pause(Endpoint process, uint64_t ms);
  void Interrupt(Endpoint process);
  SimServer* ServerAt(Endpoint process);

  SimCluster& cluster_;
  World& world_;
  uint64_t count_ = 0;
  Step trap_ = Step::kNone;
  uint64_t trap_skips_ = 0;
  bool healed_ = false;
  SimServer* isolated_ = nullptr;  // ends when another one has taken a delta
  SimServer* severed_ = nullptr;   // from whom that is cut
};

}  // namespace penstock::sim
