// ShardReplica: one shard on one node, as the scheduler and primaries see it: served as its primary, followed
// as a backup, or neither; which epochs it accepts; and up to where it is logged, here and on all copies
// (rules 18 to 22).
//
// Pure: events and times (milliseconds of a clock that only rises) in, decisions out; no I/O, no threads. The
// core (core.h) owns one for each shard and performs what follows: logging what was taken, connecting to
// backups, answering pushes. The rows are the Shard's own business.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "common/cluster/producer_ranges.h"
#include "server/replica/copy_set.h"
#include "server/shard/shard.h"

namespace penstock {

// What a server serves of a shard, as the scheduler granted it.
struct Grant {
  ShardId shard = 0;
  Incarnation incarnation = 0;
  Epoch epoch = 0;
  Lsn min_lsn = 0;
  uint32_t min_copies = 1;
  uint64_t rewind = 0;  // pushes and commits of jobs with a lower rewind number are refused
  std::vector<BackupGrant> backups;
  Epoch fence = 0;  // not 0: nothing new is taken before a grant of an epoch above it
};
// What it follows as a backup.
struct Follow {
  ShardId shard = 0;
  Incarnation incarnation = 0;
  Epoch epoch = 0;
};
// What the shards of a core shall become; nothing but these is served or followed.
struct WantedShards {
  std::vector<Grant> grants;
  std::vector<Follow> follows;
  std::vector<Follow> discards;  // lives that nobody needs here any more; without epochs
  ProducerId forget_floor = 0;
  ProducerRanges finished, complete;  // producers
};
// Whom a primary names when it sends: a copy of a shard, in the primary's epoch.
struct ReplicaRef {
  ShardId shard = 0;
  Incarnation incarnation = 0;
  Epoch epoch = 0;
};
// What somebody waits for: a delta of one life and epoch of a shard. What is said of another life or epoch is
// not about it (rule 37).
struct DeltaRef {
  ShardId shard = 0;
  Incarnation incarnation = 0;
  Epoch epoch = 0;
  Lsn lsn = 0;
};
// What a copy answers; the standing only with ok.
struct ReplicaAnswer {
  Status status;
  Epoch seen = 0;      // with kWrongEpoch: the highest epoch known here
  bool taken = false;  // it was applied just now, and has to be logged
  ReplicaStanding standing;
};
// What a primary reports of a backup (proto::BackupReport).
struct BackupReport {
  NodeId node = 0;
  Incarnation incarnation = 0;
  bool caught_up = false;
  std::string failed;
  uint64_t seeded_bytes = 0, behind_bytes = 0;
};

class ShardReplica {
 public:
  // `node` names the server in errors.
  ShardReplica(std::unique_ptr<Shard> shard, std::string node);

  Shard& shard() { return *shard_; }
  const Shard& shard() const { return *shard_; }
  ShardId id() const { return shard_->id(); }
  Incarnation incarnation() const { return shard_->incarnation(); }

  // --- The scheduler's word, about this life of the shard.
  struct Begun {
    std::string refused;    // not empty: nothing has changed, and why
    bool epoch = false;     // a new epoch has begun
    bool promoted = false;  // it was a backup
    std::string accepted;   // the damage that it goes on with
    bool fenced = false;    // a last delta is to be written
  };
  Begun TakeGrant(const Grant& grant, uint64_t now_ms);
  void TakeFollow(Epoch epoch);
  // It is served no more, or followed no more. What it holds stays.
  void Release();
  void Unfollow() { following_ = false; }
  bool granted() const { return granted_; }
  // Of its grant; 0: there is none.
  Epoch fence() const { return fence_; }
  // The fence, once everything is in deltas that are synced here; 0: there is none, or not yet.
  Epoch fenced() const;
  // Whether a request that names this epoch is answered here. kWrongEpoch: it is served in another one, or
  // not at all.
  Status Serves(Epoch epoch) const;
  bool following() const { return following_; }
  // The epoch that it serves, once every in-sync backup of that has all that was answered before it began;
  // the one before until then. 0: it serves in none. Whoever hears of it may promote any of those backups
  // (rule 19).
  Epoch SettledEpoch() const;
  // A delta of the life and epoch that it is in.
  DeltaRef DeltaAt(Lsn lsn) const { return {id(), incarnation(), shard_->epoch(), lsn}; }
  Epoch seen() const { return std::max(seen_, shard_->epoch()); }
  bool complete() const { return shard_->epoch() != 0 && shard_->pieces() == 0; }

  // Not empty: it may not be served or followed as it is, and why.
  const std::string& damage() const { return damage_; }
  void SetDamage(std::string damage) { damage_ = std::move(damage); }

  // --- A primary calls.
  ReplicaAnswer Standing(const ReplicaRef& ref);
  // The next delta or piece of a seed. `make_room` is called before it is applied. kUnavailable: not told to
  // follow yet; kWrongEpoch: the primary was superseded, or has not heard of its own next epoch; kDataLoss:
  // it does not follow what is here, and nothing has changed.
  ReplicaAnswer Take(const ReplicaRef& ref, const DeltaWords& words, uint32_t checksum,
                     const std::function<void(Shard&, proto::Delta::Reader)>& make_room);

  // --- Progress.
  void LoggedHere(Lsn lsn) { logged_ = std::max(logged_, lsn); }
  void SyncedHere(Lsn lsn) { synced_ = std::max(synced_, lsn); }
  Lsn logged_here() const { return logged_; }
  Lsn synced_here() const { return synced_; }
  // On this node and all in-sync backups. Of a backup: here.
  Lsn Logged() const { return copies_ ? copies_->Logged(logged_) : logged_; }
  Lsn Synced() const { return copies_ ? copies_->Synced(synced_) : synced_; }
  // Of a primary: whether what is answered at this level may change it now. kUnavailable: it is handed over;
  // kNotEnoughCopies: too few copies confirm.
  Status Writable(Durability level, uint64_t now_ms) const;
  std::vector<BackupReport> Backups(uint64_t now_ms) const;
  // Answers to pushes wait for so long, so that a copy catches up.
  uint64_t DelayMs() const { return copies_ ? copies_->delay().ms() : 0; }
  // nullptr while neither backups nor more than one copy are wanted.
  CopySet* copies() { return copies_.get(); }
  const CopySet* copies() const { return copies_.get(); }

 private:
  ReplicaAnswer Check(const ReplicaRef& ref);
  ReplicaStanding Standing() const;
  void KeepInTail(const DeltaWords& words, bool piece);
  void WantCopies(const Grant& grant, uint64_t now_ms);
  Shard::Past PastOf(Epoch next) const;

  std::unique_ptr<Shard> shard_;
  const std::string node_;
  bool granted_ = false;
  Epoch released_ = 0;  // the last one in which it led here, and not followed since
  bool following_ = false;
  Epoch fence_ = 0;    // of its grant; it only rises, and ends with an epoch above it or with being served
  Epoch settled_ = 0;  // the epoch before the present one
  Lsn owed_ = 0;       // answered before the present epoch
  Epoch seen_ = 0;     // of a copy: the highest epoch it heard of; older ones are refused
  Lsn logged_ = 0, synced_ = 0;
  std::string damage_;
  std::optional<DeltaTail> tail_;  // of a copy: if it is promoted, others resume from it
  std::unique_ptr<CopySet> copies_;
};

}  // namespace penstock
