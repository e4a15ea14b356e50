#include "scheduler/copies/grant_decision.h"

#include <algorithm>
#include <map>

#include "common/base/mutant.h"
#include "common/base/strings.h"

namespace penstock {
namespace {

constexpr char kRemedy[] =
    "; if nothing better can be brought back, `penstock shard accept-loss` goes on with what is left";

// Empty: it may be served. Of a shard that is held the operator has accepted the damage, which its process
// may still report, with what was left then: what is lost on top of that was not.
std::string WhyNot(const ShardRecord& shard, const std::string& name, const ShardLine* line, Lsn held) {
  if (!Defended(Defence::kQuarantine)) return "";
  if (line != nullptr && !line->damage.empty() && !shard.held)
    return StrCat(name, ": ", line->damage, kRemedy);
  const Lsn reported = shard.held ? std::max(shard.logged, shard.synced) : shard.highest;
  if (line == nullptr && reported > 0) {
    return StrCat(name, " came back without this shard, of which it had reported lsn ", reported, kRemedy);
  }
  if (held < shard.synced) {
    return StrCat(name, " holds lsn ", held, ", but had reported lsn ", shard.synced, " as synced", kRemedy);
  }
  if (held < shard.logged) {
    return StrCat(name, " holds lsn ", held, ", but had reported lsn ", shard.logged, " as logged", kRemedy);
  }
  return "";
}

}  // namespace

ShardGrantRecord NextGrant(ShardId id, const ShardRecord& shard) {
  return {.shard = id, .epoch = HighestEpoch(shard) + 1, .min_lsn = LeastLsn(shard)};
}

GrantDecision DecideGrants(const ClusterState& state, NodeId node, const std::string& name,
                           const std::vector<ShardLine>& lines) {
  const auto& shards = state.data().shards;
  std::map<ShardId, const ShardLine*> reported;
  for (const auto& line : lines) {
    if (line.shard < shards.size() && shards[line.shard].incarnation == line.incarnation)
      reported[line.shard] = &line;
  }
  GrantDecision decision;
  for (ShardId id = 0; id < shards.size(); ++id) {
    const ShardRecord& shard = shards[id];
    if (shard.node != node) continue;
    auto it = reported.find(id);
    const ShardLine* line = it == reported.end() ? nullptr : it->second;
    const Lsn held = line == nullptr ? 0 : std::max({line->applied, line->logged, line->synced});
    const bool outranks = line != nullptr && std::ranges::all_of(shard.former, [&](const CopyRecord& former) {
                            return Outranks(std::max(line->epoch, line->seen), former);
                          });
    if (HasPromotable(shard) || (!shard.former.empty() && !outranks)) {
      // What it has logged alone, nobody is owed.
      if (line != nullptr) decision.lsns.push_back({.shard = id, .applied = held});
      continue;
    }
    if (std::string reason = WhyNot(shard, name, line, held); !reason.empty()) {
      decision.quarantines.push_back({.shard = id, .reason = std::move(reason)});
      continue;
    }
    if (line != nullptr)
      decision.lsns.push_back({.shard = id, .applied = held, .logged = line->logged, .synced = line->synced});
    if (shard.held) continue;
    ShardGrantRecord grant = NextGrant(id, shard);
    grant.min_lsn = std::max(grant.min_lsn, held + 1);
    if (line != nullptr) grant.epoch = std::max({grant.epoch, line->epoch + 1, line->seen + 1});
    decision.grants.push_back(grant);
  }
  return decision;
}

}  // namespace penstock
