// SimPusher: how a simulated client or worker brings one unit to its shard: by its map, again and again
// under one identity until an answer or the deadline, as the product's GroupRetry decides.
#pragma once

#include <map>
#include <memory>

#include "client/retry_policy.h"
#include "tests/sim/sim_invariants.h"

namespace penstock::sim {

class SimPusher {
 public:
  struct Result {
    UnitOutcome outcome = UnitOutcome::kOpen;
    Status status;
    PushAnswer answer;  // with kAcknowledged
  };
  using Done = std::function<void(const Result&)>;
  // Each attempt asks for the producer's low.
  using Low = std::function<Sequence()>;
  using EpochSeen = std::function<void(ShardId, Epoch)>;

  SimPusher(SimCluster& cluster, Endpoint self, EpochSeen seen);

  void Push(PushRequest request, Low low, Done done);
  // Whatever the shard has logged by now; nullopt: nobody answers.
  void AskLogged(ShardId shard, std::function<void(std::optional<PushAnswer>)> done);

 private:
  struct Group {
    PushRequest request;
    Low low;
    Done done;
    GroupRetry retry;
    bool flying = false, over = false;
  };
  using GroupPtr = std::shared_ptr<Group>;

  void Try(const GroupPtr& group);
  void OnAnswer(const GroupPtr& group, Epoch sent, const std::optional<PushAnswer>& answer);
  void End(const GroupPtr& group, UnitOutcome outcome, const PushAnswer& answer);
  void OnDeadline(const GroupPtr& group);
  ChannelPtr ChannelTo(const std::string& endpoint);
  void RefreshMap(Task then);
  void TakeMap(const ShardMap& map);

  SimCluster& cluster_;
  World& world_;
  const Endpoint self_;
  const EpochSeen seen_;
  ShardMap map_;
  std::map<std::string, ChannelPtr> channels_;
  ChannelPtr scheduler_;
  std::vector<Task> waiting_;  // for a look at the map
  bool looking_ = false;
};

}  // namespace penstock::sim
