// Admin: what an operator asks of a cluster and tells it, over the connections of a client: the calls of
// `penstock` that a training program or a serving gateway does not need.
//
//   Result<nlohmann::json> status = Admin(*client).Inspect("status");
//
// A handle without a state of its own, which the client must outlive. Threads, deadlines and errors are those
// of the client; every method blocks. What changes the cluster (all of the scheduler's but Inspect) is sent
// once: kOutcomeUnknown when the answer was lost.
#pragma once

#include <cstdint>
#include <nlohmann/json_fwd.hpp>
#include <string>
#include <vector>

#include "client/client.h"
#include "client/client_types.h"
#include "common/base/ids.h"
#include "common/base/status.h"

namespace penstock {

class Caller;

class Admin {
 public:
  explicit Admin(Client& client);

  // --- Of tables that the client has created or opened.

  // One entry per table of the call, in its order.
  Result<std::vector<TableStats>> Stats(const std::vector<TableId>& tables, uint64_t deadline_ms = 0);
  // By worker: the highest of all cores.
  Result<std::vector<WorkerClock>> Clocks(TableId table, uint64_t deadline_ms = 0);
  // Applies the table's rules of expiry on all shards now; ok: the deletions are logged. Dry run: only
  // counts. kFailedPrecondition: the table has none.
  Result<ExpiryReport> Expire(TableId table, bool dry_run, uint64_t deadline_ms = 0);

  // --- Of the cluster.

  // What each `what` answers is described in proto/control.capnp.
  Result<nlohmann::json> Inspect(const std::string& what, const std::string& name = "");
  // Asks every server to fold its log into the base now, and does not wait for the end of that. Servers fold
  // by themselves when their logs have grown; this is for measurements and for maintenance.
  Status Fold(uint64_t deadline_ms = 0);
  // Goes on without what a quarantined shard has lost.
  Status AcceptLoss(ShardId shard);
  // Of the last in-sync copies of a shard that nobody serves, that of `node` goes on.
  Status ForceShard(ShardId shard, NodeId node);
  // The copy of a shard on `from` (0: its primary's) goes to `to`. Ok: it was begun. `to` 0: a move that was
  // begun ends.
  Status MoveShard(ShardId shard, NodeId from, NodeId to);
  // A server's copies go to others, and none come; or they may again. Ok: it was begun.
  Status DrainNode(NodeId node, bool drained);
  // How shards move to even out bytes and load. Ok: it is journaled, or the first have begun.
  enum class Balance : uint8_t {
    kNow,  // until nothing is left to be gained
    kOn,   // by themselves
    kOff,  // not by themselves
  };
  Status Rebalance(Balance word);
  // Forgets a dead node that holds no shard and no copy of one.
  Status RemoveNode(NodeId node);
  // How many servers shall hold each shard, and with how few in sync pushes go on.
  Status SetCopies(uint32_t copies, uint32_t min_copies);

  // --- Of jobs.

  // The job's id. Submitting is not repeatable.
  Result<uint32_t> SubmitJob(const nlohmann::json& job);
  Status CancelJob(uint32_t job);
  // No more of its partitions are worked on until ResumeJob. Both may be repeated.
  Status PauseJob(uint32_t job);
  Status ResumeJob(uint32_t job);
  // Of a job that has ended: the scheduler forgets it, and its tables with it if they are to be dropped.
  Status RemoveJob(uint32_t job, bool drop_tables);

 private:
  Caller& caller_;
};

}  // namespace penstock
