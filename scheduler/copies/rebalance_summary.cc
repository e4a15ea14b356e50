#include "scheduler/copies/rebalance_summary.h"

#include <algorithm>
#include <cstdio>

#include "common/base/strings.h"

namespace penstock {
namespace {

struct Amounts {
  uint64_t bytes = 0;
  double load = 0;
  uint32_t copies = 0;
};

// By server.
std::vector<Amounts> Count(const RebalanceState& state) {
  std::vector<Amounts> amounts(state.servers.size());
  for (const StateShard& shard : state.shards) {
    for (const CopySlot& slot : shard.slots) {
      amounts[slot.server].bytes += shard.given_bytes;
      ++amounts[slot.server].copies;
    }
    amounts[shard.Leader()].load += shard.given_load;
  }
  return amounts;
}

Imbalance Measure(const RebalanceState& state) {
  Imbalance imbalance;
  bool first = true;
  for (const StateServer& server : state.servers) {
    if (!server.takes) continue;
    const double bytes = server.bytes.FillOfMean(), load = server.load.FillOfMean();
    imbalance.highest_bytes = first ? bytes : std::max(imbalance.highest_bytes, bytes);
    imbalance.lowest_bytes = first ? bytes : std::min(imbalance.lowest_bytes, bytes);
    imbalance.highest_load = first ? load : std::max(imbalance.highest_load, load);
    imbalance.lowest_load = first ? load : std::min(imbalance.lowest_load, load);
    first = false;
  }
  return imbalance;
}

// The shards of which one alone is more than a server's share, the largest first.
void NoteIndivisible(const RebalanceState& state, int64_t StateShard::*amount, double mean, double tolerated,
                     std::string_view of, std::vector<std::string>* notes) {
  constexpr size_t kNamed = 5;
  std::vector<const StateShard*> found;
  for (const StateShard& shard : state.shards) {
    if (static_cast<double>(shard.*amount) > mean * (1 + tolerated)) found.push_back(&shard);
  }
  std::stable_sort(found.begin(), found.end(),
                   [&](const StateShard* a, const StateShard* b) { return a->*amount > b->*amount; });
  for (size_t i = 0; i < std::min(found.size(), kNamed); ++i) {
    const double part = static_cast<double>(found[i]->*amount) / mean;
    notes->push_back(StrCat("shard ", found[i]->id, " alone has ", FillText(part), " of the mean ", of,
                            " of a server, and cannot be split"));
  }
  if (found.size() > kNamed) notes->push_back(StrCat("and ", found.size() - kNamed, " more shards"));
}

std::string WhyNoTarget(const RebalanceState& state) {
  const auto count = [&](auto is) { return std::count_if(state.servers.begin(), state.servers.end(), is); };
  const auto takers = count([](const StateServer& server) { return server.takes; });
  if (takers > 0)
    return StrCat("each of the ", takers,
                  " servers that could take it has a copy already: ", state.options.copies,
                  " copies need as many servers");
  const auto able = count([](const StateServer& server) { return server.able; });
  return able > 1 ? "all servers that are able to take it are being drained, too"
                  : "no other server is able to take it";
}

std::string WhyStays(const RebalanceState& state, const StateShard& shard, const StateServer& server) {
  const StateServer& leader = state.servers[shard.Leader()];
  if (!leader.able) return StrCat("its primary's server ", leader.name, " is not able to give copies");
  if (!server.able) return StrCat(server.name, " is not able to give it away");
  if (shard.pinned) return "it cannot be moved now";
  if (!shard.movable)
    return StrCat("it has ", shard.slots.size(), " copies of ", state.options.copies,
                  " wanted: the surplus leaves first");
  const auto here = static_cast<uint32_t>(&server - state.servers.data());
  if (!shard.slots[shard.SlotOn(here)].in_sync) return "its copy there is still being seeded";
  return WhyNoTarget(state);
}

}  // namespace

std::string FillText(double fill) {
  char text[32];
  std::snprintf(text, sizeof(text), "%.2f", fill);
  return text;
}

RebalanceSummary SummarizeBefore(const RebalanceState& state) {
  RebalanceSummary summary;
  const std::vector<Amounts> amounts = Count(state);
  for (size_t i = 0; i < amounts.size(); ++i) {
    const StateServer& server = state.servers[i];
    if (!server.known) continue;
    ServerSummary& line = summary.servers.emplace_back();
    line.node = server.id;
    line.name = server.name;
    line.bytes_before = amounts[i].bytes;
    line.load_before = amounts[i].load;
    line.copies_before = amounts[i].copies;
    line.primaries_before = server.primaries;
  }
  summary.before = Measure(state);
  return summary;
}

void SummarizeAfter(const RebalanceState& state, RebalanceSummary* summary) {
  const std::vector<Amounts> amounts = Count(state);
  auto line = summary->servers.begin();
  for (size_t i = 0; i < amounts.size(); ++i) {
    if (!state.servers[i].known) continue;
    line->bytes_after = amounts[i].bytes;
    line->load_after = amounts[i].load;
    line->copies_after = amounts[i].copies;
    line->primaries_after = state.servers[i].primaries;
    ++line;
  }
  summary->after = Measure(state);
  const RebalanceOptions& options = state.options;
  NoteIndivisible(state, &StateShard::bytes, state.mean_bytes, options.bytes.stop, "bytes", &summary->notes);
  if (!state.idle)
    NoteIndivisible(state, &StateShard::load, state.mean_load, options.load.stop, "load", &summary->notes);
}

std::vector<NotDrained> WhyNotDrained(const RebalanceState& state) {
  std::vector<NotDrained> left;
  for (const StateServer& server : state.servers) {
    if (!server.draining) continue;
    std::vector<uint32_t> shards = server.shards;
    std::sort(shards.begin(), shards.end());
    for (const uint32_t index : shards) {
      const StateShard& shard = state.shards[index];
      left.push_back({.shard = shard.id, .node = server.id, .why = WhyStays(state, shard, server)});
    }
  }
  return left;
}

}  // namespace penstock
