// RebalanceState: the placement that a rebalance plan works on, and what a move would change of it.
//
// The steps (rebalance_steps.h) change it; rebalance.cc makes moves of the difference to where it began.
// Servers and shards are sorted by id and named by their index, and amounts are integers: what is equal
// compares equal, whatever led there.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "scheduler/copies/rebalance.h"

namespace penstock {

// How much a server has of bytes or load, and what its share is.
struct Gauge {
  int64_t has = 0;
  double inverse = 1;  // of the share
  double share = 1;    // of what can be shared out evenly
  double low = 0;      // it is brought to between these
  double high = 0;
  double per_mean = 1;  // parts of the share in the plain mean: what an operator is told of

  double Fill() const { return static_cast<double>(has) / share; }
  double FillOfMean() const { return Fill() / per_mean; }
  double Outside(int64_t with) const {
    const auto amount = static_cast<double>(with);
    return amount > high ? amount - high : amount < low ? low - amount : 0.0;
  }
  // Convex, so that it falls also when something goes from a full server to one that is full but less so.
  double Cost(int64_t with) const {
    const double outside = Outside(with);
    return outside * outside * inverse;
  }
};

// What falls when `amount` goes from one to the other; both in the amount's unit.
inline double OutsideGain(const Gauge& from, const Gauge& to, int64_t amount) {
  return from.Outside(from.has) - from.Outside(from.has - amount) + to.Outside(to.has) -
         to.Outside(to.has + amount);
}
inline double CostGain(const Gauge& from, const Gauge& to, int64_t amount) {
  return from.Cost(from.has) - from.Cost(from.has - amount) + to.Cost(to.has) - to.Cost(to.has + amount);
}

// The aims, in their order.
enum class MoveCause : uint8_t { kDrain = 0, kApart = 1, kBytes = 2, kLoad = 3, kNone = 4 };

struct MoveReason {
  MoveCause cause = MoveCause::kNone;
  double from_fill = 0, to_fill = 0;  // of the mean, at the decision
  std::string text = {};              // not empty: instead of what the cause says
  uint32_t order = 0;                 // of decisions
};

struct StateServer {
  std::string name = {};
  NodeId id = 0;
  bool known = false;  // it is in the input; otherwise a shard only names it
  bool able = false, draining = false;
  bool takes = false;           // copies may go to it
  uint32_t host = 0, zone = 0;  // 0: shared with nobody
  std::string host_name = {}, zone_name = {};
  double capacity = 1, cores = 1;
  Gauge bytes = {}, load = {};
  uint32_t primaries = 0;
  std::vector<uint32_t> shards = {};  // that have a copy here
};

struct CopySlot {
  uint32_t server = 0;
  bool in_sync = true;
};

struct StateShard {
  ShardId id = 0;
  int64_t bytes = 1, load = 0;
  uint64_t given_bytes = 0;  // as in the input
  double given_load = 0;
  bool pinned = false;
  bool movable = false;  // somewhere, for some reason
  bool resting = false;  // it moved lately: only for drains
  uint32_t lead = 0;     // slot of the primary
  std::vector<CopySlot> slots;
  std::vector<uint32_t> origin;  // the servers of the slots at the beginning; slot 0 led
  std::vector<MoveReason> reasons;
  MoveReason lead_reason;

  uint32_t Leader() const { return slots[lead].server; }
  // The slot on a server; the number of slots: none.
  uint32_t SlotOn(uint32_t server) const;
  bool WasOn(uint32_t server) const;
  // Its placement is not the one at the beginning.
  bool Changed() const;
};

class RebalanceState {
 public:
  RebalanceState(const RebalanceInput& input, const RebalanceOptions& chosen);

  std::vector<StateServer> servers;
  std::vector<StateShard> shards;
  RebalanceOptions options;
  double mean_bytes = 1, mean_load = 1;  // of a server that takes copies
  bool idle = false;                     // no shard has any load: leads are counted instead

  // For any reason but a drain.
  bool MayMove(const StateShard& shard, uint32_t slot) const {
    return shard.movable && !shard.resting && shard.slots[slot].in_sync &&
           servers[shard.slots[slot].server].able;
  }
  bool MayTake(const StateShard& shard, uint32_t server) const {
    return servers[server].takes && shard.SlotOn(server) == shard.slots.size();
  }
  // With that slot on that server: how near the other copies are; 0: they stand apart. A shared host weighs
  // more than all zones.
  uint32_t Nearness(const StateShard& shard, uint32_t slot, uint32_t server) const;
  bool KeepsApart(const StateShard& shard, uint32_t slot, uint32_t server) const;

  void MoveCopy(uint32_t shard, uint32_t slot, uint32_t to, MoveReason reason);
  void MoveLead(uint32_t shard, uint32_t slot, MoveReason reason);

 private:
  void AddServers(const RebalanceInput& input);
  void AddShards(const RebalanceInput& input);
  void Place(uint32_t index, const RebalanceShard& given, const RebalanceInput& input, double load_unit);
  uint32_t ServerOf(NodeId id) const;
  void ShareOut();

  uint32_t decisions_ = 0;
};

}  // namespace penstock
