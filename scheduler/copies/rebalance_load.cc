// The step that moves copies for the load, where handing over leads is not enough.
#include <algorithm>
#include <tuple>

#include "common/base/strings.h"
#include "scheduler/copies/rebalance_steps.h"

namespace penstock {
namespace {

// Primaries from a hot server to others, alone where the bytes allow it, or else in exchange for a copy that
// is about as large.
class HotCopies {
 public:
  explicit HotCopies(RebalanceState* state)
      : state_(*state), uneven_(*state, &StateServer::load, state->options.load.start) {}

  bool Run() {
    const auto none = static_cast<uint32_t>(state_.servers.size());
    bool moved = false;
    for (uint32_t server = uneven_.Next(); server != none; server = uneven_.Next()) {
      if (state_.servers[server].load.Fill() > 1 && Cool(server)) {
        moved = true;
      } else {
        uneven_.GiveUp(server);
      }
    }
    return moved;
  }

 private:
  // Where nothing goes alone, all pairs would be too many to look at.
  static constexpr size_t kHottest = 16;
  static constexpr size_t kColdest = 16;
  // What must be gained for the bytes that are moved, both as parts of a server's mean. The cost is a square:
  // few bytes are worth a small gain.
  static double WorthItsBytes(double moved) { return std::min(0.6 * moved, 5 * moved * moved); }

  struct Choice {
    uint32_t shard = 0, to = 0;
    bool exchange = false;
    uint32_t back = 0;
    double score = 0;
  };

  bool Cool(uint32_t server) {
    best_ = {};
    std::vector<uint32_t> coldest = Coldest(server);
    if (coldest.empty()) return false;
    std::vector<uint32_t> hottest = Hottest(server, coldest.front());
    for (const uint32_t shard : hottest) {
      for (const uint32_t to : coldest) ConsiderAlone(shard, to);
    }
    if (best_.score == 0) {
      hottest.resize(std::min(hottest.size(), kHottest));
      coldest.resize(std::min(coldest.size(), kColdest));
      for (const uint32_t shard : hottest) {
        for (const uint32_t to : coldest) ConsiderExchanges(shard, to);
      }
    }
    if (best_.score == 0) return false;
    Do(server);
    return true;
  }

  std::vector<uint32_t> Coldest(uint32_t server) const {
    std::vector<uint32_t> found;
    const auto fill = [&](uint32_t s) { return state_.servers[s].load.Fill(); };
    for (uint32_t other = 0; other < state_.servers.size(); ++other) {
      if (state_.servers[other].takes && fill(other) < fill(server)) found.push_back(other);
    }
    std::stable_sort(found.begin(), found.end(), [&](uint32_t a, uint32_t b) { return fill(a) < fill(b); });
    return found;
  }

  // The primaries of the server that help most elsewhere.
  std::vector<uint32_t> Hottest(uint32_t server, uint32_t coldest) const {
    std::vector<std::pair<double, uint32_t>> found;
    for (const uint32_t index : state_.servers[server].shards) {
      const StateShard& shard = state_.shards[index];
      if (shard.Leader() != server || !state_.MayMove(shard, shard.lead)) continue;
      const double gain = CostGain(state_.servers[server].load, state_.servers[coldest].load, shard.load);
      if (gain > 0) found.emplace_back(-gain, index);
    }
    std::sort(found.begin(), found.end());
    std::vector<uint32_t> shards;
    for (const auto& [gain, index] : found) shards.push_back(index);
    return shards;
  }

  void ConsiderAlone(uint32_t index, uint32_t to) {
    const StateShard& shard = state_.shards[index];
    const StateServer& source = state_.servers[shard.Leader()];
    const StateServer& target = state_.servers[to];
    const double gain = CostGain(source.load, target.load, shard.load);
    if (gain < kWorthWhile * static_cast<double>(shard.load)) return;
    if (CostGain(source.bytes, target.bytes, shard.bytes) < 0) return;
    if (!state_.MayTake(shard, to) || !state_.KeepsApart(shard, shard.lead, to)) return;
    Keep({.shard = index, .to = to}, gain, shard.bytes);
  }

  void ConsiderExchanges(uint32_t index, uint32_t to) {
    const StateShard& shard = state_.shards[index];
    if (!state_.MayTake(shard, to) || !state_.KeepsApart(shard, shard.lead, to)) return;
    const uint32_t from = shard.Leader();
    for (const uint32_t back : state_.servers[to].shards) {
      const StateShard& other = state_.shards[back];
      const uint32_t slot = other.SlotOn(to);
      const int64_t load = shard.load - (slot == other.lead ? other.load : 0);
      const double gain = CostGain(state_.servers[from].load, state_.servers[to].load, load);
      if (load <= 0 || gain < kWorthWhile * static_cast<double>(load)) continue;
      const int64_t bytes = shard.bytes - other.bytes;
      if (CostGain(state_.servers[from].bytes, state_.servers[to].bytes, bytes) < 0) continue;
      if (!state_.MayMove(other, slot) || !state_.MayTake(other, from)) continue;
      if (!state_.KeepsApart(other, slot, from)) continue;
      Keep({.shard = index, .to = to, .exchange = true, .back = back}, gain, shard.bytes + other.bytes);
    }
  }

  // The one that gains the most for its bytes.
  void Keep(Choice choice, double gain, int64_t bytes) {
    const double gained = gain / state_.mean_load;
    const double moved = static_cast<double>(bytes) / state_.mean_bytes;
    if (gained < WorthItsBytes(moved)) return;
    choice.score = gained / (moved + 0.01);
    const auto rank = [](const Choice& c) { return std::make_tuple(-c.score, c.shard, c.to, c.back); };
    if (best_.score == 0 || rank(choice) < rank(best_)) best_ = choice;
  }

  void Do(uint32_t from) {
    const Choice move = best_;
    const StateShard& shard = state_.shards[move.shard];
    const MoveReason reason = LoadReason(state_, from, move.to);
    state_.MoveCopy(move.shard, shard.lead, move.to, reason);
    if (move.exchange) BringBack(move, from, reason);
    uneven_.Check(from);
    uneven_.Check(move.to);
  }

  void BringBack(const Choice& move, uint32_t from, const MoveReason& reason) {
    const StateShard& shard = state_.shards[move.shard];
    MoveReason in_exchange = reason;
    in_exchange.text =
        StrCat("in exchange for shard ", shard.id, ", which is too hot for ", state_.servers[from].name);
    state_.MoveCopy(move.back, state_.shards[move.back].SlotOn(move.to), from, in_exchange);
  }

  RebalanceState& state_;
  UnevenServers uneven_;
  Choice best_;
};

}  // namespace

bool EvenLoadByCopies(RebalanceState* state) { return !state->idle && HotCopies(state).Run(); }

}  // namespace penstock
