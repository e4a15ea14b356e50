// A simulated server's restart and fold, which shards it serves and follows, and what it does as a backup.
#include <algorithm>

#include "server/storage/replay.h"
#include "tests/sim/sim_cluster.h"
#include "tests/sim/sim_core.h"
#include "tests/sim/sim_replicator.h"

namespace penstock::sim {
namespace {

constexpr char kLogDir[] = "/node/log";
constexpr uint64_t kSegmentBytes = 24 << 10;

}  // namespace

// --- A restart.

Status SimCore::LoadBase(std::map<ShardId, ShardFolded>* folded, std::vector<StoredMeta>* metas) {
  PENSTOCK_ASSIGN_OR_RETURN(
      base_, BaseStore::Open("/node/base",
                             {.cluster = kSimCluster, .block_cache_bytes = 1 << 20, .env = disk_.env()}));
  PENSTOCK_ASSIGN_OR_RETURN(*metas, base_->LoadMeta());
  for (const StoredMeta& stored : *metas) {
    const auto meta = stored.reader();
    auto& shard = opened_[meta.getShard()];
    shard = std::make_unique<Shard>(
        ShardOptions{.cluster = kSimCluster, .shard = meta.getShard(), .incarnation = meta.getIncarnation()});
    PENSTOCK_RETURN_IF_ERROR(shard->LoadMeta(meta));
    (*folded)[meta.getShard()] = FoldedOf(meta);
  }
  return Status::Ok();
}

Status SimCore::ReplayLog(const std::map<ShardId, ShardFolded>& folded) {
  const auto apply = [&](ShardId id, Incarnation incarnation, const proto::Delta::Reader& delta,
                         uint32_t checksum) {
    auto& shard = opened_[id];
    if (shard == nullptr || shard->incarnation() < incarnation) {
      shard = std::make_unique<Shard>(
          ShardOptions{.cluster = kSimCluster, .shard = id, .incarnation = incarnation});
    }
    return shard->ApplyDelta(delta, checksum);
  };
  PENSTOCK_ASSIGN_OR_RETURN(const ReplayReport report,
                            Replay(disk_.files(), kLogDir, kSimCluster, folded, apply));
  for (const auto& [shard, reason] : report.damaged) {
    world_.Note(self_, "shard ", shard, " is damaged: ", reason);
    const auto replayed = report.shards.find(shard);
    damaged_lives_[shard] = replayed == report.shards.end() ? 0 : replayed->second.incarnation;
  }
  PENSTOCK_ASSIGN_OR_RETURN(
      log_,
      DeltaLog::Open(disk_.files(), kLogDir,
                     {.cluster = kSimCluster, .node = disk_.node_file().node, .segment_bytes = kSegmentBytes},
                     report.tail));
  for (auto& [id, shard] : opened_) {
    // As Server::ReplayDelta forgets what the base has of an earlier life.
    const auto of = folded.find(id);
    const bool in_base = of != folded.end() && of->second.incarnation == shard->incarnation();
    if (shard->pieces() > 0) continue;  // a seed that had not ended
    auto slot = std::make_unique<SimSlot>(std::move(shard), name_);
    const Lsn kept = slot->shard->last_lsn();
    slot->replica.LoggedHere(kept);
    slot->replica.SyncedHere(kept);
    if (in_base) slot->folded = {of->second.incarnation, of->second.lsn, of->second.checksum};
    if (const auto damage = report.damaged.find(id); damage != report.damaged.end())
      slot->replica.SetDamage(damage->second);
    window_.Hold(*slot);
    slots_[id] = std::move(slot);
  }
  opened_.clear();
  return Status::Ok();
}

Status SimCore::Open() {
  std::map<ShardId, ShardFolded> folded;
  std::vector<StoredMeta> metas;
  if (disk_.env() != nullptr) PENSTOCK_RETURN_IF_ERROR(LoadBase(&folded, &metas));
  PENSTOCK_RETURN_IF_ERROR(ReplayLog(folded));
  for (const StoredMeta& stored : metas) {
    const auto meta = stored.reader();
    const SimSlot* slot = GetSlot(meta.getShard());
    if (slot == nullptr || slot->shard->incarnation() != meta.getIncarnation()) continue;
    PENSTOCK_RETURN_IF_ERROR(base_->ForEachRow(meta.getIncarnation(), [&](const BaseRow& row) {
      return slot->shard->LoadRow(row.table, row.key, row.lsn, {row.push_count, row.flags}, row.floats);
    }));
  }
  for (auto& [id, slot] : slots_) {
    for (const auto& [table, spec] : tables_) PENSTOCK_RETURN_IF_ERROR(slot->shard->CreateTable(spec));
    world_.Note(self_, "shard ", id, " is replayed up to lsn ", slot->shard->last_lsn());
  }
  return Status::Ok();
}

// --- The fold.

void SimCore::BeginFold() {
  if (base_ == nullptr || folding_ || !window_.failure().ok() || !log_->Seal().ok()) return;
  folding_ = true;
  world_.After(self_, world_.Between(500, 20000), Step::kFoldBegun, [this] { RunFold(); });
}

void SimCore::RunFold() {
  folding_ = false;
  if (!window_.failure().ok()) return;
  const auto report = Fold(disk_.files(), kLogDir, *log_, *base_, kSimCluster, damaged_lives_,
                           {.image_buffer_bytes = 4096, .discarded = discarded_});
  if (!report.ok()) return;
  world_.Note(self_, "folded ", report->rows, " rows");
  ++folds_;
  for (const auto& [id, folded] : report->folded) {
    SimSlot* slot = GetSlot(id);
    if (slot == nullptr || slot->shard->incarnation() != folded.incarnation) continue;
    slot->folded = {folded.incarnation, folded.lsn, folded.checksum};
    slot->shard->SetFolded(folded.lsn);
  }
}

// --- The wanted state.

void SimCore::SetTables(const std::map<TableId, TableSpec>& tables) {
  for (const auto& [id, spec] : tables) {
    if (!tables_.emplace(id, spec).second) continue;
    for (auto& [shard, slot] : slots_) {
      if (const Status made = slot->shard->CreateTable(spec); !made.ok())
        world_.Fail("tables_fit", made.ToString());
    }
  }
}

void SimCore::ApplyWanted(const WantedState& wanted, ProducerId forget_floor) {
  std::map<ShardId, bool> served;
  for (const NodeFollow& follow : wanted.follows) served[follow.shard] = false;
  for (const NodeGrant& grant : wanted.grants) served[grant.grant.shard] = true;
  for (auto& [id, slot] : slots_) {
    const auto want = served.find(id);
    if (slot->replica.granted() && (want == served.end() || !want->second)) {
      world_.Note(self_, "shard ", id, " is no longer granted");
      replicator_->Forget(id);
      slot->replica.Release();
    }
    if (slot->replica.following() && want == served.end()) slot->replica.Unfollow();
  }
  for (const NodeFollow& follow : wanted.follows)
    TakeFollow({.shard = follow.shard, .incarnation = follow.incarnation, .epoch = follow.epoch});
  for (const NodeGrant& grant : wanted.grants) {
    Grant read{.shard = grant.grant.shard,
               .incarnation = grant.incarnation,
               .epoch = grant.grant.epoch,
               .min_lsn = grant.grant.min_lsn,
               .min_copies = grant.min_copies,
               .rewind = grant.rewind,
               .backups = {},
               .fence = grant.fence};
    for (const GrantedBackup& backup : grant.backups)
      read.backups.push_back({backup.node, backup.name, backup.incarnation, backup.endpoint, backup.in_sync});
    TakeGrant(read);
  }
  for (const NodeFollow& life : wanted.discards) Discard({life.shard, life.incarnation});
  if (forget_floor == forget_floor_ && wanted.finished == finished_) return;
  forget_floor_ = forget_floor;
  finished_ = wanted.finished;
  for (auto& [id, slot] : slots_) {
    slot->shard->SetForgetFloor(forget_floor);
    for (const auto& [first, last] : finished_) slot->shard->FinishProducers(first, last);
  }
}

SimSlot& SimCore::MakeSlot(ShardId id, Incarnation incarnation) {
  auto shard =
      std::make_unique<Shard>(ShardOptions{.cluster = kSimCluster, .shard = id, .incarnation = incarnation});
  for (const auto& [table, spec] : tables_) {
    if (const Status made = shard->CreateTable(spec); !made.ok()) world_.Fail("tables_fit", made.ToString());
  }
  replicator_->Forget(id);
  if (SimSlot* earlier = GetSlot(id)) window_.Drop(*earlier);
  SimSlot& slot = *(slots_[id] = std::make_unique<SimSlot>(std::move(shard), name_));
  window_.Hold(slot);
  return slot;
}

void SimCore::TakeGrant(const Grant& grant) {
  SimSlot* slot = GetSlot(grant.shard);
  if (slot == nullptr || slot->shard->incarnation() != grant.incarnation)
    slot = &MakeSlot(grant.shard, grant.incarnation);
  const ShardReplica::Begun begun = slot->replica.TakeGrant(grant, world_.now_ms());
  if (!begun.refused.empty()) {
    world_.Note(self_, "shard ", grant.shard, ": refused epoch ", grant.epoch, ": ", begun.refused);
    return;
  }
  if (begun.epoch) {
    world_.Note(self_, "shard ", grant.shard, ": serves epoch ", grant.epoch, " at lsn ",
                slot->shard->last_lsn(), begun.promoted ? ", promoted" : "");
    cluster_.truth.OnServes(grant.shard, grant.epoch, self_, begun.promoted);
    slot->shard->SetForgetFloor(forget_floor_);
    if (!begun.accepted.empty()) window_.Touch(*slot);
    ScheduleClose(Step::kNone);
    for (const auto& [first, last] : finished_) slot->shard->FinishProducers(first, last);
  }
  replicator_->NoteWanted(grant.shard);
  if (begun.fenced) WriteLastDelta(*slot);
}

void SimCore::WriteLastDelta(SimSlot& slot) {
  world_.Note(self_, "shard ", slot.id(), " is fenced");
  if (Defended(Defence::kLastDelta)) {
    window_.TouchWhole(slot);
  } else {
    window_.Touch(slot);
  }
  Reached(Durability::kSynced, [this, delta = slot.replica.DeltaAt(slot.shard->NextLsn())] {
    replicator_->Wait({delta}, Durability::kSynced, [](const Status&) {});
  });
}

void SimCore::Discard(const Follow& life) {
  Incarnation& discarded = discarded_[life.shard];
  discarded = std::max(discarded, life.incarnation);
  SimSlot* slot = GetSlot(life.shard);
  if (slot == nullptr || slot->incarnation() != life.incarnation) return;
  if (slot->replica.granted() || slot->replica.following()) return;
  world_.Note(self_, "shard ", life.shard, " is discarded");
  replicator_->Forget(life.shard);
  window_.Drop(*slot);
  slots_.erase(life.shard);
}

void SimCore::TakeFollow(const Follow& follow) {
  SimSlot* slot = GetSlot(follow.shard);
  if (slot == nullptr || slot->shard->incarnation() != follow.incarnation) {
    if (slot != nullptr && slot->shard->incarnation() > follow.incarnation) return;
    slot = &MakeSlot(follow.shard, follow.incarnation);
  }
  slot->replica.TakeFollow(follow.epoch);
}

// --- A primary calls.

std::vector<ReplicaAnswer> SimCore::Attach(const std::vector<ReplicaRef>& refs) {
  std::vector<ReplicaAnswer> answers;
  for (const ReplicaRef& ref : refs) {
    SimSlot* slot = GetSlot(ref.shard);
    answers.push_back(slot == nullptr ? ReplicaAnswer{.status = Unavailable("not followed here yet")}
                                      : slot->replica.Standing(ref));
  }
  return answers;
}

void SimCore::Append(const ReplicaRequest& request, std::function<void(ReplicaAnswers)> reply) {
  ReplicaAnswers answers;
  std::vector<ReplicaRef> refs;
  bool taken = false;
  for (const ReplicaSection& section : request.sections) {
    refs.push_back(section.ref);
    SimSlot* slot = GetSlot(section.ref.shard);
    ReplicaAnswer answer{.status = Unavailable("not followed here yet")};
    if (slot != nullptr) answer.status = window_.failure();
    if (slot != nullptr && window_.failure().ok()) {
      answer = slot->replica.Take(section.ref, section.words, section.checksum,
                                  [](Shard&, proto::Delta::Reader) {});
    }
    if (answer.taken && answer.status.ok()) {
      window_.Take(*slot, {section.ref.shard, section.ref.incarnation, section.words, section.checksum});
      ScheduleClose(Step::kDeltaTaken);
    }
    taken |= answer.status.ok();
    answers.states.push_back(std::move(answer));
  }
  if (!taken) return reply(answers);
  Reached(request.sync ? Durability::kSynced : Durability::kLogged,
          [this, refs = std::move(refs), answers = std::move(answers), reply]() mutable {
            // A log that failed meanwhile has lost what was taken, though it can be written again by now.
            for (size_t i = 0; i < refs.size(); ++i) {
              if (answers.states[i].status.ok()) answers.states[i] = Attach({refs[i]}).front();
            }
            reply(answers);
          });
}

ShardReplica* SimCore::FindReplica(ShardId shard) const {
  SimSlot* slot = GetSlot(shard);
  return slot == nullptr ? nullptr : &slot->replica;
}

Result<StoredRows> SimCore::ScanBase(const Seed::BaseRange& range) const {
  return base_->Scan(range.incarnation, range.table, range.first, range.rows);
}

std::vector<ShardLine> SimCore::Report() const {
  std::vector<ShardLine> lines;
  for (const auto& [id, slot] : slots_) {
    const ShardReplica& replica = slot->replica;
    ShardLine line{.shard = id,
                   .incarnation = replica.incarnation(),
                   .epoch = replica.SettledEpoch(),
                   .applied = slot->shard->last_lsn(),
                   .logged = replica.Logged(),
                   .synced = replica.Synced(),
                   .damage = replica.damage(),
                   .seen = replica.seen(),
                   .complete = replica.complete(),
                   .backups = {},
                   .fenced = replica.fenced()};
    for (const BackupReport& backup : replica.Backups(world_.now_ms()))
      line.backups.push_back({backup.node, backup.incarnation, backup.caught_up, backup.failed});
    lines.push_back(std::move(line));
  }
  return lines;
}

}  // namespace penstock::sim
