#include "server/replica/shard_replica.h"

#include <capnp/serialize.h>

#include <algorithm>

#include "common/base/crc32c.h"
#include "common/base/mutant.h"
#include "common/base/strings.h"

namespace penstock {
namespace {

constexpr uint32_t kRetryFencedMs = 20;

capnp::ReaderOptions DeltaReaderOptions() {
  capnp::ReaderOptions options;
  options.traversalLimitInWords = UINT64_MAX;  // its checksum was right
  return options;
}

}  // namespace

ShardReplica::ShardReplica(std::unique_ptr<Shard> shard, std::string node)
    : shard_(std::move(shard)), node_(std::move(node)) {}

// --- The scheduler's word.

ShardReplica::Begun ShardReplica::TakeGrant(const Grant& grant, uint64_t now_ms) {
  Begun begun;
  const Epoch before = SettledEpoch();
  const Lsn answered = granted_ ? Logged() : 0;
  if (!granted_ || shard_->epoch() != grant.epoch) {
    if (grant.epoch <= shard_->epoch() || grant.epoch < seen_ || grant.epoch <= fence_) {
      begun.refused = StrCat("it is in epoch ", std::max(seen(), fence_));
    } else if (shard_->pieces() > 0) {
      begun.refused = "its seed has not ended";
    } else if (Status opened = shard_->BeginEpoch(grant.epoch, grant.min_lsn, PastOf(grant.epoch));
               !opened.ok()) {
      begun.refused = opened.message();
    }
    if (!begun.refused.empty()) return begun;
    settled_ = before;
    owed_ = std::max(owed_, answered);
    begun.epoch = true;
    begun.promoted = following_;
    begun.accepted = std::move(damage_);
    damage_.clear();
    granted_ = true;
    following_ = false;
    seen_ = grant.epoch;
    fence_ = 0;
  }
  const Epoch fence = std::max(fence_, grant.fence);
  begun.fenced = fence != 0 && (fence != fence_ || shard_->HasUnlogged());
  fence_ = fence;
  shard_->RaiseRewind(grant.rewind);
  WantCopies(grant, now_ms);
  return begun;
}

// Whoever leads in between has the shard released here first, and leads in an epoch of its own; or takes it
// over as another life.
Shard::Past ShardReplica::PastOf(Epoch next) const {
  if (!damage_.empty()) return Shard::Past::kDamaged;
  const bool led = granted_ || (released_ != 0 && next == released_ + 1);
  return led ? Shard::Past::kLed : Shard::Past::kAsHeld;
}

void ShardReplica::WantCopies(const Grant& grant, uint64_t now_ms) {
  if (grant.backups.empty() && grant.min_copies <= 1) {
    copies_.reset();
    return;
  }
  if (copies_ == nullptr) {
    if (!tail_) tail_.emplace(ReplicaPoint{shard_->last_lsn(), shard_->last_checksum()});
    copies_ = std::make_unique<CopySet>(id(), *std::exchange(tail_, std::nullopt));
  }
  copies_->Want(grant.epoch, grant.min_copies, grant.backups, now_ms);
}

Epoch ShardReplica::fenced() const {
  const bool whole = !shard_->HasUnlogged() && synced_ >= shard_->last_lsn();
  return whole || !Defended(Defence::kLastDelta) ? fence_ : 0;
}

Epoch ShardReplica::SettledEpoch() const {
  if (!granted_) return 0;
  return Logged() >= owed_ ? shard_->epoch() : settled_;
}

void ShardReplica::TakeFollow(Epoch epoch) {
  if (granted_) return;
  following_ = true;
  released_ = 0;
  seen_ = std::max(seen_, epoch);
  if (!shard_->serving()) return;
  if (shard_->HasUnlogged() || logged_ < shard_->last_lsn())
    SetDamage("it was taken over, and holds what its log does not have");
  shard_->EndServing();
}

Status ShardReplica::Serves(Epoch epoch) const {
  if (!granted_) return WrongEpoch(StrCat("shard ", id(), " is not served by ", node_));
  if (shard_->epoch() == epoch || !Defended(Defence::kEpoch)) return Status::Ok();
  return WrongEpoch(StrCat("shard ", id(), " is in epoch ", shard_->epoch(), " at ", node_, ", not ", epoch));
}

void ShardReplica::Release() {
  if (granted_) released_ = shard_->epoch();
  granted_ = false;
  fence_ = 0;
  settled_ = 0;
  owed_ = 0;
  copies_.reset();
}

// --- A primary calls.

ReplicaAnswer ShardReplica::Check(const ReplicaRef& ref) {
  const std::string name = StrCat(node_, ": shard ", ref.shard);
  if (incarnation() < ref.incarnation) return {.status = Unavailable(name + " is not followed here yet")};
  if (Defended(Defence::kEpoch) && (granted_ || ref.epoch < seen())) {
    return {.status = WrongEpoch(StrCat(name, " has seen epoch ", seen(), ", the primary is in ", ref.epoch)),
            .seen = seen()};
  }
  if (incarnation() != ref.incarnation)
    return {.status = FailedPrecondition(name + " has begun another life here")};
  if (!following_) return {.status = Unavailable(name + " is not followed here yet")};
  if (!damage_.empty() && Defended(Defence::kConfirmHeld))
    return {.status = DataLoss(StrCat(name, ": ", damage_))};
  seen_ = ref.epoch;
  return {};
}

ReplicaStanding ShardReplica::Standing() const {
  return {.complete = complete(),
          .pieces = shard_->pieces(),
          .point = {shard_->last_lsn(), shard_->last_checksum()},
          .logged = logged_,
          .synced = synced_};
}

ReplicaAnswer ShardReplica::Standing(const ReplicaRef& ref) {
  ReplicaAnswer answer = Check(ref);
  if (answer.status.ok()) answer.standing = Standing();
  return answer;
}

ReplicaAnswer ShardReplica::Take(const ReplicaRef& ref, const DeltaWords& words, uint32_t checksum,
                                 const std::function<void(Shard&, proto::Delta::Reader)>& make_room) {
  ReplicaAnswer answer = Check(ref);
  if (!answer.status.ok()) return answer;
  const std::string name = StrCat(node_, ": a delta of shard ", ref.shard);
  if (Crc32c(0, words.begin(), words.bytes()) != checksum)
    return {.status = DataLoss(name + " came damaged")};
  try {
    capnp::FlatArrayMessageReader message(words.ptr(), DeltaReaderOptions());
    const auto delta = message.getRoot<proto::Delta>();
    // Not what is sent again after a connection had failed.
    answer.taken = delta.getPiece() != 0 ? !complete() && delta.getPiece() > shard_->pieces()
                                         : delta.getLsn() > shard_->last_lsn();
    if (answer.taken) {
      make_room(*shard_, delta);
      if (Status applied = shard_->ApplyDelta(delta, checksum); !applied.ok())
        return {.status = applied.Prepend(node_)};
      KeepInTail(words, delta.getPiece() != 0);
    }
  } catch (const kj::Exception& e) {
    return {.status = DataLoss(StrCat(name, ": ", e.getDescription().cStr()))};
  }
  answer.standing = Standing();
  return answer;
}

// Of what was taken last. A seed makes deltas from before it useless.
void ShardReplica::KeepInTail(const DeltaWords& words, bool piece) {
  const ReplicaPoint point{shard_->last_lsn(), shard_->last_checksum()};
  if (piece || !tail_) {
    tail_.emplace(point);
    return;
  }
  tail_->Add({.lsn = point.lsn, .checksum = point.checksum, .words = words});
  tail_->Trim(point.lsn, kKeptTailBytes);
}

// --- Progress.

Status ShardReplica::Writable(Durability level, uint64_t now_ms) const {
  const bool stands = Defended(Defence::kUnfence) || fenced() == 0;
  if (fence_ != 0 && stands && Defended(Defence::kFence)) {
    return Status(Code::kUnavailable, StrCat(node_, ": shard ", id(), " is handed over to another server"),
                  kRetryFencedMs);
  }
  if (level == Durability::kMemory) return Status::Ok();
  return copies_ ? copies_->Writable(now_ms).Prepend(node_) : Status::Ok();
}

std::vector<BackupReport> ShardReplica::Backups(uint64_t now_ms) const {
  std::vector<BackupReport> reports;
  if (copies_ == nullptr) return reports;
  for (const CopySet::Copy& copy : copies_->copies()) {
    reports.push_back({.node = copy.grant.node,
                       .incarnation = copy.grant.incarnation,
                       .caught_up = copies_->CaughtUp(copy),
                       .failed = copies_->WhyNotStay(copy, now_ms),
                       .seeded_bytes = copy.seeded_bytes,
                       .behind_bytes = copies_->BehindBytes(copy)});
  }
  return reports;
}

}  // namespace penstock
