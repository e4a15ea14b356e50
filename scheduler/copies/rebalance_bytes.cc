// The step that evens out bytes: copies from servers that have too many to servers that have too few.
#include <algorithm>
#include <span>
#include <utility>

#include "scheduler/copies/rebalance_steps.h"

namespace penstock {
namespace {

// Servers on the other side; most searches need no more.
constexpr size_t kFarthest = 64;

// Weights of what is compared, in bytes. Moves that help at both ends are wanted, for a byte that leaves a
// full server for one that has just enough must be followed by another; large ones first, because the small
// ones fit into what they leave.
constexpr double kByte = 0.9;     // for each that is moved
constexpr double kFarther = 0.3;  // for the fall of the cost, which prefers the fullest and the emptiest
constexpr double kLoad = 0.15;    // for that of the load, if it were spread like the bytes

class ByteEvener {
 public:
  explicit ByteEvener(RebalanceState* state)
      : state_(*state), uneven_(*state, &StateServer::bytes, state->options.bytes.start) {}

  bool Run() {
    bool moved = false;
    const auto none = static_cast<uint32_t>(state_.servers.size());
    for (uint32_t server = uneven_.Next(); server != none; server = uneven_.Next()) {
      best_ = {};
      Search(server);
      if (best_.from == best_.to) {
        uneven_.GiveUp(server);
        continue;
      }
      Do();
      moved = true;
    }
    return moved;
  }

 private:
  struct Choice {
    uint32_t shard = 0, slot = 0, from = 0, to = 0;
    double score = 0;
  };

  // Among the servers that are farthest on the other side, or if they do not help, all.
  void Search(uint32_t server) {
    const bool full = state_.servers[server].bytes.Fill() > 1;
    std::vector<std::pair<double, uint32_t>> others;
    for (uint32_t other = 0; other < state_.servers.size(); ++other) {
      if (other == server || !state_.servers[other].takes) continue;
      const double fill = state_.servers[other].bytes.Fill();
      others.emplace_back(full ? fill : -fill, other);
    }
    const size_t first = std::min(others.size(), kFarthest);
    std::nth_element(others.begin(), others.begin() + static_cast<ptrdiff_t>(first), others.end());
    Search(server, full, std::span(others).first(first));
    if (best_.from == best_.to) Search(server, full, std::span(others).subspan(first));
  }

  void Search(uint32_t server, bool full, std::span<const std::pair<double, uint32_t>> others) {
    for (const auto& [fill, other] : others) {
      if (full) {
        Compare(server, other);
      } else {
        Compare(other, server);
      }
    }
  }

  void Compare(uint32_t from, uint32_t to) {
    const Gauge& source = state_.servers[from].bytes;
    const Gauge& target = state_.servers[to].bytes;
    if (source.Fill() <= target.Fill()) return;
    for (const uint32_t index : state_.servers[from].shards) {
      const int64_t bytes = state_.shards[index].bytes;
      const double gain = CostGain(source, target, bytes);
      if (gain < kWorthWhile * static_cast<double>(bytes)) continue;
      Consider(index, from, to, OutsideGain(source, target, bytes) + kFarther * gain);
    }
  }

  void Consider(uint32_t index, uint32_t from, uint32_t to, double score) {
    const StateShard& shard = state_.shards[index];
    const uint32_t slot = shard.SlotOn(from);
    score -= kByte * Carried(shard, from, to);
    if (slot == shard.lead) {
      const double load = CostGain(state_.servers[from].load, state_.servers[to].load, shard.load);
      score += kLoad * load / state_.mean_load * state_.mean_bytes;
    }
    const Choice choice = {.shard = index, .slot = slot, .from = from, .to = to, .score = score};
    if (best_.from != best_.to && !Better(choice, best_)) return;
    if (!state_.MayMove(shard, slot) || !state_.MayTake(shard, to)) return;
    if (state_.KeepsApart(shard, slot, to)) best_ = choice;
  }

  // Bytes that the plan moves more than without this. A copy that it has brought here goes elsewhere instead.
  static double Carried(const StateShard& shard, uint32_t from, uint32_t to) {
    const auto bytes = static_cast<double>(shard.bytes);
    return (shard.WasOn(from) ? bytes : 0) - (shard.WasOn(to) ? bytes : 0);
  }

  static bool Better(const Choice& a, const Choice& b) {
    if (a.score != b.score) return a.score > b.score;
    if (a.shard != b.shard) return a.shard < b.shard;
    return a.from != b.from ? a.from < b.from : a.to < b.to;
  }

  void Do() {
    const Choice move = best_;
    state_.MoveCopy(move.shard, move.slot, move.to,
                    {.cause = MoveCause::kBytes,
                     .from_fill = state_.servers[move.from].bytes.FillOfMean(),
                     .to_fill = state_.servers[move.to].bytes.FillOfMean()});
    uneven_.Check(move.from);
    uneven_.Check(move.to);
  }

  RebalanceState& state_;
  UnevenServers uneven_;
  Choice best_;
};

}  // namespace

bool EvenBytes(RebalanceState* state) { return ByteEvener(state).Run(); }

}  // namespace penstock
