// Replicator: sends the deltas of the shards that a core serves to their backups, seeds new ones, and says
// when enough copies have confirmed (rules 18 to 20).
//
// Lives on the core's loop. What is decided is in CopySet, one a shard; this connects, attaches, sends and
// hears. A link is one connection to one core of another server; all shards that have a copy there share it,
// and calls on it arrive in order.
//
//   ServerCore::Close -> Add each delta -> Send -> append on the links -> OnAppended -> CopySet::Confirmed ->
//   waiters
#pragma once

#include <deque>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "common/net/connection_cache.h"
#include "proto/replica.capnp.h"
#include "server/node/core.h"
#include "server/replica/seed.h"

namespace penstock {

class Replicator : private kj::TaskSet::ErrorHandler {
 public:
  Replicator(KjLoop& loop, ServerCore& core, std::shared_ptr<ClusterIdentity> identity,
             ServerMetrics& metrics);
  ~Replicator();

  // The scheduler's word has changed what copies a shard of the core's has, or is to have.
  void NoteWanted(ShardId shard);
  // It is served no more.
  void Forget(ShardId shard);

  // A delta was added to its copies. After those of a window: Send.
  void NoteAdded(const CopySet& copies);
  void Send();

  // Resolves when every in-sync backup has these deltas at the level. kOutcomeUnknown: not within the
  // deadline, or the shard is served here no more.
  kj::Promise<Status> Wait(std::vector<ShardLsn> deltas, Durability level);

 private:
  using Copy = CopySet::Copy;
  struct CopyKey {
    ShardId shard = 0;
    NodeId node = 0;
    Incarnation incarnation = 0;
    auto operator<=>(const CopyKey&) const = default;
  };
  struct Link {
    std::string endpoint;
    kj::Maybe<proto::Replica::Client> client;
    bool busy = false;  // connecting or attaching
    bool broken = false;
    uint64_t inflight_bytes = 0;
    std::deque<CopyKey> ready;  // copies that something may be unsent for
  };
  using LinkPtr = std::shared_ptr<Link>;
  struct Item {
    CopyKey key;
    uint64_t attachment = 0;
    CopySet::Outgoing what;
  };
  struct Call {
    std::vector<Item> items;
    uint64_t bytes = 0;
    bool sync = false;
  };
  using CallPtr = std::shared_ptr<Call>;
  struct Waiter {
    std::vector<ShardLsn> deltas;
    Durability level;
    uint64_t deadline_ms;
    kj::Own<kj::PromiseFulfiller<Status>> done;
  };

  CopySet* FindSet(ShardId shard) const { return core_.CopiesOf(shard); }
  std::vector<CopySet*> Sets() const;
  Copy* FindCopy(const CopyKey& key) const;
  LinkPtr LinkTo(const std::string& endpoint);
  void MakeReady(const CopyKey& key, const Copy& copy);
  void Tick();
  void Connect(const LinkPtr& link);
  void AttachAll(const LinkPtr& link);
  void OnAttached(const LinkPtr& link, const std::vector<CopyKey>& keys,
                  capnp::List<proto::ReplicaState>::Reader states);
  void Pump(const LinkPtr& link);
  void SendCall(const LinkPtr& link, CallPtr call);
  void OnAppended(const LinkPtr& link, const Call& call, capnp::List<proto::ReplicaState>::Reader states);
  void TakeState(const Item& item, bool sync, proto::ReplicaState::Reader state);
  void Break(const LinkPtr& link, const std::string& why);
  void FailCopy(CopySet& set, Copy& copy, const std::string& why);
  void BeginSeed(const CopyKey& key);
  void AddPiece(const CopyKey& key, const SeedPiece& piece);
  void AdvanceSeed(const CopyKey& key);
  void FinishSeeds();
  struct Seeding;
  Copy* FindSeeded(const CopyKey& key, Seeding& seeding);
  void OnPieceFilled(const CopyKey& key, Seeding& seeding);
  void OnAllFilled(const CopyKey& key, Seeding& seeding, const Status& status);
  void AdvanceSeeds();
  void BoundTails();
  bool Reached(Waiter& waiter, Status* result) const;
  void CheckWaiters();
  void SyncWhatIsOwed();
  uint64_t NowMs() const;
  void Spawn(kj::Promise<void> promise, const char* what);
  void taskFailed(kj::Exception&& e) override;

  struct Seeding {
    std::unique_ptr<Seed> seed;
    SeedPiece piece;
    bool filling = false;    // a piece
    bool finishing = false;  // all rows are sent; the last piece goes behind the next delta of everything
    bool finished = false;   // the last piece was made
  };

  KjLoop& loop_;
  ServerCore& core_;
  ServerMetrics& metrics_;
  ConnectionCache connections_;
  std::set<ShardId> shards_;  // that have copies
  std::map<std::string, LinkPtr> links_;
  std::map<std::string, uint64_t> retry_ms_;  // of endpoints that were not reached, not before then
  std::map<CopyKey, std::shared_ptr<Seeding>> seeds_;
  std::vector<Waiter> waiters_;
  uint64_t tail_bytes_ = 0;  // as of the last look, in the metric of all cores
  kj::TaskSet tasks_;        // last: its promises use all of the above
};

}  // namespace penstock
