#include "server/replica/copy_set.h"

#include <algorithm>

#include "common/base/strings.h"

namespace penstock {
namespace {

// A copy that has confirmed nothing for so long holds up no new pushes: they are refused.
constexpr uint64_t kSilentMs = 3000;
// And one that goes over its bounds for so long: it would have to go over them without end.
constexpr uint64_t kFullMs = 10000;
constexpr uint64_t kAskMs = 200;  // between questions
constexpr uint32_t kRetryMs = 200;
// "The latest few deltas": what is sent within a moment.
constexpr uint64_t kCaughtUpBytes = 8 << 20;

bool Silent(const CopySet::Copy& copy, uint64_t now_ms) {
  return copy.waits_since_ms != 0 && now_ms > copy.waits_since_ms + kSilentMs;
}

bool Full(const CopySet::Copy& copy, uint64_t now_ms) {
  return copy.full_since_ms != 0 && now_ms >= copy.full_since_ms + kFullMs;
}

bool PushesGoOnWith(const CopySet::Copy& copy, uint64_t now_ms) {
  return copy.stage != CopySet::Stage::kFailed && !Silent(copy, now_ms) && !Full(copy, now_ms);
}

std::string WhyNotWith(const CopySet::Copy& copy, uint64_t now_ms) {
  if (copy.stage == CopySet::Stage::kFailed) return "has failed: " + copy.failure;
  if (Silent(copy, now_ms)) return StrCat("has confirmed nothing for ", kSilentMs, " ms");
  return StrCat("has had no room in its memory or log for ", kFullMs, " ms");
}

void EndSeed(CopySet::Copy* copy) {
  copy->pieces = copy->sent_pieces = 0;
  copy->owed_pieces.clear();
}

std::string NameOf(const CopySet::Copy& copy) {
  return StrCat(copy.grant.name, " (node ", copy.grant.node, ")");
}

}  // namespace

CopySet::Copy* CopySet::Find(NodeId node, Incarnation incarnation) {
  const auto found = std::find_if(copies_.begin(), copies_.end(), [&](const Copy& copy) {
    return copy.grant.node == node && copy.grant.incarnation == incarnation;
  });
  return found == copies_.end() ? nullptr : &*found;
}

void CopySet::Want(Epoch epoch, uint32_t min_copies, const std::vector<BackupGrant>& backups,
                   uint64_t now_ms) {
  epoch_ = epoch;
  min_copies_ = min_copies;
  std::vector<Copy> wanted;
  for (const BackupGrant& grant : backups) {
    Copy* known = Find(grant.node, grant.incarnation);
    Copy copy = known == nullptr ? Copy{} : std::move(*known);
    // It listens elsewhere now: another process.
    if (copy.grant.endpoint != grant.endpoint && copy.stage != Stage::kFailed && !copy.grant.endpoint.empty())
      Detached(copy);
    copy.grant = grant;
    wanted.push_back(std::move(copy));
  }
  copies_ = std::move(wanted);
  for (Copy& copy : copies_) NoteWaiting(copy, now_ms);
}

void CopySet::Add(TailDelta delta, uint64_t now_ms) {
  tail_.Add(std::move(delta));
  for (Copy& copy : copies_) NoteWaiting(copy, now_ms);
}

void CopySet::NoteWaiting(Copy& copy, uint64_t now_ms) {
  const bool waits = copy.logged < tail_.End().lsn;
  if (!waits) copy.waits_since_ms = 0;
  if (waits && copy.waits_since_ms == 0) copy.waits_since_ms = std::max<uint64_t>(now_ms, 1);
}

void CopySet::NoteRoom(Copy& copy, bool no_room, uint64_t now_ms) {
  if (!no_room) copy.full_since_ms = 0;
  if (no_room && copy.full_since_ms == 0) copy.full_since_ms = copy.asked_ms = std::max<uint64_t>(now_ms, 1);
}

bool CopySet::OwesQuestion(uint64_t now_ms) {
  bool owes = false;
  for (Copy& copy : copies_) {
    const bool attached = copy.stage == Stage::kSeeding || copy.stage == Stage::kFollowing;
    const bool unsure = copy.full_since_ms != 0 || copy.logged < copy.held;
    if (!attached || !unsure || now_ms < copy.asked_ms + kAskMs) continue;
    copy.asked_ms = now_ms;
    owes = true;
  }
  return owes;
}

bool CopySet::Attached(Copy& copy, const ReplicaStanding& standing, uint64_t now_ms) {
  NoteRoom(copy, standing.no_room, now_ms);
  if (GoOnWithSeed(copy, standing)) return false;
  EndSeed(&copy);
  if (standing.complete && tail_.Holds(standing.point)) {
    copy.stage = Stage::kFollowing;
    copy.sent = copy.held = standing.point.lsn;
    copy.logged = copy.synced = 0;
    Confirmed(copy, std::min(standing.logged, standing.point.lsn), false, now_ms);
    copy.synced = std::min(standing.synced, copy.logged);
    return false;
  }
  const bool empty = !standing.complete && standing.pieces == 0 && standing.point == ReplicaPoint{};
  if (!empty) {
    Fail(copy,
         StrCat("it holds ", standing.complete
                                 ? StrCat("delta ", standing.point.lsn, ", which is not among the latest")
                                 : StrCat(standing.pieces, " pieces of a seed that nobody goes on with")));
    return false;
  }
  if (copy.grant.in_sync) {
    Fail(copy, "it holds nothing, though it counts as in sync");
    return false;
  }
  copy.stage = Stage::kSeeding;
  copy.sent = copy.logged = copy.held = tail_.End().lsn;
  copy.synced = 0;
  return true;
}

// Pieces and deltas came in one order, so that it is known what comes behind what the copy holds.
bool CopySet::GoOnWithSeed(Copy& copy, const ReplicaStanding& standing) {
  if (!copy.BeingSeeded() || standing.complete) return false;
  const auto next = std::find_if(copy.owed_pieces.begin(), copy.owed_pieces.end(),
                                 [&](const Outgoing& piece) { return piece.piece > standing.pieces; });
  const uint64_t held = next == copy.owed_pieces.end() ? copy.pieces : next->piece - 1;
  if (held != standing.pieces) return false;
  if (held != 0 && !tail_.Holds(standing.point)) return false;
  copy.sent = copy.held = held == 0 ? next->delta.lsn : standing.point.lsn;
  copy.owed_pieces.erase(copy.owed_pieces.begin(), next);
  copy.stage = Stage::kSeeding;
  return true;
}

std::optional<CopySet::Outgoing> CopySet::Next(Copy& copy) {
  if (copy.stage != Stage::kFollowing && copy.stage != Stage::kSeeding) return std::nullopt;
  const TailDelta* delta = tail_.After(copy.sent);
  if (copy.HasUnsentPieces()) {
    const Outgoing& piece = copy.owed_pieces[copy.sent_pieces];
    if (delta == nullptr || delta->lsn > piece.delta.lsn) {
      ++copy.sent_pieces;
      return piece;
    }
  }
  if (delta == nullptr) return std::nullopt;
  copy.sent = delta->lsn;
  return Outgoing{.delta = *delta};
}

void CopySet::AddPiece(Copy& copy, TailDelta piece, bool last) {
  copy.owed_pieces.push_back({.delta = std::move(piece), .piece = ++copy.pieces, .last = last});
}

void CopySet::PieceConfirmed(Copy& copy, const Outgoing& piece) {
  while (!copy.owed_pieces.empty() && copy.owed_pieces.front().piece <= piece.piece) {
    copy.seeded_bytes += copy.owed_pieces.front().delta.words.bytes();
    copy.owed_pieces.pop_front();
    --copy.sent_pieces;
  }
  if (!piece.last) return;
  EndSeed(&copy);
  copy.stage = Stage::kFollowing;
}

void CopySet::Confirmed(Copy& copy, Lsn lsn, bool synced, uint64_t now_ms) {
  if (lsn > copy.logged) {
    copy.logged = lsn;
    copy.waits_since_ms = 0;  // it answers: what it still owes counts from now
  }
  if (synced) copy.synced = std::max(copy.synced, lsn);
  Trim();
  NoteWaiting(copy, now_ms);
}

void CopySet::Detached(Copy& copy) {
  if (copy.stage == Stage::kFailed) return;
  copy.attachment = 0;
  copy.sent_pieces = 0;
  copy.stage = Stage::kDetached;
  copy.sent = copy.logged;
}

void CopySet::Fail(Copy& copy, const std::string& why) {
  if (copy.stage == Stage::kFailed) return;
  copy.stage = Stage::kFailed;
  copy.failure = why;
  EndSeed(&copy);
}

Lsn CopySet::Logged(Lsn own) const {
  for (const Copy& copy : copies_) {
    if (copy.grant.in_sync) own = std::min(own, copy.logged);
  }
  return own;
}

Lsn CopySet::Synced(Lsn own) const {
  for (const Copy& copy : copies_) {
    if (copy.grant.in_sync) own = std::min(own, copy.synced);
  }
  return own;
}

Status CopySet::Writable(uint64_t now_ms) const {
  const auto in_sync =
      1 + std::count_if(copies_.begin(), copies_.end(), [](const Copy& copy) { return copy.grant.in_sync; });
  if (static_cast<uint32_t>(in_sync) < min_copies_) {
    return Status(Code::kNotEnoughCopies,
                  StrCat("shard ", shard_, " has ", in_sync, " of the ", min_copies_,
                         " copies in sync that pushes need (scheduler.min_copies)"),
                  kRetryMs);
  }
  for (const Copy& copy : copies_) {
    if (!copy.grant.in_sync) continue;
    if (PushesGoOnWith(copy, now_ms)) continue;
    return Status(
        Code::kNotEnoughCopies,
        StrCat("shard ", shard_, ": its copy on ", NameOf(copy), " ", WhyNotWith(copy, now_ms),
               "; pushes wait until that has passed or the scheduler takes it out of the set, which "
               "it does where scheduler.min_copies are left without it"),
        kRetryMs);
  }
  return Status::Ok();
}

std::string CopySet::WhyNotStay(const Copy& copy, uint64_t now_ms) const {
  if (copy.stage == Stage::kFailed) return copy.failure;
  if (!copy.grant.in_sync || PushesGoOnWith(copy, now_ms)) return "";
  const auto left = 1 + std::count_if(copies_.begin(), copies_.end(), [&](const Copy& other) {
                      return other.grant.in_sync && PushesGoOnWith(other, now_ms);
                    });
  return static_cast<uint32_t>(left) < min_copies_ ? ""
                                                   : "as its primary says, it " + WhyNotWith(copy, now_ms);
}

std::string CopySet::Missing(Lsn lsn) const {
  std::string names;
  for (const Copy& copy : copies_) {
    if (!copy.grant.in_sync || copy.logged >= lsn) continue;
    names += (names.empty() ? "" : ", ") + NameOf(copy);
  }
  return names;
}

uint64_t CopySet::LatestFew() const { return std::max(kCaughtUpBytes, tail_.LatestBytes()); }

bool CopySet::CaughtUp(const Copy& copy) const {
  return copy.stage == Stage::kFollowing && (copy.grant.in_sync || BehindBytes(copy) <= LatestFew());
}

PushDelay::Change CopySet::UpdateDelay(uint64_t most_behind_bytes, uint64_t now_ms) {
  const bool behind = std::any_of(copies_.begin(), copies_.end(), [&](const Copy& copy) {
    const bool takes = copy.stage == Stage::kSeeding || copy.stage == Stage::kFollowing;
    // What is seeded has only to catch up.
    const bool enters = copy.stage == Stage::kFollowing && !copy.grant.in_sync;
    const uint64_t most = enters ? std::min(most_behind_bytes, LatestFew()) : most_behind_bytes;
    return takes && !Silent(copy, now_ms) && BehindBytes(copy) > most;
  });
  return delay_.Update(behind, now_ms);
}

void CopySet::Trim() {
  Lsn confirmed = tail_.End().lsn;
  for (const Copy& copy : copies_) {
    // One that was never attached begins with a seed. One that was goes on from where it stands: it may have
    // heard of the epoch in which it is in sync before this primary did.
    const bool fresh =
        copy.stage == Stage::kDetached && !copy.grant.in_sync && copy.logged == 0 && !copy.BeingSeeded();
    if (copy.stage == Stage::kFailed || fresh) continue;
    confirmed = std::min(confirmed, copy.logged);
  }
  tail_.Trim(confirmed, 0);
}

CopySet::Copy* CopySet::Slowest() {
  Copy* slowest = nullptr;
  for (Copy& copy : copies_) {
    if (copy.stage == Stage::kFailed) continue;
    if (slowest == nullptr || copy.logged < slowest->logged) slowest = &copy;
  }
  return slowest;
}

}  // namespace penstock
