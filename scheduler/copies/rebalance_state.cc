#include "scheduler/copies/rebalance_state.h"

#include <algorithm>
#include <cmath>
#include <map>
#include <set>
#include <utility>

#include "common/base/strings.h"

namespace penstock {
namespace {

// Whole units of load, so that sums do not depend on their order. All of them together are about this many.
constexpr double kLoadUnits = 1LL << 40;
constexpr uint64_t kMaxBytes = 1ULL << 50;
constexpr uint32_t kSharedHost = 256;

double Positive(double weight) { return std::isfinite(weight) && weight > 0 ? weight : 1.0; }
double Load(const RebalanceShard& shard) {
  return std::isfinite(shard.load) && shard.load > 0 ? shard.load : 0.0;
}

// Numbers names that several servers may share. With one name in all there is nothing to choose between.
template <typename NameOf>
std::map<std::string, uint32_t> Number(const std::vector<StateServer>& servers, NameOf name_of) {
  std::set<std::string> names;
  for (const StateServer& server : servers) {
    if (server.takes) names.insert(name_of(server));
  }
  std::map<std::string, uint32_t> numbers;
  if (names.size() < 2) return numbers;
  for (const StateServer& server : servers) {
    if (!name_of(server).empty()) numbers.emplace(name_of(server), static_cast<uint32_t>(numbers.size() + 1));
  }
  return numbers;
}
uint32_t NumberOf(const std::map<std::string, uint32_t>& numbers, const std::string& name) {
  const auto it = numbers.find(name);
  return it == numbers.end() ? 0 : it->second;
}

// What one unit of weight holds when all is shared out. Pieces that are larger than a server's share stay
// whole: each takes a server, and the others share the rest.
double Level(std::vector<int64_t> pieces, double weight, size_t servers) {
  double total = 0;
  for (const int64_t piece : pieces) total += static_cast<double>(piece);
  const double each = weight / static_cast<double>(servers);
  std::sort(pieces.rbegin(), pieces.rend());
  for (const int64_t piece : pieces) {
    const auto size = static_cast<double>(piece);
    if (size <= total / weight * each || weight < 1.5 * each) break;
    total -= size;
    weight -= each;
  }
  return total / weight;
}

void SetShare(Gauge* gauge, double weight, double level, double mean, double stop) {
  gauge->share = std::max(level * weight, 1e-9);
  gauge->inverse = 1 / gauge->share;
  gauge->low = gauge->share * (1 - stop);
  gauge->high = gauge->share * (1 + stop);
  gauge->per_mean = std::max(mean * weight, 1e-9) / gauge->share;
}

// As it is once its move has ended.
void Land(const RebalanceFlight& flight, RebalanceShard* shard) {
  const bool leads = shard->primary == flight.from;
  std::erase_if(shard->others, [&](const RebalanceCopy& copy) {
    return copy.node == flight.to || (flight.kind == MoveKind::kCopy && copy.node == flight.from);
  });
  if (leads) {
    if (flight.kind == MoveKind::kLead) shard->others.push_back({.node = flight.from});
    shard->primary = flight.to;
  } else if (shard->primary != flight.to) {
    shard->others.push_back({.node = flight.to});
  }
  shard->pinned = true;
}

}  // namespace

uint32_t StateShard::SlotOn(uint32_t server) const {
  uint32_t slot = 0;
  while (slot < slots.size() && slots[slot].server != server) ++slot;
  return slot;
}

bool StateShard::WasOn(uint32_t server) const {
  return std::find(origin.begin(), origin.end(), server) != origin.end();
}

bool StateShard::Changed() const {
  if (slots.empty()) return false;
  return Leader() != origin[0] ||
         std::any_of(slots.begin(), slots.end(), [&](const CopySlot& slot) { return !WasOn(slot.server); });
}

RebalanceState::RebalanceState(const RebalanceInput& input, const RebalanceOptions& chosen)
    : options(chosen) {
  AddServers(input);
  AddShards(input);
  ShareOut();
}

void RebalanceState::AddServers(const RebalanceInput& input) {
  std::map<NodeId, StateServer> by_id;
  for (const RebalanceShard& shard : input.shards) {
    by_id[shard.primary];
    for (const RebalanceCopy& copy : shard.others) by_id[copy.node];
  }
  for (const RebalanceFlight& flight : input.in_flight) by_id[flight.from], by_id[flight.to];
  for (const RebalanceServer& given : input.servers) {
    by_id[given.id] = {.name = given.name,
                       .known = true,
                       .able = given.able,
                       .draining = given.draining,
                       .takes = given.able && !given.draining,
                       .host_name = given.host,
                       .zone_name = given.zone,
                       .capacity = Positive(given.capacity),
                       .cores = given.cores == 0 ? 1.0 : given.cores};
  }
  for (auto& [id, server] : by_id) {
    server.id = id;
    if (server.name.empty()) server.name = StrCat("server-", id);
    servers.push_back(std::move(server));
  }
  const auto hosts = Number(servers, [](const StateServer& server) { return server.host_name; });
  const auto zones = Number(servers, [](const StateServer& server) { return server.zone_name; });
  for (StateServer& server : servers) {
    server.host = NumberOf(hosts, server.host_name);
    server.zone = NumberOf(zones, server.zone_name);
  }
}

uint32_t RebalanceState::ServerOf(NodeId id) const {
  const auto it = std::lower_bound(servers.begin(), servers.end(), id,
                                   [](const StateServer& server, NodeId node) { return server.id < node; });
  return static_cast<uint32_t>(it - servers.begin());
}

void RebalanceState::AddShards(const RebalanceInput& input) {
  std::vector<const RebalanceShard*> sorted;
  sorted.reserve(input.shards.size());
  for (const RebalanceShard& shard : input.shards) sorted.push_back(&shard);
  std::sort(sorted.begin(), sorted.end(),
            [](const RebalanceShard* a, const RebalanceShard* b) { return a->id < b->id; });
  double load = 0;
  for (const RebalanceShard* shard : sorted) load += Load(*shard);
  idle = load <= 0;
  load += options.shard_load * static_cast<double>(sorted.size());
  shards.resize(sorted.size());
  for (uint32_t i = 0; i < sorted.size(); ++i) Place(i, *sorted[i], input, load / kLoadUnits);
}

void RebalanceState::Place(uint32_t index, const RebalanceShard& given, const RebalanceInput& input,
                           double load_unit) {
  RebalanceShard landed = given;
  for (const RebalanceFlight& flight : input.in_flight) {
    if (flight.shard == given.id) Land(flight, &landed);
  }
  StateShard& shard = shards[index];
  shard.id = given.id;
  shard.bytes = static_cast<int64_t>(std::clamp<uint64_t>(given.bytes + options.shard_bytes, 1, kMaxBytes));
  // Of an idle cluster nobody knows what will be hot.
  shard.load = idle ? 1 : std::llround((Load(given) + options.shard_load) / load_unit);
  shard.given_bytes = given.bytes;
  shard.given_load = Load(given);
  shard.pinned = landed.pinned;
  shard.slots.push_back({.server = ServerOf(landed.primary)});
  // By node, because the order in which copies are listed says nothing.
  std::sort(landed.others.begin(), landed.others.end(),
            [](const RebalanceCopy& a, const RebalanceCopy& b) { return a.node < b.node; });
  for (const RebalanceCopy& copy : landed.others)
    shard.slots.push_back({.server = ServerOf(copy.node), .in_sync = copy.in_sync});
  for (const CopySlot& slot : shard.slots) {
    shard.origin.push_back(slot.server);
    servers[slot.server].shards.push_back(index);
    servers[slot.server].bytes.has += shard.bytes;
  }
  shard.reasons.resize(shard.slots.size());
  StateServer& leader = servers[shard.Leader()];
  leader.load.has += shard.load;
  ++leader.primaries;
  // Copies are seeded by the primary.
  shard.movable = !shard.pinned && leader.able && shard.slots.size() <= options.copies;
  const int64_t rested = input.now_ms - given.moved_ms;  // below 0: the clock was set back
  shard.resting = given.moved_ms != 0 && rested >= 0 && rested < options.cooldown_ms;
}

// What is on servers that do not live is not counted: nobody knows where it will be.
void RebalanceState::ShareOut() {
  double capacity = 0, cores = 0;
  size_t takers = 0;
  for (const StateServer& server : servers) {
    if (!server.takes) continue;
    capacity += server.capacity;
    cores += server.cores;
    ++takers;
  }
  if (takers == 0) return;
  std::vector<int64_t> bytes, loads;
  double total_bytes = 0, total_load = 0;
  for (const StateShard& shard : shards) {
    for (const CopySlot& slot : shard.slots) {
      if (!servers[slot.server].able) continue;
      bytes.push_back(shard.bytes);
      total_bytes += static_cast<double>(shard.bytes);
    }
    if (!servers[shard.Leader()].able) continue;
    loads.push_back(shard.load);
    total_load += static_cast<double>(shard.load);
  }
  const double bytes_level = Level(std::move(bytes), capacity, takers);
  const double load_level = Level(std::move(loads), cores, takers);
  for (StateServer& server : servers) {
    SetShare(&server.bytes, server.capacity, bytes_level, total_bytes / capacity, options.bytes.stop);
    SetShare(&server.load, server.cores, load_level, total_load / cores, options.load.stop);
  }
  mean_bytes = std::max(total_bytes / static_cast<double>(takers), 1.0);
  mean_load = std::max(total_load / static_cast<double>(takers), 1.0);
}

uint32_t RebalanceState::Nearness(const StateShard& shard, uint32_t slot, uint32_t server) const {
  const StateServer& here = servers[server];
  uint32_t near = 0;
  for (uint32_t i = 0; i < shard.slots.size(); ++i) {
    const StateServer& there = servers[shard.slots[i].server];
    // Copies on servers that are drained or do not live will be elsewhere.
    if (i == slot || !there.takes) continue;
    near += (here.host != 0 && here.host == there.host ? kSharedHost : 0) +
            (here.zone != 0 && here.zone == there.zone ? 1 : 0);
  }
  return near;
}

bool RebalanceState::KeepsApart(const StateShard& shard, uint32_t slot, uint32_t server) const {
  if (shard.slots.size() == 1) return true;
  return Nearness(shard, slot, server) <= Nearness(shard, slot, shard.slots[slot].server);
}

namespace {

// A copy that is moved on keeps the reason for which it left, unless the new one matters more.
void AddReason(MoveReason reason, MoveReason* so_far) {
  if (so_far->cause <= reason.cause) {
    so_far->to_fill = reason.to_fill;
  } else {
    *so_far = std::move(reason);
  }
}

}  // namespace

void RebalanceState::MoveCopy(uint32_t index, uint32_t slot, uint32_t to, MoveReason reason) {
  StateShard& shard = shards[index];
  StateServer& source = servers[shard.slots[slot].server];
  StateServer& target = servers[to];
  source.shards.erase(std::find(source.shards.begin(), source.shards.end(), index));
  source.bytes.has -= shard.bytes;
  target.shards.push_back(index);
  target.bytes.has += shard.bytes;
  if (slot == shard.lead) {
    source.load.has -= shard.load;
    --source.primaries;
    target.load.has += shard.load;
    ++target.primaries;
  }
  shard.slots[slot].server = to;
  reason.order = ++decisions_;
  AddReason(std::move(reason), &shard.reasons[slot]);
}

void RebalanceState::MoveLead(uint32_t index, uint32_t slot, MoveReason reason) {
  StateShard& shard = shards[index];
  StateServer& source = servers[shard.Leader()];
  StateServer& target = servers[shard.slots[slot].server];
  source.load.has -= shard.load;
  --source.primaries;
  target.load.has += shard.load;
  ++target.primaries;
  shard.lead = slot;
  reason.order = ++decisions_;
  AddReason(std::move(reason), &shard.lead_reason);
}

}  // namespace penstock
