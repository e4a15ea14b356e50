// The step that evens out load for nothing: leads are handed over to servers that have a copy already.
#include <algorithm>
#include <array>
#include <tuple>

#include "scheduler/copies/rebalance_steps.h"

namespace penstock {
namespace {

struct HandOver {
  uint32_t shard = 0, slot = 0, from = 0, to = 0;
  int64_t load = 0;
};

class LeadEvener {
 public:
  explicit LeadEvener(RebalanceState* state)
      : state_(*state), uneven_(*state, &StateServer::load, state->options.load.start) {}

  bool Run() {
    bool moved = false;
    const auto none = static_cast<uint32_t>(state_.servers.size());
    for (uint32_t server = uneven_.Next(); server != none; server = uneven_.Next()) {
      best_ = {};
      Search(server);
      if (best_.score == 0) {
        uneven_.GiveUp(server);
        continue;
      }
      Do(HandOver(best_.first));
      if (best_.pair) Do(HandOver(best_.second));
      moved = true;
    }
    return moved;
  }

 private:
  // Of each server only the hottest are looked at in pairs: all pairs would be too many.
  static constexpr size_t kPaired = 32;

  struct Choice {
    HandOver first = {}, second = {};
    bool pair = false;
    double score = 0;
  };

  void Search(uint32_t server) {
    const bool full = state_.servers[server].load.Fill() > 1;
    std::vector<HandOver> possible = full ? From(server) : To(server);
    for (const HandOver& one : possible) Consider({.first = one});
    if (best_.score > 0) return;
    // Nobody near has room, or too much: who takes a lead hands another on or back, or who gives one gets
    // another.
    KeepHottest(&possible);
    for (const HandOver& first : possible) {
      std::vector<HandOver> further = full ? From(first.to) : To(first.from);
      KeepHottest(&further);
      for (const HandOver& second : further) {
        if (second.shard != first.shard) Consider({.first = first, .second = second, .pair = true});
      }
    }
  }

  std::vector<HandOver> From(uint32_t server) const {
    std::vector<HandOver> found;
    for (const uint32_t index : state_.servers[server].shards) {
      const StateShard& shard = state_.shards[index];
      if (shard.Leader() != server) continue;
      for (uint32_t slot = 0; slot < shard.slots.size(); ++slot) Add(index, slot, &found);
    }
    return found;
  }

  std::vector<HandOver> To(uint32_t server) const {
    std::vector<HandOver> found;
    for (const uint32_t index : state_.servers[server].shards)
      Add(index, state_.shards[index].SlotOn(server), &found);
    return found;
  }

  void Add(uint32_t index, uint32_t slot, std::vector<HandOver>* found) const {
    const StateShard& shard = state_.shards[index];
    const CopySlot& copy = shard.slots[slot];
    if (slot == shard.lead || shard.load == 0 || !state_.MayMove(shard, shard.lead)) return;
    if (!copy.in_sync || !state_.servers[copy.server].takes) return;
    found->push_back({index, slot, shard.Leader(), copy.server, shard.load});
  }

  static void KeepHottest(std::vector<HandOver>* found) {
    std::sort(found->begin(), found->end(), [](const HandOver& a, const HandOver& b) {
      return std::make_tuple(-a.load, a.shard, a.to) < std::make_tuple(-b.load, b.shard, b.to);
    });
    if (found->size() > kPaired) found->resize(kPaired);
  }

  void Consider(const Choice& candidate) {
    const double gain = candidate.pair ? GainOfPair(candidate.first, candidate.second)
                                       : CostGain(LoadAt(candidate.first.from), LoadAt(candidate.first.to),
                                                  candidate.first.load);
    const int64_t load = candidate.first.load + (candidate.pair ? candidate.second.load : 0);
    if (gain <= 0 || gain < kWorthWhile * static_cast<double>(load)) return;
    Choice choice = candidate;
    choice.score = gain;
    // A shard that is moved already would have to wait before it is moved again.
    constexpr double kMovedTwice = 0.25;
    if (state_.shards[choice.first.shard].Changed()) choice.score *= kMovedTwice;
    if (choice.pair && state_.shards[choice.second.shard].Changed()) choice.score *= kMovedTwice;
    if (best_.score == 0 || Rank(choice) < Rank(best_)) best_ = choice;
  }

  const Gauge& LoadAt(uint32_t server) const { return state_.servers[server].load; }

  double GainOfPair(const HandOver& a, const HandOver& b) const {
    const std::array<uint32_t, 4> servers = {a.from, a.to, b.from, b.to};
    const std::array<int64_t, 4> changes = {-a.load, a.load, -b.load, b.load};
    double gain = 0;
    for (size_t i = 0; i < servers.size(); ++i) {
      const auto* const first = std::find(servers.begin(), servers.end(), servers[i]);
      if (first != servers.begin() + i) continue;
      int64_t change = 0;
      for (size_t k = i; k < servers.size(); ++k) change += servers[k] == servers[i] ? changes[k] : 0;
      const Gauge& load = LoadAt(servers[i]);
      gain += load.Cost(load.has) - load.Cost(load.has + change);
    }
    return gain;
  }

  static std::tuple<double, uint32_t, uint32_t, uint32_t, uint32_t> Rank(const Choice& choice) {
    return {-choice.score, choice.first.shard, choice.first.to, choice.second.shard, choice.second.to};
  }

  void Do(const HandOver& one) {
    state_.MoveLead(one.shard, one.slot, LoadReason(state_, one.from, one.to));
    uneven_.Check(one.from);
    uneven_.Check(one.to);
  }

  RebalanceState& state_;
  UnevenServers uneven_;
  Choice best_;
};

}  // namespace

MoveReason LoadReason(const RebalanceState& state, uint32_t from, uint32_t to) {
  return {.cause = MoveCause::kLoad,
          .from_fill = state.servers[from].load.FillOfMean(),
          .to_fill = state.servers[to].load.FillOfMean()};
}

bool EvenLeads(RebalanceState* state) { return LeadEvener(state).Run(); }

}  // namespace penstock
