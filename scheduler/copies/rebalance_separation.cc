// The steps that come before any balance: servers that are drained, and copies that are too near.
#include <algorithm>
#include <cmath>
#include <tuple>

#include "common/base/strings.h"
#include "scheduler/copies/rebalance_steps.h"

namespace penstock {

UnevenServers::UnevenServers(const RebalanceState& state, Gauge StateServer::*gauge, double start)
    : state_(state),
      gauge_(gauge),
      start_(start),
      uneven_(state.servers.size()),
      given_up_(state.servers.size()) {
  for (uint32_t server = 0; server < state.servers.size(); ++server) Check(server);
}

void UnevenServers::Check(uint32_t server) {
  if (!state_.servers[server].takes) return;
  const Gauge& gauge = state_.servers[server].*gauge_;
  if (gauge.Outside(gauge.has) == 0) {
    uneven_[server] = false;
  } else if (std::abs(gauge.Fill() - 1) > start_) {
    uneven_[server] = true;
  }
}

uint32_t UnevenServers::Next() {
  auto next = static_cast<uint32_t>(uneven_.size());
  double farthest = 0;
  for (uint32_t server = 0; server < uneven_.size(); ++server) {
    if (!uneven_[server] || given_up_[server]) continue;
    const double distance = std::abs((state_.servers[server].*gauge_).Fill() - 1);
    if (distance <= farthest) continue;
    farthest = distance;
    next = server;
  }
  return next;
}

namespace {

class Drainer {
 public:
  explicit Drainer(RebalanceState* state) : state_(*state) {}

  bool Run() {
    for (uint32_t server = 0; server < state_.servers.size(); ++server) {
      if (!state_.servers[server].draining || !state_.servers[server].able) continue;
      for (const uint32_t shard : state_.servers[server].shards) leaving_.push_back({server, shard});
    }
    // The large ones first: the small ones then fill what is left.
    std::sort(leaving_.begin(), leaving_.end(), [&](const Leaving& a, const Leaving& b) {
      return std::make_tuple(-state_.shards[a.shard].bytes, a.shard, a.server) <
             std::make_tuple(-state_.shards[b.shard].bytes, b.shard, b.server);
    });
    bool moved = false;
    for (const Leaving& leaving : leaving_) moved |= Empty(leaving);
    return moved;
  }

 private:
  struct Leaving {
    uint32_t server, shard;
  };

  bool Empty(const Leaving& leaving) {
    const StateShard& shard = state_.shards[leaving.shard];
    const uint32_t slot = shard.SlotOn(leaving.server);
    if (!shard.movable || !shard.slots[slot].in_sync) return false;
    if (const uint32_t to = ChooseTarget(shard, slot); to < state_.servers.size()) {
      state_.MoveCopy(leaving.shard, slot, to, {.cause = MoveCause::kDrain});
      return true;
    }
    // Whoever drains it ends it soon; it should not lead then.
    return slot == shard.lead && HandOver(leaving.shard);
  }

  // Where the copies stand apart; among those the one with the most room.
  uint32_t ChooseTarget(const StateShard& shard, uint32_t slot) const {
    auto best = static_cast<uint32_t>(state_.servers.size());
    std::pair<uint32_t, double> lowest;
    for (uint32_t to = 0; to < state_.servers.size(); ++to) {
      if (!state_.MayTake(shard, to)) continue;
      const std::pair<uint32_t, double> cost = {state_.Nearness(shard, slot, to), FillWith(shard, slot, to)};
      if (best < state_.servers.size() && cost >= lowest) continue;
      lowest = cost;
      best = to;
    }
    return best;
  }

  double FillWith(const StateShard& shard, uint32_t slot, uint32_t to) const {
    // Bytes are dear to move a second time, leads are not.
    constexpr double kLoadCounts = 0.1;
    const Gauge& bytes = state_.servers[to].bytes;
    const double fill = bytes.Fill() + static_cast<double>(shard.bytes) / bytes.share;
    return slot == shard.lead ? fill + kLoadCounts * std::min(state_.servers[to].load.Fill(), 2.0) : fill;
  }

  bool HandOver(uint32_t index) {
    const StateShard& shard = state_.shards[index];
    auto best = static_cast<uint32_t>(shard.slots.size());
    for (uint32_t slot = 0; slot < shard.slots.size(); ++slot) {
      const StateServer& server = state_.servers[shard.slots[slot].server];
      if (!server.takes || !shard.slots[slot].in_sync) continue;
      const auto rank = [&](uint32_t s) {
        const StateServer& candidate = state_.servers[shard.slots[s].server];
        return std::make_tuple(candidate.load.Fill(), candidate.id);
      };
      if (best == shard.slots.size() || rank(slot) < rank(best)) best = slot;
    }
    if (best == shard.slots.size()) return false;
    state_.MoveLead(index, best, {.cause = MoveCause::kDrain});
    return true;
  }

  RebalanceState& state_;
  std::vector<Leaving> leaving_;
};

class Separator {
 public:
  explicit Separator(RebalanceState* state) : state_(*state) {}

  bool Run() {
    bool moved = false;
    for (uint32_t shard = 0; shard < state_.shards.size(); ++shard) {
      while (Improve(shard)) moved = true;
    }
    return moved;
  }

 private:
  bool Improve(uint32_t index) {
    const StateShard& shard = state_.shards[index];
    Choice best;
    for (uint32_t slot = 0; slot < shard.slots.size(); ++slot) {
      if (!state_.MayMove(shard, slot) || !state_.servers[shard.slots[slot].server].takes) continue;
      const uint32_t now = state_.Nearness(shard, slot, shard.slots[slot].server);
      if (now > 0) Consider(shard, slot, now, &best);
    }
    if (best.gain == 0) return false;
    state_.MoveCopy(index, best.slot, best.to,
                    {.cause = MoveCause::kApart, .text = Explain(shard, best.slot)});
    return true;
  }

  struct Choice {
    uint32_t gain = 0, slot = 0, to = 0;
    double fills = 0;  // the fuller the source and the emptier the target, the better
  };

  void Consider(const StateShard& shard, uint32_t slot, uint32_t now, Choice* best) const {
    const Gauge& source = state_.servers[shard.slots[slot].server].bytes;
    for (uint32_t to = 0; to < state_.servers.size(); ++to) {
      if (!state_.MayTake(shard, to)) continue;
      const uint32_t then = state_.Nearness(shard, slot, to);
      if (then >= now || now - then < best->gain) continue;
      const double fills = source.Fill() - state_.servers[to].bytes.Fill();
      if (now - then == best->gain && fills <= best->fills) continue;
      *best = {.gain = now - then, .slot = slot, .to = to, .fills = fills};
    }
  }

  std::string Explain(const StateShard& shard, uint32_t slot) const {
    const StateServer& here = state_.servers[shard.slots[slot].server];
    for (const CopySlot& other : shard.slots) {
      const StateServer& there = state_.servers[other.server];
      if (&there != &here && there.takes && here.host != 0 && there.host == here.host)
        return StrCat("two copies on host ", here.host_name);
    }
    return StrCat("two copies in zone ", here.zone_name);
  }

  RebalanceState& state_;
};

}  // namespace

bool DrainServers(RebalanceState* state) { return Drainer(state).Run(); }
bool SetApart(RebalanceState* state) { return Separator(state).Run(); }

}  // namespace penstock
