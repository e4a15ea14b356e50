// CopySet: what the primary of a shard knows of its backups: who must confirm a delta before it counts as
// logged, what each has still to be sent, and when a copy can only be seeded again (rules 18 to 20).
//
// Pure: events and times (milliseconds of a clock that only rises) in, decisions out. replicator.h performs
// them. The set of in-sync copies changes only by Want, with the scheduler's word; a copy that fails here,
// falls silent or has no room stays in it until the scheduler takes it out.
#pragma once

#include <cstdint>
#include <deque>
#include <string>
#include <vector>

#include "common/base/ids.h"
#include "common/base/status.h"
#include "server/replica/delta_tail.h"
#include "server/replica/push_delay.h"

namespace penstock {

// A backup, as the scheduler granted it (proto::ShardGrant.Backup).
struct BackupGrant {
  NodeId node = 0;
  std::string name;
  Incarnation incarnation = 0;
  std::string endpoint;  // empty: it is not known yet where it follows
  bool in_sync = false;
  bool operator==(const BackupGrant&) const = default;
};

// What a copy says of itself (proto::ReplicaState).
struct ReplicaStanding {
  bool complete = false;
  uint64_t pieces = 0;  // of a seed that has not ended
  ReplicaPoint point;
  Lsn logged = 0, synced = 0;
  bool no_room = false;
};

class CopySet {
 public:
  enum class Stage {
    kDetached,   // it must be attached first
    kSeeding,    // pieces of a seed, and the deltas since it began, go to it
    kFollowing,  // it holds all deltas but the latest
    kFailed,     // it must be seeded again as another life
  };
  // What goes to a copy next.
  struct Outgoing {
    TailDelta delta;
    uint64_t piece = 0;  // of its seed, from 1; it follows the delta of its lsn; 0: a delta
    bool last = false;
  };
  struct Copy {
    BackupGrant grant;
    Stage stage = Stage::kDetached;
    std::string failure;
    uint64_t attachment = 0;     // the attacher's number: answers to what was sent in another one say nothing
    Lsn sent = 0;                // deltas up to here are sent or on their way
    Lsn logged = 0, synced = 0;  // confirmed; of a copy that is being seeded, since its first piece
    uint64_t pieces = 0;         // of its seed, made so far; 0: it is not being seeded
    std::deque<Outgoing> owed_pieces;  // that it has not confirmed
    size_t sent_pieces = 0;            // of these, first
    uint64_t waits_since_ms = 0;       // something of it is unconfirmed since then; 0: nothing is
    uint64_t full_since_ms = 0;        // it has said since then that it has no room; 0: it has
    uint64_t asked_ms = 0;             // of OwesQuestion
    uint64_t seeded_bytes = 0;         // of pieces that it has confirmed; stays when the seed has ended
    Lsn held = 0;  // when it was attached: that it has logged all of this by now only another answer says

    bool BeingSeeded() const { return stage != Stage::kFailed && pieces > 0; }
    bool HasUnsentPieces() const { return sent_pieces < owed_pieces.size(); }
  };

  CopySet(ShardId shard, DeltaTail tail) : shard_(shard), tail_(std::move(tail)) {}

  // The scheduler's word. Copies of another node or incarnation than before begin anew.
  void Want(Epoch epoch, uint32_t min_copies, const std::vector<BackupGrant>& backups, uint64_t now_ms);
  // A delta was built, of the primary itself.
  void Add(TailDelta delta, uint64_t now_ms);

  // What a copy said when it was attached: it goes on from where it stands, with its seed or without; is to
  // be seeded from the beginning (then true); or fails. A seed's first piece is made at once and has no rows
  // yet: it begins the copy's chain here, so that all deltas from now on go to the copy, whatever is looked
  // at when.
  bool Attached(Copy& copy, const ReplicaStanding& standing, uint64_t now_ms);
  // The next delta or piece for the copy, which counts as sent then; nullopt: there is none.
  std::optional<Outgoing> Next(Copy& copy);
  void AddPiece(Copy& copy, TailDelta piece, bool last);
  // The copy has logged its pieces up to this one. With the last it is seeded.
  void PieceConfirmed(Copy& copy, const Outgoing& piece);
  // The copy has logged (and synced) every delta up to here.
  void Confirmed(Copy& copy, Lsn lsn, bool synced, uint64_t now_ms);
  // Whether what it takes finds no room there, as it says with every answer.
  void NoteRoom(Copy& copy, bool no_room, uint64_t now_ms);
  // A copy had no room, or had not logged all that it held when it was attached: a delta is to be sent, empty
  // or not, whose answer says how that is now. True a few times a second.
  bool OwesQuestion(uint64_t now_ms);
  // Its connection failed: what was not confirmed is sent again.
  void Detached(Copy& copy);
  void Fail(Copy& copy, const std::string& why);

  // Up to where every in-sync backup has confirmed, at most `own`.
  Lsn Logged(Lsn own) const;
  Lsn Synced(Lsn own) const;
  // Every in-sync backup has logged the lsn, and one that has not synced it was not told to: it was attached
  // or seeded after it had logged it. A later delta that is to be synced makes up for it.
  bool OwesSync(Lsn lsn) const { return Logged(lsn) >= lsn && Synced(lsn) < lsn; }
  // kNotEnoughCopies: pushes that need copies are refused now, and why.
  Status Writable(uint64_t now_ms) const;
  // Why the scheduler shall take the copy out; empty: it may stay. A copy that is only silent or without room
  // may where pushes could not go on without it.
  std::string WhyNotStay(const Copy& copy, uint64_t now_ms) const;
  // Names the in-sync copies that have not confirmed the lsn.
  std::string Missing(Lsn lsn) const;
  // Of deltas that it has not confirmed.
  uint64_t BehindBytes(const Copy& copy) const { return tail_.BytesAfter(copy.logged); }
  // It holds all but the latest deltas, and may become an in-sync copy.
  bool CaughtUp(const Copy& copy) const;
  // Holds back who pushes while a copy is more than so many bytes behind, as long as it takes what it gets.
  PushDelay::Change UpdateDelay(uint64_t most_behind_bytes, uint64_t now_ms);
  const PushDelay& delay() const { return delay_; }
  // Drops the deltas that no copy needs any more.
  void Trim();
  // The copy that most is kept for, if any.
  Copy* Slowest();

  ShardId shard() const { return shard_; }
  Epoch epoch() const { return epoch_; }
  std::vector<Copy>& copies() { return copies_; }
  const std::vector<Copy>& copies() const { return copies_; }
  // nullptr when it is wanted no more.
  Copy* Find(NodeId node, Incarnation incarnation);
  const DeltaTail& tail() const { return tail_; }

 private:
  void NoteWaiting(Copy& copy, uint64_t now_ms);
  uint64_t LatestFew() const;  // bytes of the latest deltas
  // A copy that was interrupted goes on with its seed; false: what it has is not a part of that.
  bool GoOnWithSeed(Copy& copy, const ReplicaStanding& standing);

  const ShardId shard_;
  Epoch epoch_ = 0;
  uint32_t min_copies_ = 1;
  DeltaTail tail_;
  std::vector<Copy> copies_;
  PushDelay delay_;
};

}  // namespace penstock
