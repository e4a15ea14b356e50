// Replication: what is done for the backups of the shards that a core serves: which of them are attached,
// what goes to each and when, how new ones are seeded, and when enough have confirmed (rules 18 to 20).
//
// Pure: events, and times (milliseconds of a clock that only rises), go in; Perform hands out what is to be
// done. The copies of one shard are a CopySet's; this is about all of them. A link is one connection to one
// core of another server; all shards that have a copy there share it, and calls on it arrive in order.
//
//   NoteAdded for each delta of a window -> Send -> Append{call} -> OnAppended -> CopySet::Confirmed -> Wake
#pragma once

#include <deque>
#include <map>
#include <memory>
#include <set>
#include <span>
#include <string>
#include <variant>
#include <vector>

#include "server/replica/copy_waiters.h"
#include "server/replica/seed.h"
#include "server/replica/seed_pace.h"

namespace penstock {

struct ReplicationOptions {
  std::string node_name;                    // for errors
  uint32_t core = 0;                        // of the server
  uint64_t copy_wait_ms = 30000;            // of what was applied, for its copies
  uint64_t tail_bytes = 512 << 20;          // of deltas that copies have not confirmed, of all shards
  uint64_t call_bytes = 4 << 20;            // of deltas in a call, about
  uint64_t in_flight_bytes = 64 << 20;      // unanswered on a link
  uint64_t seed_in_flight_bytes = 8 << 20;  // above it no piece of a seed is made
  uint64_t retry_ms = 200;                  // after a link that broke
  SeedOptions seed;
  std::shared_ptr<SeedPace> pace;  // of the server; nullptr: seeds are not bounded
};

class Replication {
 public:
  using LinkId = uint64_t;
  // One copy of one shard.
  struct CopyKey {
    ShardId shard = 0;
    NodeId node = 0;
    Incarnation incarnation = 0;
    auto operator<=>(const CopyKey&) const = default;
  };
  // A delta or piece on its way to a copy, in the primary's epoch of then.
  struct Item {
    CopyKey key;
    Epoch epoch = 0;
    uint64_t attachment = 0;
    CopySet::Outgoing what;

    ReplicaRef ref() const { return {key.shard, key.incarnation, epoch}; }
  };
  struct Call {
    std::vector<Item> items;
    uint64_t bytes = 0;
    bool sync = false;
  };
  using CallPtr = std::shared_ptr<const Call>;
  // One seed of one copy.
  struct SeedRef {
    CopyKey key;
    uint64_t number = 0;  // of all that were begun here
  };

  // --- What is to be done.
  struct Connect {  // then OnConnected; a link that has been connected is looked at again
    LinkId link;
    std::string endpoint;
  };
  struct Attach {  // ask where these copies stand, then OnAttached
    LinkId link;
    std::vector<ReplicaRef> copies;
  };
  struct Append {  // send, in the order of these actions, then OnAppended
    LinkId link;
    CallPtr call;
  };
  struct Drop {  // the link is given up: nothing is heard of it any more
    LinkId link;
  };
  struct MakePiece {  // FillPiece, after what waits already: pushes go first
    SeedRef seed;
    bool first;  // that has rows
  };
  struct ReadBase {  // then OnBaseRead
    SeedRef seed;
    Seed::BaseRange range;
  };
  struct CloseWhole {  // ReplicaHost
    ShardId shard;
  };
  struct SyncCopies {  // ReplicaHost
    ShardId shard;
  };
  struct Wake {  // done(status)
    CopyWaiters::Done done;
    Status status;
  };
  struct Say {  // in the log
    bool warning;
    std::string what;
  };
  using Action =
      std::variant<Connect, Attach, Append, Drop, MakePiece, ReadBase, CloseWhole, SyncCopies, Wake, Say>;

  Replication(const ReplicaShards& shards, const ReplicationOptions& options);

  // Calls `perform` with each action so far. After every event; what is done may bring further events.
  template <typename Performer>
  void Perform(Performer perform) {
    while (next_action_ < actions_.size()) {
      Action action = std::move(actions_[next_action_++]);
      std::visit(perform, std::move(action));
    }
    actions_.clear();
    next_action_ = 0;
  }

  // --- The core says:
  // the scheduler's word has changed what copies a shard of the core's has, or is to have;
  void NoteWanted(ShardId shard, uint64_t now_ms);
  // it is served no more;
  void Forget(ShardId shard, uint64_t now_ms);
  // a delta was added to its copies, and after those of a window: Send.
  void NoteAdded(const CopySet& copies);
  void Send();

  // CopyWaiters::Look and Add. What is woken so is an action.
  std::optional<Status> Look(std::vector<DeltaRef>* deltas, Durability level) const {
    return waiters_.Look(deltas, level);
  }
  void Wait(std::vector<DeltaRef> deltas, Durability level, uint64_t now_ms, CopyWaiters::Done done) {
    waiters_.Add(std::move(deltas), level, now_ms, std::move(done));
  }

  // --- The driver says: some time has passed,
  void Tick(uint64_t now_ms);
  void OnConnected(LinkId id, const Status& status, uint64_t now_ms);
  // with an error, or an answer that fits what was asked, in its order;
  void OnAttached(LinkId id, const Status& status, std::span<const ReplicaAnswer> answers, uint64_t now_ms);
  // `sent` not ok: there was no answer; `status`: what it says of all sections;
  void OnAppended(LinkId id, const Call& call, const Status& sent, const Status& status,
                  std::span<const ReplicaAnswer> answers, uint64_t now_ms);
  void FillPiece(const SeedRef& ref);
  void OnBaseRead(const SeedRef& ref, Result<StoredRows> rows);
  // this ends, and all wake.
  void Stop();

  // Of deltas that are kept for copies, as of the last tick.
  uint64_t tail_bytes() const { return tail_bytes_; }

 private:
  using Copy = CopySet::Copy;
  struct Link {
    LinkId id = 0;
    std::string endpoint;
    bool busy = false;  // connecting or attaching
    bool connected = false;
    uint64_t inflight_bytes = 0;
    std::vector<CopyKey> attaching;
    std::deque<CopyKey> ready;  // copies that something may be unsent for
  };
  struct Seeding {
    Seeding(uint64_t n, const ReplicaShards& shards, ShardId shard, const SeedOptions& options)
        : number(n), seed(shards, shard, options) {}
    const uint64_t number;
    Seed seed;
    SeedPiece piece;
    bool filling = false;    // a piece
    bool finishing = false;  // all rows are sent; the last piece goes behind the next delta of everything
    bool finished = false;   // the last piece was made
  };
  using Seeds = std::map<CopyKey, Seeding>;

  CopySet* FindSet(ShardId shard) const;
  Copy* FindCopy(const CopyKey& key) const;
  std::vector<CopySet*> Sets() const;

  // replication.cc: links.
  Link& LinkTo(const std::string& endpoint);
  Link* FindLink(LinkId id);
  void MakeReady(const CopyKey& key, const Copy& copy);
  void AttachAll(Link& link);
  void TakeStanding(const CopyKey& key, const ReplicaAnswer& answer, uint64_t now_ms);
  void PumpAll();
  void Pump(Link& link);
  void TakeAnswer(CopySet& set, Copy& copy, const Item& item, bool sync, const ReplicaAnswer& answer,
                  uint64_t now_ms);
  void Break(Link& link, const std::string& why, uint64_t now_ms);
  void FailCopy(CopySet& set, Copy& copy, const std::string& why);
  void BoundTails(uint64_t now_ms);
  void CheckWaiters(uint64_t now_ms);

  // replication_seeds.cc
  void BeginSeed(const CopyKey& key);
  void ResumeSeed(const CopyKey& key);
  void NoteSeeded(const CopyKey& key, const Copy& copy);
  void AdvanceSeeds();
  void AdvanceSeed(const CopyKey& key);
  Seeds::iterator FindSeeding(const SeedRef& ref);
  void TakeFilled(Seeds::iterator at, const Result<Seed::Step>& step);
  bool AddPiece(const CopyKey& key, Result<BuiltDelta> built, bool last);
  void FinishSeeds();

  const ReplicaShards& shards_;
  const ReplicationOptions options_;
  std::set<ShardId> replicated_;       // shards that have copies
  std::map<std::string, Link> links_;  // by endpoint
  LinkId last_link_ = 0;
  uint64_t last_attachment_ = 0;
  std::map<std::string, uint64_t> retry_ms_;  // of endpoints that were not reached, not before then
  Seeds seeds_;
  uint64_t last_seed_ = 0;
  CopyWaiters waiters_;
  uint64_t tail_bytes_ = 0;
  uint64_t now_ms_ = 0;  // of the last event that had a time
  std::vector<Action> actions_;
  size_t next_action_ = 0;
};

}  // namespace penstock
