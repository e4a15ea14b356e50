#include "scheduler/copies/rebalance.h"

#include <algorithm>
#include <iterator>
#include <map>
#include <set>
#include <utility>

#include "common/base/strings.h"
#include "scheduler/copies/rebalance_state.h"
#include "scheduler/copies/rebalance_steps.h"
#include "scheduler/copies/rebalance_summary.h"

namespace penstock {
namespace {

// Until no step finds anything. Each of them lowers a cost of its own, so that few rounds are needed; the
// bound is for sums that rounding keeps from coming to rest.
void Settle(RebalanceState* state) {
  constexpr int kMaxRounds = 1000;
  for (int round = 0; round < kMaxRounds; ++round) {
    bool moved = DrainServers(state);
    moved |= SetApart(state);
    moved |= EvenBytes(state);
    moved |= EvenLeads(state);
    if (!moved && !EvenLoadByCopies(state)) return;
  }
}

std::string ReasonText(const RebalanceState& state, const MoveReason& reason, uint32_t from, uint32_t to) {
  if (!reason.text.empty()) return reason.text;
  const std::string& source = state.servers[from].name;
  const std::string& target = state.servers[to].name;
  const auto compare = [&](std::string_view what) {
    return StrCat(source, what, ", ", target, " ", FillText(reason.to_fill));
  };
  if (reason.cause == MoveCause::kDrain) return source + " is being drained";
  if (reason.cause == MoveCause::kBytes)
    return compare(StrCat(" holds ", FillText(reason.from_fill), " of the mean bytes"));
  if (state.idle)
    return compare(StrCat(" leads ", FillText(reason.from_fill), " of the mean number of shards"));
  return compare(StrCat(" has ", FillText(reason.from_fill), " of the mean load"));
}

struct ShardPlan {
  std::vector<RebalanceMove> moves;
  std::pair<MoveCause, uint32_t> rank = {MoveCause::kNone, UINT32_MAX};  // the aim, then the decision
};

// The moves of one shard: the difference between where its copies were and where they are.
class ShardMoves {
 public:
  ShardMoves(const RebalanceState& state, const StateShard& shard) : state_(state), shard_(shard) {
    for (uint32_t slot = 0; slot < shard.slots.size(); ++slot) {
      if (shard.SlotOn(shard.origin[slot]) == shard.slots.size()) leaving_.push_back(slot);
      if (!shard.WasOn(shard.slots[slot].server)) coming_.push_back(slot);
    }
    ListLead();
    while (!leaving_.empty()) Pair(leaving_.front(), CopyFor(leaving_.front()));
    if (lead_last_) AddLead();
  }

  ShardPlan Take() { return std::move(out_); }

 private:
  void ListLead() {
    const uint32_t before = shard_.origin[0];
    if (shard_.Leader() == before) return;
    if (shard_.WasOn(shard_.Leader())) {
      AddLead();
    } else if (!leaving_.empty() && leaving_.front() == 0) {
      Pair(0, shard_.lead);  // the lead goes with the copy
    } else {
      lead_last_ = true;
    }
  }

  // The slot that moved, or if that is where another copy was, any that is new.
  uint32_t CopyFor(uint32_t leaving) const {
    const bool same = std::find(coming_.begin(), coming_.end(), leaving) != coming_.end();
    return same ? leaving : coming_.front();
  }

  void Pair(uint32_t leaving, uint32_t coming) {
    std::erase(leaving_, leaving);
    std::erase(coming_, coming);
    const MoveReason& a = shard_.reasons[coming];
    const MoveReason& b = shard_.reasons[leaving];
    Add(MoveKind::kCopy, shard_.origin[leaving], shard_.slots[coming].server, a.cause <= b.cause ? a : b);
  }

  void AddLead() {
    MoveReason reason = shard_.lead_reason;
    for (const MoveReason& other : shard_.reasons) {
      if (reason.cause == MoveCause::kNone) reason = other;
    }
    if (state_.servers[shard_.origin[0]].draining)
      reason = {.cause = MoveCause::kDrain, .text = "", .order = reason.order};
    Add(MoveKind::kLead, shard_.origin[0], shard_.Leader(), reason);
  }

  void Add(MoveKind kind, uint32_t from, uint32_t to, const MoveReason& reason) {
    out_.moves.push_back({.shard = shard_.id,
                          .from = state_.servers[from].id,
                          .to = state_.servers[to].id,
                          .kind = kind,
                          .bytes = kind == MoveKind::kCopy ? shard_.given_bytes : 0,
                          .drains = reason.cause == MoveCause::kDrain,
                          .reason = ReasonText(state_, reason, from, to)});
    out_.rank = std::min(out_.rank, {reason.cause, reason.order});
  }

  const RebalanceState& state_;
  const StateShard& shard_;
  std::vector<uint32_t> leaving_, coming_;  // slots by where they were, and by where they are
  bool lead_last_ = false;
  ShardPlan out_;
};

std::vector<RebalanceMove> ListMoves(const RebalanceState& state) {
  std::vector<ShardPlan> plans;
  for (const StateShard& shard : state.shards) {
    if (shard.Changed()) plans.push_back(ShardMoves(state, shard).Take());
  }
  std::stable_sort(plans.begin(), plans.end(),
                   [](const ShardPlan& a, const ShardPlan& b) { return a.rank < b.rank; });
  std::vector<RebalanceMove> moves;
  for (ShardPlan& plan : plans) std::move(plan.moves.begin(), plan.moves.end(), std::back_inserter(moves));
  return moves;
}

// What may still begin.
class FlightLimits {
 public:
  explicit FlightLimits(const RebalanceOptions& options) : options_(options) {}

  bool Leaves(NodeId from, NodeId to, MoveKind kind) const {
    const bool copy = kind == MoveKind::kCopy;
    const uint32_t by_node = copy ? options_.max_copies_per_node : options_.max_leads_per_node;
    return Of(0, kind) < (copy ? options_.max_copies : options_.max_leads) && Of(from, kind) < by_node &&
           Of(to, kind) < by_node;
  }
  void Take(NodeId from, NodeId to, MoveKind kind) {
    for (const NodeId node : {NodeId{0}, from, to}) ++taken_[{kind, node}];
  }

 private:
  // Node 0: the cluster.
  uint32_t Of(NodeId node, MoveKind kind) const {
    const auto it = taken_.find({kind, node});
    return it == taken_.end() ? 0 : it->second;
  }

  const RebalanceOptions& options_;
  std::map<std::pair<MoveKind, NodeId>, uint32_t> taken_;
};

}  // namespace

RebalancePlan PlanAll(const RebalanceInput& input, const RebalanceOptions& options) {
  RebalanceState state(input, options);
  RebalancePlan plan;
  plan.summary = SummarizeBefore(state);
  Settle(&state);
  plan.moves = ListMoves(state);
  plan.not_drained = WhyNotDrained(state);
  SummarizeAfter(state, &plan.summary);
  for (const RebalanceMove& move : plan.moves) plan.summary.moved_bytes += move.bytes;
  return plan;
}

std::vector<RebalanceMove> NextMoves(const RebalanceInput& input, const RebalanceOptions& options) {
  FlightLimits limits(options);
  for (const RebalanceFlight& flight : input.in_flight) limits.Take(flight.from, flight.to, flight.kind);
  std::vector<RebalanceMove> next;
  std::set<ShardId> seen;
  for (RebalanceMove& move : PlanAll(input, options).moves) {
    if (!seen.insert(move.shard).second || !limits.Leaves(move.from, move.to, move.kind)) continue;
    limits.Take(move.from, move.to, move.kind);
    next.push_back(std::move(move));
  }
  return next;
}

}  // namespace penstock
