#include "scheduler/copies/copy_election.h"

#include <algorithm>
#include <tuple>
#include <utility>

#include "common/base/mutant.h"
#include "common/base/strings.h"

namespace penstock {
namespace {

ChangeCopies::Change Lead(const CopyHealth& health, ShardId id, NodeId node, Incarnation incarnation) {
  return {.shard = id,
          .epoch = health.NextEpoch(id),
          .min_lsn = health.NextLsn(id),
          .node = node,
          .incarnation = incarnation,
          .backups = {}};
}

std::optional<ChangeCopies::Change> Promote(const CopyHealth& health, ShardId id,
                                            const std::map<NodeId, uint32_t>& primaries) {
  const ShardRecord& shard = health.Shard(id);
  const CopyRecord* best = nullptr;
  std::tuple<Lsn, Lsn, int64_t> best_rank;
  for (const CopyRecord& copy : shard.backups) {
    if (!health.CouldGoOn(id, copy)) continue;
    const ShardLine& line = *health.nodes().Line(copy.node, id);
    auto count = primaries.find(copy.node);
    const std::tuple rank(line.logged, line.applied,
                          -static_cast<int64_t>(count == primaries.end() ? 0 : count->second));
    if (best != nullptr && rank <= best_rank) continue;
    best = &copy;
    best_rank = rank;
  }
  if (best == nullptr) return std::nullopt;
  auto change = Lead(health, id, best->node, best->incarnation);
  for (const CopyRecord& copy : shard.backups) {
    if (copy.node != best->node && copy.in_sync && health.AliveAndUnbroken(id, copy))
      change.backups.push_back(copy);
  }
  return change;
}

Lsn SoundLsn(const Candidate& candidate) { return candidate.sound ? candidate.held : 0; }

// Which is better to go on with. Not by damage alone: a sound copy without anything is no copy.
bool Better(const Candidate& a, const Candidate& b) {
  return std::make_pair(SoundLsn(a), a.held) > std::make_pair(SoundLsn(b), b.held);
}

// The leader's equals stay: they go on as they are, and a primary that finds a difference says that they
// failed. Whoever holds something else is added again and seeded.
ChangeCopies::Change LeadWithEquals(const CopyHealth& health, ShardId id, const Candidate& leader,
                                    const std::vector<Candidate>& candidates) {
  auto change = Lead(health, id, leader.node, leader.incarnation);
  for (const CopyRecord& copy : health.Shard(id).backups) {
    const bool stays = std::any_of(candidates.begin(), candidates.end(), [&](const Candidate& c) {
      return c.node == copy.node && c.node != leader.node && c.heard && c.sound && c.held == leader.held;
    });
    if (!stays) continue;
    change.backups.push_back(copy);
    change.backups.back().session = health.state().FindNode(copy.node)->session;
  }
  return change;
}

std::string WhoHoldsWhat(const CopyHealth& health, ShardId id, const std::vector<Candidate>& candidates,
                         bool unwitnessed) {
  const ShardRecord& shard = health.Shard(id);
  std::vector<std::string> holds;
  for (const Candidate& c : candidates) {
    const ShardLine* line = health.nodes().Line(c.node, id);
    if (!c.heard) {
      holds.push_back(c.name + " was not heard");
    } else if (line == nullptr || line->incarnation != c.incarnation) {
      holds.push_back(c.name + " came back without it");
    } else if (!c.sound) {
      holds.push_back(StrCat(c.name, ": ", line->damage.empty() ? "its copy is not complete" : line->damage));
    } else {
      holds.push_back(StrCat(c.name, " holds lsn ", c.held));
    }
  }
  const Lsn owed = std::max(shard.synced, shard.logged);
  const std::string why =
      unwitnessed ? StrCat("nobody is left who would know what was answered in epoch ", shard.epoch)
                  : StrCat("lsn ", owed, " was reported as ", shard.synced == owed ? "synced" : "logged");
  return StrCat(StrJoin(holds, ", "), "; but ", why,
                "; if nothing better can be brought back, `penstock shard accept-loss ", id,
                "` goes on with the longest that was heard");
}

bool Suffices(const ShardRecord& shard, Lsn held) {
  return (held >= shard.logged && held >= shard.synced) || !Defended(Defence::kQuarantine);
}

// What was answered in the epoch that left `leader` out is on all members of that. A whole one, which has not
// taken it (or `leader` would be no candidate), shows that there was nothing; where all are damaged or empty,
// nobody knows.
bool Unwitnessed(const Candidate& leader, const std::vector<Candidate>& candidates) {
  return leader.former && std::ranges::all_of(candidates, [](const Candidate& c) {
           return c.former || (c.heard && !c.sound);
         });
}

Election Judge(const CopyHealth& health, ShardId id, const Candidate& leader,
               const std::vector<Candidate>& candidates) {
  const ShardRecord& shard = health.Shard(id);
  Election election;
  const bool unwitnessed = !shard.held && Defended(Defence::kQuarantine) && Unwitnessed(leader, candidates);
  // A loss was accepted with whatever state the copies are in.
  if (!unwitnessed && Suffices(shard, shard.held ? leader.held : SoundLsn(leader))) {
    election.change = LeadWithEquals(health, id, leader, candidates);
  } else if (std::string reason = WhoHoldsWhat(health, id, candidates, unwitnessed);
             reason != shard.quarantine) {
    election.quarantine = ShardQuarantine{.shard = id, .reason = std::move(reason)};
  }
  return election;
}

}  // namespace

Election ElectLeader(const CopyHealth& health, ShardId id, const std::map<NodeId, uint32_t>& primaries) {
  const ShardRecord& shard = health.Shard(id);
  if (auto change = Promote(health, id, primaries)) return {.change = std::move(change), .quarantine = {}};
  if (!health.Contested(id)) return {};
  auto candidates = health.Candidates(id);
  const bool all = std::all_of(candidates.begin(), candidates.end(), [](const auto& c) { return c.heard; });
  const auto best = BestCandidate(health, id);
  if (all) return Judge(health, id, *best, candidates);
  if (shard.held && best.ok() && Suffices(shard, best->held)) return Judge(health, id, *best, candidates);
  return {};
}

Result<Election> ForceLeader(const CopyHealth& health, ShardId id, NodeId node) {
  if (health.Shard(id).node == 0) return FailedPrecondition(StrCat("shard ", id, " is not placed yet"));
  if (health.Shard(id).held) {
    return FailedPrecondition(StrCat(
        "shard ", id, ": a loss was accepted, it goes on with the first server that is heard and holds lsn ",
        health.Shard(id).logged));
  }
  const auto candidates = health.Candidates(id);
  std::vector<std::string> names;
  for (const Candidate& c : candidates) names.push_back(c.name);
  const std::string members = StrJoin(names, ", ");
  auto it = std::find_if(candidates.begin(), candidates.end(), [&](const auto& c) { return c.node == node; });
  if (it == candidates.end()) {
    return FailedPrecondition(
        StrCat("shard ", id, ": node ", node, " has no copy that was in sync; those are ", members));
  }
  if (!health.Contested(id)) {
    return FailedPrecondition(StrCat("shard ", id,
                                     health.WhyLost(id).empty() ? " has a primary that serves it"
                                                                : StrCat(" has one copy alone, of ", members),
                                     ": there is nothing to force"));
  }
  if (!it->heard)
    return FailedPrecondition(StrCat("shard ", id, ": ", it->name, " does not answer: start it first"));
  return Judge(health, id, *it, candidates);
}

Result<Candidate> BestCandidate(const CopyHealth& health, ShardId id) {
  auto candidates = health.Candidates(id);
  std::erase_if(candidates, [](const Candidate& c) { return !c.heard; });
  if (candidates.empty()) {
    return FailedPrecondition(StrCat("shard ", id, ": no server with a copy of it answers: start one first"));
  }
  // The first of equals: the primary, which then needs nothing from the others.
  return *std::max_element(candidates.begin(), candidates.end(),
                           [](const auto& a, const auto& b) { return Better(b, a); });
}

std::string WhyContested(const CopyHealth& health, ShardId id) {
  std::vector<std::string> missing, heard;
  for (const Candidate& c : health.Candidates(id)) (c.heard ? heard : missing).push_back(c.name);
  std::string text = health.WhyLost(id);
  if (!missing.empty())
    text += StrCat("; waiting for ", StrJoin(missing, ", "), ", which may hold more of it than others");
  if (!heard.empty()) {
    text += StrCat("; `penstock shard force ", id, " NODE` goes on without with that of ",
                   StrJoin(heard, " or "));
  }
  return text;
}

}  // namespace penstock
