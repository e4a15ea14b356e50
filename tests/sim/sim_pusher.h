// SimPusher: performs in the simulated world what the product's DispatchFsm and MapFsm decide, as a client's
// Dispatcher and MapKeeper do on a KJ loop. It injects network and time, and decides nothing.
#pragma once

#include <map>
#include <memory>

#include "client/dispatch_fsm.h"
#include "client/map_fsm.h"
#include "tests/sim/sim_invariants.h"

namespace penstock::sim {

class SimPusher {
 public:
  struct Result {
    Status status;
    std::vector<UnitPosition> units;  // with ok
  };
  using Done = std::function<void(const Result&)>;
  // Each attempt asks for the producer's low.
  using Low = std::function<Sequence()>;
  using Seen = std::function<void(const UnitPosition&)>;
  using Asked = std::function<void(const Status&)>;

  // `seen` hears what every answer said of its shards.
  SimPusher(SimCluster& cluster, Endpoint self, Seen seen);

  // The units of one sequence.
  void Push(std::vector<PushRequest> units, Low low, Done done);
  // Asks what each shard has logged by now, as a pull does; `seen` hears it.
  void AskLogged(const std::vector<ShardId>& shards, uint64_t deadline_ms, Asked done);

 private:
  using Message = DispatchFsm::Message;
  class Call;
  class PushCall;
  class AskCall;

  void Start(std::shared_ptr<Call> call);
  void Perform();
  void Perform(const DispatchFsm::Action& action);
  void Send(const DispatchFsm::ChannelPtr& channel, const DispatchFsm::MessagePtr& message);
  void OnAnswer(const DispatchFsm::ChannelPtr& channel, const DispatchFsm::MessagePtr& message,
                const std::optional<std::vector<PushAnswer>>& answers);
  ChannelPtr ChannelTo(const std::string& endpoint);
  void RefreshMap(Task then);
  void LookAfter(uint64_t pause_ms);

  SimCluster& cluster_;
  World& world_;
  const Endpoint self_;
  const Seen seen_;
  MapFsm map_{MapFsmOptions{}};
  DispatchFsm fsm_{map_, DispatchOptions{}};
  bool performing_ = false;
  std::map<std::string, ChannelPtr> channels_;
  ChannelPtr scheduler_;
  std::vector<Task> waiting_;  // for a look at the map
};

}  // namespace penstock::sim
