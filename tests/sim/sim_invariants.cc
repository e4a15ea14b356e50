#include "tests/sim/sim_invariants.h"

#include <capnp/serialize.h>

#include <algorithm>

#include "tests/sim/sim_cluster.h"

namespace penstock::sim {
namespace {

// As IsPromotable, which a mutant changes.
bool IsSettled(const ShardRecord& shard, const CopyRecord& copy) {
  return copy.in_sync && copy.since <= shard.confirmed;
}

// Of the copies that a node has or had of a shard.
std::vector<Incarnation> LivesOf(const ShardRecord& shard, NodeId node) {
  std::vector<Incarnation> lives;
  if (shard.node == node) lives.push_back(shard.incarnation);
  for (const auto* copies : {&shard.backups, &shard.former}) {
    if (const CopyRecord* copy = FindCopy(*copies, node)) lives.push_back(copy->incarnation);
  }
  return lives;
}

// By the unit's proof, which is its first row.
bool HasApplied(const SimSlot& slot, const PushRequest& request) {
  float value = 0;
  std::vector<uint32_t> cold;
  const Status pulled = slot.shard->PullRows(request.table, {request.keys.data(), 1}, &value, &cold);
  return pulled.ok() && value >= 1;
}

}  // namespace

UnitNumber Truth::NewUnit(UnitRecord record) {
  units_.push_back(std::move(record));
  return units_.size();
}

void Truth::OnOutcome(UnitNumber number, UnitOutcome outcome, Epoch epoch, Lsn lsn) {
  UnitRecord& unit = units_[number - 1];
  if (unit.outcome == UnitOutcome::kAcknowledged) return;
  unit.outcome = outcome;
  if (outcome != UnitOutcome::kAcknowledged) return;
  unit.epoch = epoch;
  unit.lsn = lsn;
}

void Truth::WantJobRow(TableId table, ShardId shard, Key key, uint32_t pass, bool synced) {
  job_rows_[{table, shard, key}] = {pass, synced};
}

void Truth::OnRewound(Endpoint worker) {
  if (primaries_changed_ || accepted_ > 0) return;
  cluster_.world.Fail(
      "an_epoch_without_loss_rewinds_nobody",
      StrCat(cluster_.world.name(worker), " has rewound, but no shard has changed its primary"));
}

uint64_t Truth::acknowledged() const {
  return std::count_if(units_.begin(), units_.end(),
                       [](const UnitRecord& unit) { return unit.outcome == UnitOutcome::kAcknowledged; });
}

// --- What servers do.

void Truth::OnDelta(ShardId shard, Epoch epoch, Lsn lsn) {
  if (epoch > answered_epoch_[shard] && lsn <= answered_lsn_[shard] && !lossy_.contains(shard)) {
    cluster_.world.Fail("lsn_never_falls",
                        StrCat("shard ", shard, ": delta ", lsn, " of epoch ", epoch, ", but lsn ",
                               answered_lsn_[shard], " was answered before"));
  }
}

void Truth::OnAnswered(Endpoint server, const SimSlot& slot, const PushRequest& request, Durability level,
                       const PushAnswer& answer) {
  UnitRecord& unit = units_[request.number - 1];
  unit.epoch = slot.shard->epoch();
  unit.lsn = std::max<Lsn>(answer.lsn, 1);
  if (level == Durability::kMemory) return;
  Epoch& highest = answered_epoch_[request.shard];
  if (slot.shard->epoch() < highest && SuccessorLacks(request)) {
    cluster_.world.Fail("no_answer_of_an_older_epoch",
                        StrCat("unit ", request.number, " of shard ", request.shard, ": ",
                               cluster_.world.name(server), " answers in epoch ", slot.shard->epoch(),
                               ", whoever answered in epoch ", highest, " before does not have it"));
  }
  highest = std::max(highest, slot.shard->epoch());
  Lsn& lsn = answered_lsn_[request.shard];
  lsn = std::max(lsn, answer.lsn);
  CheckAnswered(server, slot, request, level);
}

// An answer may be late: what all copies had confirmed when they were told of the next epoch is in that one.
bool Truth::SuccessorLacks(const PushRequest& request) const {
  for (const auto& server : cluster_.servers()) {
    const SimSlot* slot = server->core() == nullptr ? nullptr : server->core()->GetSlot(request.shard);
    if (slot == nullptr || !slot->replica.granted() ||
        slot->shard->epoch() < answered_epoch_.at(request.shard))
      continue;
    return !HasApplied(*slot, request);
  }
  return false;  // it has ended meanwhile: the end will tell
}

// What this server applied itself: it is at its level here and on every in-sync copy that still follows.
void Truth::CheckAnswered(Endpoint server, const SimSlot& slot, const PushRequest& request,
                          Durability level) {
  const auto applied = slot.applied.find(request.number);
  if (applied == slot.applied.end()) return;
  const Lsn lsn = applied->second;
  const auto reached = [level](const ShardReplica& replica) {
    return level == Durability::kSynced ? replica.synced_here() : replica.logged_here();
  };
  std::string lacking = reached(slot.replica) < lsn ? cluster_.world.name(server) : "";
  if (const CopySet* copies = slot.replica.copies()) {
    for (const CopySet::Copy& copy : copies->copies()) {
      const SimServer* node = copy.grant.in_sync ? cluster_.ServerOf(copy.grant.node) : nullptr;
      const SimSlot* held =
          node == nullptr || node->core() == nullptr ? nullptr : node->core()->GetSlot(request.shard);
      const bool damaged = damaged_lives_.contains({copy.grant.node, copy.grant.incarnation});
      const bool cut = cut_lives_.contains({copy.grant.node, copy.grant.incarnation});
      if (held == nullptr || held->replica.incarnation() != copy.grant.incarnation ||
          held->replica.granted() || damaged || (cut && level != Durability::kSynced))
        continue;
      if (held->replica.seen() > slot.shard->epoch()) continue;
      if (!HasApplied(*held, request)) lacking = copy.grant.name + ", which has not applied it,";
      if (reached(held->replica) < lsn)
        lacking =
            StrCat(copy.grant.name, ", which has logged ", held->replica.logged_here(), " and synced ",
                   held->replica.synced_here(), " (confirmed: ", copy.logged, " and ", copy.synced, "),");
    }
  }
  if (lacking.empty()) return;
  cluster_.world.Fail(
      "nothing_is_answered_before_its_level",
      StrCat("unit ", request.number, " of shard ", request.shard, " at lsn ", lsn,
             level == Durability::kSynced ? ", synced: " : ", logged: ", lacking, " does not have it yet"));
}

void Truth::OnWritten(const LogSection& section, SimSlot& slot) {
  if (slot.unwritten.empty()) return;
  capnp::FlatArrayMessageReader message(section.delta.ptr(), {.traversalLimitInWords = UINT64_MAX});
  for (const auto entry : message.getRoot<proto::Delta>().getTables()) {
    const auto data = entry.getKeys();
    const std::span keys(reinterpret_cast<const Key*>(data.begin()), data.size() / sizeof(Key));
    std::erase_if(slot.unwritten, [&](const auto& unit) {
      return unit.second.table == entry.getTable() && std::ranges::find(keys, unit.second.key) != keys.end();
    });
  }
}

// Jobs count what they have done by it.
void Truth::OnSaidLogged(Endpoint server, const SimSlot& slot) {
  for (const auto& [number, unit] : slot.unwritten) {
    if (unit.lsn > slot.Logged()) continue;
    cluster_.world.Fail("what_counts_as_logged_is_written",
                        StrCat("unit ", number, " of shard ", slot.id(), ", table ", unit.table, ": ",
                               cluster_.world.name(server), " told it lsn ", unit.lsn, " and says that ",
                               slot.Logged(), " is logged, its log does not have it"));
  }
}

void Truth::OnConfirmed(NodeId node, ShardId shard, Incarnation incarnation, Lsn lsn, Durability level) {
  const SimServer& server = *cluster_.ServerOf(node);
  const SimSlot* slot = server.core() == nullptr ? nullptr : server.core()->GetSlot(shard);
  if (slot == nullptr || slot->replica.incarnation() != incarnation) return;
  const Lsn held = level == Durability::kSynced ? slot->replica.synced_here() : slot->replica.logged_here();
  if (held >= lsn) return;
  cluster_.world.Fail(
      "copies_confirm_what_they_have",
      StrCat("shard ", shard, ": ", cluster_.world.name(server.self()), " has confirmed lsn ", lsn,
             level == Durability::kSynced ? " as synced" : " as logged", ", but has ", held));
}

void Truth::OnServes(ShardId shard, Epoch epoch, Endpoint server, bool promoted) {
  auto& served = served_[shard];
  const ServedBy by{server, cluster_.world.life(server)};
  primaries_changed_ |= !served.empty() && !(served.rbegin()->second == by);
  served[epoch] = by;
  if (lossy_again_.contains(shard)) unsaid_.insert(shard);
  const ShardRecord& record = cluster_.scheduler.data().shards[shard];
  cut_lives_.erase({record.node, record.incarnation});
  damaged_lives_.erase({record.node, record.incarnation});
  if (record.epoch == epoch)
    SetCourse(shard, promoted ? Step::kPromoted : Step::kGrantDelivered, record.node);
}

// --- What the scheduler decides.

void Truth::SetCourse(ShardId shard, Step step, NodeId node) {
  courses_[shard] = {step, node};
  cluster_.world.steps().Reach(step);
  cluster_.OnReached(step, node);
}

void Truth::OnGranted(ShardId shard, NodeId node, const StateData& before) {
  const bool promoted = before.shards[shard].node != 0 && before.shards[shard].node != node;
  promotions_ += promoted;
  SetCourse(shard, promoted ? Step::kPromoted : Step::kEpochCommitted, node);
}

void Truth::OnRefused(NodeId node) { refused_ms_[node] = cluster_.world.now_ms(); }

void Truth::OnCommand(const Command& command, const StateData& before) {
  if (const auto* change = std::get_if<ChangeCopies>(&command)) {
    for (const auto& c : change->changes) {
      const ShardRecord& shard = before.shards[c.shard];
      // Else the one that was fenced is lost, as any primary may be.
      const auto refused = refused_ms_.find(shard.node);
      const bool lost = refused != refused_ms_.end() && cluster_.world.now_ms() < refused->second + 3000;
      const bool there = !lost && shard.move.fence != 0 && cluster_.IsHeard(*cluster_.ServerOf(shard.node)) &&
                         before.nodes.at(shard.node).session == shard.granted_session;
      if (there && shard.move.to == c.node) {
        OnHandedOver(c, before);
      } else {
        OnGranted(c.shard, c.node, before);
      }
    }
  } else if (const auto* fences = std::get_if<FenceShards>(&command)) {
    for (const auto& f : fences->fences) SetCourse(f.shard, Step::kFenced, before.shards[f.shard].node);
  } else if (const auto* place = std::get_if<PlaceShards>(&command)) {
    for (const auto& p : place->placements) OnGranted(p.shard, p.node, before);
  } else if (const auto* grants = std::get_if<GrantShards>(&command)) {
    for (const auto& g : grants->grants) OnGranted(g.shard, before.shards[g.shard].node, before);
  } else if (const auto* node = std::get_if<RegisterNode>(&command)) {
    for (const auto& g : node->grants) OnGranted(g.shard, node->node.id, before);
    for (const auto& q : node->quarantines) OnQuarantine(q);
  } else if (const auto* confirm = std::get_if<ConfirmEpochs>(&command)) {
    for (const auto& c : confirm->confirmations)
      SetCourse(c.shard, Step::kEpochConfirmed, before.shards[c.shard].node);
  } else if (const auto* quarantine = std::get_if<QuarantineShards>(&command)) {
    for (const auto& q : quarantine->quarantines) OnQuarantine(q);
  } else if (const auto* accept = std::get_if<AcceptLoss>(&command)) {
    ++accepted_;
    // All of the present pass is done again, and what this shard had lost of it does not matter, but for what
    // it (or another one) lost unsaid and served on: its marks may hold that to be done.
    if (before.jobs.contains(1) && !IsOver(before.jobs.at(1).state) && !unsaid_.contains(accept->shard)) {
      lossy_again_.erase(accept->shard);
      damaged_again_.erase(accept->shard);
    }
    for (UnitRecord& unit : units_) unit.may_be_lost |= unit.shard == accept->shard && unit.lsn > 0;
  }
}

// What the old primary took, in the life that was fenced, is all in deltas that the new one has.
void Truth::OnHandedOver(const ChangeCopies::Change& change, const StateData& before) {
  const ShardRecord& record = before.shards[change.shard];
  SetCourse(change.shard, Step::kHandedOver, change.node);
  const auto slot_of = [&](NodeId node) -> const SimSlot* {
    const SimServer* server = cluster_.ServerOf(node);
    return server->core() == nullptr ? nullptr : server->core()->GetSlot(change.shard);
  };
  const SimSlot* from = slot_of(record.node);
  const SimSlot* to = slot_of(change.node);
  if (from == nullptr || to == nullptr || !from->replica.granted() ||
      from->replica.incarnation() != record.incarnation || from->replica.fence() != record.move.fence)
    return;  // it is lost, or has not heard of the fence: then the target leads as any copy may
  for (const auto& [number, lsn] : from->applied) {
    if (lsn <= to->shard->last_lsn()) continue;
    cluster_.world.Fail("what_is_handed_over_is_whole",
                        StrCat("unit ", number, " of shard ", change.shard, " was applied with lsn ", lsn,
                               ", node ", change.node, " takes over with ", to->shard->last_lsn(),
                               " of life ", to->incarnation(), " for ", change.incarnation));
  }
}

void Truth::OnQuarantine(const ShardQuarantine& quarantine) {
  cluster_.world.Note(cluster_.scheduler.self(), "shard ", quarantine.shard,
                      " is quarantined: ", quarantine.reason);
  if (lossy_.contains(quarantine.shard) || may_be_quarantined_.contains(quarantine.shard)) return;
  cluster_.world.Fail("no_quarantine_without_a_loss",
                      StrCat("shard ", quarantine.shard, ": ", quarantine.reason));
}

void Truth::InterruptCourses(NodeId node) {
  for (const auto& [shard, course] : courses_) {
    if (course.step != Step::kNone && (node == 0 || course.node == node))
      cluster_.world.steps().Interrupt(course.step);
  }
}

// --- What faults take.

// It has what was answered in all epochs, or (a former member) up to the last one that was confirmed.
bool Truth::Holds(const SimServer& server, ShardId shard, const ShardRecord& record, bool former) const {
  Incarnation incarnation = !former && record.node == server.node() ? record.incarnation : 0;
  for (const CopyRecord& copy : former ? record.former : record.backups) {
    if (copy.node != server.node()) continue;
    if (former || IsSettled(record, copy)) incarnation = copy.incarnation;
  }
  if (incarnation == 0 || cut_lives_.contains({server.node(), incarnation})) return false;
  const SimSlot* slot = server.core() == nullptr ? nullptr : server.core()->GetSlot(shard);
  return slot == nullptr || slot->replica.damage().empty();
}

void Truth::OnPowerCut(SimServer& server) {
  const auto& shards = cluster_.scheduler.data().shards;
  for (ShardId id = 0; id < shards.size(); ++id) {
    const ShardRecord& record = shards[id];
    if (!MayBeNeeded(record, server.node())) continue;
    for (const Incarnation life : LivesOf(record, server.node())) cut_lives_.insert({server.node(), life});
  }
  LoseWhatNobodyHolds(server, Weakness::kCut);
}

// kDamaged: bytes at the end of a log are damaged, which then looks like a write that was cut short
// (docs/guarantees.md).
void Truth::LoseWhatNobodyHolds(const SimServer& weakened, Weakness weakness) {
  const auto& shards = cluster_.scheduler.data().shards;
  const auto& servers = cluster_.servers();
  for (ShardId id = 0; id < shards.size(); ++id) {
    if (!MayBeNeeded(shards[id], weakened.node())) continue;
    const auto any = [&](bool former, bool heard) {
      return std::ranges::any_of(servers, [&](const auto& other) {
        return Holds(*other, id, shards[id], former) && (!heard || cluster_.IsHeard(*other));
      });
    };
    if (!any(false, false)) LoseUnreported(id, shards[id], weakness == Weakness::kDamaged, any(true, false));
    // Those who were left out go on only if somebody shows that nothing was answered without them.
    const bool witnessed = weakness == Weakness::kCut && any(true, true);
    if (!any(false, true) && !witnessed) may_be_quarantined_.insert(id);
  }
}

// What was reported must be missed, so it is strict until the operator has accepted its loss. `former`: one
// of those has all that was answered up to the last confirmed epoch.
void Truth::LoseUnreported(ShardId shard, const ShardRecord& record, bool synced_too, bool former) {
  const Epoch kept = former ? record.confirmed : 0;
  for (UnitRecord& unit : units_) {
    const bool reported = unit.lsn <= std::max(record.logged, record.synced);
    if (unit.shard != shard || reported || (former && unit.epoch <= kept)) continue;
    unit.may_be_lost |= synced_too || unit.level != Durability::kSynced;
  }
  if (former && (served_[shard].empty() || served_[shard].rbegin()->first <= kept)) return;
  lossy_.insert(shard);
  lossy_again_.insert(shard);
  if (synced_too) damaged_.insert(shard), damaged_again_.insert(shard);
}

void Truth::OnDamage(SimServer& server) {
  const auto& shards = cluster_.scheduler.data().shards;
  for (ShardId id = 0; id < shards.size(); ++id) {
    if (!MayBeNeeded(shards[id], server.node())) continue;
    lossy_.insert(id);
    lossy_again_.insert(id);
    for (const Incarnation life : LivesOf(shards[id], server.node())) {
      cut_lives_.insert({server.node(), life});
      damaged_lives_.insert({server.node(), life});
    }
  }
  LoseWhatNobodyHolds(server, Weakness::kDamaged);
}

// `memory` promises nothing across a change of the process that serves.
bool Truth::MemoryLost(const UnitRecord& unit) const {
  if (unit.level != Durability::kMemory) return false;
  const auto served = served_.find(unit.shard);
  if (served == served_.end()) return true;
  const auto by = served->second.find(unit.epoch);
  return by == served->second.end() ||
         std::any_of(by, served->second.end(), [&](const auto& later) { return later.second != by->second; });
}

// --- At the end.

void Truth::CheckEnd() {
  const auto& shards = cluster_.scheduler.data().shards;
  for (ShardId id = 0; id < shards.size(); ++id) {
    const SimSlot* slot = cluster_.ServerOf(shards[id].node)->core()->GetSlot(id);
    Rows rows;
    for (const TableId table : slot->shard->TableIds()) {
      (void)slot->shard->ForEachRow(
          table, [&](const RowHeader& header, std::span<const float> values, std::span<const float>) {
            rows[{table, header.key}] = values[0];
          });
    }
    CheckUnits(id, rows);
    CheckSums(id, rows);
    CheckJob(id, rows);
    CheckCopies(id);
  }
}

void Truth::CheckUnits(ShardId shard, const Rows& rows) {
  for (size_t i = 0; i < units_.size(); ++i) {
    const UnitRecord& unit = units_[i];
    if (unit.shard != shard) continue;
    const auto row = rows.find({unit.table, unit.keys.front()});
    const float count = row == rows.end() ? 0 : row->second;
    const std::string what = StrCat("unit ", i + 1, " of shard ", shard, ", table ", unit.table, ", lsn ",
                                    unit.lsn, " of epoch ", unit.epoch, ", was applied ", count, " times");
    if (count > 1) cluster_.world.Fail("nothing_is_applied_twice", what);
    if (unit.of_job) continue;
    const bool may_lack = unit.may_be_lost || MemoryLost(unit);
    if (unit.outcome == UnitOutcome::kAcknowledged && count < 1 && !may_lack) {
      cluster_.world.Fail(unit.level == Durability::kSynced ? "nothing_synced_is_lost_unsaid"
                                                            : "nothing_acknowledged_is_lost",
                          what);
    }
    if (unit.outcome == UnitOutcome::kRefused && count > 0)
      cluster_.world.Fail("nothing_refused_is_applied", what);
    if (unit.outcome == UnitOutcome::kOpen)
      cluster_.world.Fail("no_wait_beyond_its_deadline", what + " and is still open");
  }
}

// Rows that many units share have what those that were applied have added.
void Truth::CheckSums(ShardId shard, const Rows& rows) {
  Rows wanted;
  for (const UnitRecord& unit : units_) {
    if (unit.shard != shard) continue;
    const auto proof = rows.find({unit.table, unit.keys.front()});
    if (proof == rows.end() || proof->second < 1) continue;
    for (size_t k = 1; k < unit.keys.size(); ++k) wanted[{unit.table, unit.keys[k]}] += unit.values[k];
  }
  for (const auto& [place, value] : wanted) {
    const auto row = rows.find(place);
    if (row != rows.end() && row->second == value) continue;
    cluster_.world.Fail("sum_of_applied_is_sum_of_units",
                        StrCat("shard ", shard, ", table ", place.first, ", row ", place.second, " is ",
                               row == rows.end() ? 0 : row->second, ", its units add up to ", value));
  }
}

void Truth::CheckJob(ShardId shard, const Rows& rows) {
  for (const auto& [place, wanted] : job_rows_) {
    const auto& [pass, synced] = wanted;
    const auto& [table, of, key] = place;
    if (of != shard) continue;
    const auto row = rows.find({table, key});
    const float count = row == rows.end() ? 0 : row->second;
    // A loss that was accepted rewinds the present pass only.
    const bool before = pass + 1 < cluster_.options().passes;  // passes count from 0
    const bool damaged = (before ? damaged_ : damaged_again_).contains(shard);
    const bool lossy = (before ? lossy_ : lossy_again_).contains(shard);
    const bool may_lack = (before && accepted_ > 0) || damaged || (lossy && !synced);
    if (count == 1 || (count == 0 && may_lack)) continue;
    cluster_.world.Fail(
        "what_is_recorded_is_there_once",
        StrCat("shard ", shard, ", table ", table, ", pass ", pass, ", row ", key, " is ", count));
  }
}

void Truth::CheckCopies(ShardId shard) {
  const ShardRecord& record = cluster_.scheduler.data().shards[shard];
  const SimSlot* primary = cluster_.ServerOf(record.node)->core()->GetSlot(shard);
  for (const CopyRecord& copy : record.backups) {
    const SimSlot* backup = cluster_.ServerOf(copy.node)->core()->GetSlot(shard);
    if (backup != nullptr && backup->shard->last_lsn() == primary->shard->last_lsn() &&
        backup->shard->last_checksum() == primary->shard->last_checksum() &&
        backup->shard->Hash() == primary->shard->Hash())
      continue;
    const auto holds = [](const SimSlot* slot) {
      if (slot == nullptr) return std::string("nothing");
      return StrCat("lsn ", slot->shard->last_lsn(), ", checksum ", slot->shard->last_checksum(), ", ",
                    slot->shard->Hash().rows, " rows");
    };
    cluster_.world.Fail("copies_are_equal", StrCat("shard ", shard, ": node ", copy.node, " holds ",
                                                   holds(backup), ", the primary ", holds(primary)));
  }
}

}  // namespace penstock::sim
