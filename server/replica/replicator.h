// Replicator: performs what a core's Replication decides: it connects to backups, attaches, sends, reads the
// base for seeds, and wakes who waits.
//
// Lives on the core's loop.
#pragma once

#include <atomic>
#include <map>
#include <memory>
#include <vector>

#include "common/net/connection_cache.h"
#include "proto/replica.capnp.h"
#include "server/replica/replica_host.h"
#include "server/replica/replication.h"

namespace penstock {

class Replicator : private kj::TaskSet::ErrorHandler {
 public:
  struct Counters {
    std::atomic<uint64_t>& sent_bytes;
    std::atomic<uint64_t>& tail_bytes;  // gauge, of all cores
  };
  Replicator(KjLoop& loop, ReplicaHost& host, std::shared_ptr<ClusterIdentity> identity,
             const ReplicationOptions& options, const Counters& counters);
  ~Replicator();

  // As Replication's.
  void NoteWanted(ShardId shard);
  void Forget(ShardId shard);
  void NoteAdded(const CopySet& copies) { replication_.NoteAdded(copies); }
  void Send();

  // Resolves when every in-sync backup has these deltas at the level; the caller has waited until they are so
  // here. kWrongEpoch: a shard is not served any more in the life and epoch that its delta names;
  // kOutcomeUnknown: not within the deadline.
  kj::Promise<Status> Wait(std::vector<DeltaRef> deltas, Durability level);

 private:
  using LinkId = Replication::LinkId;

  void Do(Replication::Connect&& action);
  void Do(Replication::Attach&& action);
  void Do(Replication::Append&& action);
  void Do(Replication::Drop&& action);
  void Do(Replication::MakePiece&& action);
  void Do(Replication::ReadBase&& action);
  void Do(Replication::CloseWhole&& action) { host_.CloseWhole(action.shard); }
  void Do(Replication::SyncCopies&& action) { host_.SyncCopies(action.shard); }
  void Do(Replication::Wake&& action) { action.done(std::move(action.status)); }
  void Do(Replication::Say&& action);
  void Perform();
  void Tick();
  void ReadAnswers(capnp::List<proto::ReplicaState>::Reader states);
  uint64_t NowMs() const;
  void Spawn(kj::Promise<void> promise, const char* what);
  void taskFailed(kj::Exception&& e) override;

  struct Link {
    std::string endpoint;
    kj::Maybe<proto::Replica::Client> client;
  };

  KjLoop& loop_;
  ReplicaHost& host_;
  const std::string node_name_;
  const Counters counters_;
  ConnectionCache connections_;
  Replication replication_;
  std::map<LinkId, Link> links_;
  std::vector<ReplicaAnswer> answers_;  // of the call that is being looked at
  uint64_t tail_bytes_ = 0;             // in the gauge
  kj::TaskSet tasks_;                   // last: its promises use all of the above
};

}  // namespace penstock
