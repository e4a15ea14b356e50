// How a new copy is seeded: pieces one after another as they can be sent, then the last one.
#include "common/base/strings.h"
#include "server/replica/replication.h"

namespace penstock {

void Replication::BeginSeed(const CopyKey& key) {
  seeds_.erase(key);  // of an attachment before
  seeds_.try_emplace(key, ++last_seed_, shards_, key.shard, options_.seed);
  // Without rows, before any is looked at (CopySet::Attached).
  AddPiece(key, FindServed(shards_, key.shard)->shard().BuildPiece({.number = 1}), false);
}

// The connection to its copy had broken. The delta of everything may have been closed meanwhile.
void Replication::ResumeSeed(const CopyKey& key) {
  const auto found = seeds_.find(key);
  if (found != seeds_.end() && found->second.finishing) actions_.push_back(CloseWhole{key.shard});
}

void Replication::NoteSeeded(const CopyKey& key, const Copy& copy) {
  seeds_.erase(key);
  actions_.push_back(
      Say{false, StrCat("shard ", key.shard, ": the copy on ", copy.grant.name, " is seeded")});
}

bool Replication::AddPiece(const CopyKey& key, Result<BuiltDelta> built, bool last) {
  CopySet* set = FindSet(key.shard);
  Copy* copy = FindCopy(key);
  if (!built.ok()) {
    FailCopy(*set, *copy, built.status().message());
    return false;
  }
  if (options_.pace) options_.pace->Sent(options_.core, built->words.asBytes().size(), now_ms_);
  // With the last piece the seed is synced: what was answered as synced before is so on this copy too.
  set->AddPiece(
      *copy, {.lsn = built->lsn, .checksum = built->checksum, .words = std::move(built->words), .sync = last},
      last);
  MakeReady(key, *copy);
  return true;
}

void Replication::AdvanceSeeds() {
  std::vector<CopyKey> keys;
  for (const auto& [key, seeding] : seeds_) keys.push_back(key);
  for (const CopyKey& key : keys) AdvanceSeed(key);
}

void Replication::AdvanceSeed(const CopyKey& key) {
  const auto found = seeds_.find(key);
  const Copy* copy = FindCopy(key);
  if (copy == nullptr || !copy->BeingSeeded()) {
    seeds_.erase(found);
    return;
  }
  Seeding& seeding = found->second;
  if (copy->stage != CopySet::Stage::kSeeding || seeding.filling || seeding.finishing || seeding.finished ||
      copy->HasUnsentPieces() || copy->full_since_ms != 0 ||
      LinkTo(copy->grant.endpoint).inflight_bytes >= options_.seed_in_flight_bytes)
    return;
  // Asked last: whoever asks waits for its turn.
  if (options_.pace && !options_.pace->May(options_.core, now_ms_)) return;
  seeding.filling = true;
  actions_.push_back(MakePiece{{key, seeding.number}, copy->pieces == 1});
}

// One whose copy is still being seeded; else end(), and it is over.
Replication::Seeds::iterator Replication::FindSeeding(const SeedRef& ref) {
  const auto found = seeds_.find(ref.key);
  if (found == seeds_.end() || found->second.number != ref.number) return seeds_.end();
  const Copy* copy = FindCopy(ref.key);
  if (copy != nullptr && copy->BeingSeeded()) return found;
  seeds_.erase(found);
  return seeds_.end();
}

void Replication::FillPiece(const SeedRef& ref) {
  const auto found = FindSeeding(ref);
  if (found == seeds_.end()) return;
  Seeding& seeding = found->second;
  seeding.piece = SeedPiece{.number = FindCopy(ref.key)->pieces + 1};
  TakeFilled(found, seeding.seed.Fill(&seeding.piece));
}

void Replication::OnBaseRead(const SeedRef& ref, Result<StoredRows> rows) {
  const auto found = FindSeeding(ref);
  if (found == seeds_.end()) return;
  Seeding& seeding = found->second;
  TakeFilled(found, seeding.seed.TakeBase(std::move(rows), &seeding.piece));
}

void Replication::TakeFilled(Seeds::iterator at, const Result<Seed::Step>& step) {
  const CopyKey key = at->first;
  Seeding& seeding = at->second;
  if (step.ok() && *step == Seed::Step::kNeedsBase) {
    actions_.push_back(ReadBase{{key, seeding.number}, seeding.seed.ReadBase()});
    return;
  }
  seeding.filling = false;
  if (!step.ok()) return FailCopy(*FindSet(key.shard), *FindCopy(key), step.status().message());
  if (*step == Seed::Step::kDone) {
    seeding.finishing = true;
    actions_.push_back(CloseWhole{key.shard});
    return;
  }
  if (!AddPiece(key, FindServed(shards_, key.shard)->shard().BuildPiece(seeding.piece), false)) return;
  Pump(LinkTo(FindCopy(key)->grant.endpoint));
  AdvanceSeed(key);
}

// The window that has just closed took everything of the shards that are to be finished.
void Replication::FinishSeeds() {
  for (auto& [key, seeding] : seeds_) {
    if (!seeding.finishing) continue;
    const Copy* copy = FindCopy(key);
    if (copy == nullptr || copy->stage != CopySet::Stage::kSeeding || copy->HasUnsentPieces()) continue;
    const Shard& shard = FindServed(shards_, key.shard)->shard();
    if (shard.HasUnlogged()) continue;
    if (!AddPiece(key, shard.BuildLastPiece(copy->pieces + 1), true)) continue;
    seeding.finishing = false;
    seeding.finished = true;
  }
}

}  // namespace penstock
