// Client: the library that C++ programs attach to a Penstock cluster with; the worker, the tools and the
// gateway use it as well.
//
//   ClientOptions options;
//   options.scheduler = "127.0.0.1:7070";
//   auto client = Client::Connect(options);  // Result<std::unique_ptr<Client>>
//   auto table = (*client)->CreateTable({.name = "user", .dim = 16});
//   auto producer = (*client)->NewProducer();
//   auto rows = (*client)->Pull({{table->id, {17, 4711}}}).get();  // values[0] is [2, 16]
//   auto done = (*client)->Push(**producer, {{table->id, {17}, gradient}}).get();
//
// examples/cpp is a whole program, and docs/cpp.md says how to build one.
//
// Threads: every method may be called from any thread. One thread of the client's own (its loop) does all
// I/O; batches are cut up on the caller's thread. Callbacks run on the loop (or, when the client is being
// destroyed, wherever that happens): they must be quick, and must not call a method that blocks (those that
// return Result or Status; they answer kFailedPrecondition there) nor destroy the client.
//
// Deadlines: every call ends within its deadline (0: ClientOptions::deadline_ms). What can be retried is
// retried until then: a server that restarts, a shard that moves or a scheduler that is away is waited for.
// Codes to react to:
//   kInvalidArgument     the call is wrong (sizes, a table that this client did not open, a unit over
//                        max_unit_bytes): mend it
//   kUnavailable         (pull, scheduler calls) not reachable until the deadline; the message names node,
//                        endpoint and shard
//   kDeadlineExceeded    time ran out, and no part of a push had any effect
//   kOutcomeUnknown      time ran out, and parts of a push were or may have been applied. Push the same
//                        contents under the same sequence again (PushAt on an attached producer), or give
//                        it up
//   kOverloaded          too many sequences in flight (65,536 from the lowest unfinished one): wait for
//                        answers
//   kUnknownProducer     the cluster has forgotten the producer's id: take a new one
//   kDataLoss            a shard is quarantined: an operator must act
//   kFailedPrecondition  the producer is rewound (see Producer), or the state of the cluster forbids it
//   kCancelled           the client is being destroyed
// A push that ends in an error other than kDeadlineExceeded may have been applied in part; its message says
// how many units were. A unit is all rows of one (table, shard) in one push, and is applied once or not at
// all, however often it had to be sent.
#pragma once

#include <absl/functional/any_invocable.h>

#include <cstdint>
#include <future>
#include <memory>
#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "client/producer.h"
#include "common/base/ids.h"
#include "common/base/status.h"
#include "common/cluster/table_spec.h"

namespace penstock {

class KjLoop;
class SchedulerLink;

struct ClientOptions {
  std::string scheduler;         // "host:port", or the path (with a '/') of a file whose first line is that
  std::string token_file;        // the cluster's token; empty: `token` is used
  std::string token;             // empty: none, for clusters on loopback without one
  std::string name = "client";   // for the peers' logs and errors
  uint64_t deadline_ms = 30000;  // of a call that names none
  uint64_t connect_timeout_ms = 3000;  // of Connect as a whole, and of each connection that is made later
  uint64_t attempt_timeout_ms =
      5000;  // a server that has not answered a call by then is taken for hung: connect again, send again
  uint64_t max_unit_bytes = 32 << 20;  // keys and values of one unit; 1 KiB to 64 MiB
  uint64_t piece_bytes = 2 << 20;      // larger batches travel in pieces of about this size; 4 KiB to 64 MiB
  uint64_t max_inflight_bytes =
      16 << 20;          // per server core: pieces beyond wait their turn (one piece always may go)
  uint64_t spin_us = 0;  // how long the client's loop looks for more before it sleeps, 0 to 100,000: shorter
                         // waits for the time of a processor (see also spin_get.h)
};

// Rows to read. Keys need not be sorted or unique.
struct TableKeys {
  TableId table = 0;
  std::vector<Key> keys;
};

// Rows to push: gradients, increments or values, as the table's optimizer takes them. Keys need not be sorted
// or unique (PushOptions::combine). values is [keys.size(), dim], row-major float32.
struct TablePush {
  TableId table = 0;
  std::vector<Key> keys;
  std::vector<float> values;
};

// The same without owning what they refer to, which is read before the call returns.
struct TableKeysView {
  TableId table = 0;
  std::span<const Key> keys;
};
struct TablePushView {
  TableId table = 0;
  std::span<const Key> keys;
  std::span<const float> values;
};
// Rows to push, and where they are to be written as they are afterwards: `pulled` is as long as `values` and
// may be the same memory.
struct TablePushPullView {
  TableId table = 0;
  std::span<const Key> keys;
  std::span<const float> values;
  std::span<float> pulled;
};
// Rows to read into memory of the caller's, values being [keys.size(), dim]. It is written until the call is
// answered, so that is how long it must stay.
struct TablePullView {
  TableId table = 0;
  std::span<const Key> keys;
  std::span<float> values;
};

struct PullResult {
  std::vector<std::vector<float>>
      values;  // one per TableKeys of the call: [keys.size(), dim] in the order of its keys
};

// A unit of a push, as its server answered.
struct PushedUnit {
  TableId table = 0;
  ShardId shard = 0;
  Epoch epoch = 0;      // of the shard, in which the unit was applied
  Lsn lsn = 0;          // the shard's delta that holds it
  bool logged = false;  // that delta is in the log of every copy already; always true for tables at level
                        // logged and synced
};

struct PushResult {
  Sequence sequence = 0;
  std::vector<PushedUnit> units;
  // True when no crash of processes can undo the push any more. False at level memory: later answers and
  // Flush say more (Producer::recorded).
  bool logged() const {
    for (const PushedUnit& unit : units) {
      if (!unit.logged) return false;
    }
    return true;
  }
};

// Sums over all shards of a table, as of slightly different moments.
struct TableStats {
  TableId table = 0;
  uint64_t rows = 0;   // rows that were pushed at least once; the rest follow from these
  uint64_t bytes = 0;  // memory of rows and index
  double sum_squares = 0;
  double sum_abs = 0;
  uint64_t non_zero = 0;
};

// What an expiry run has found on all shards.
struct ExpiryReport {
  uint64_t rows = 0;  // looked at
  // Due, by the first rule that says so; deleted unless it was a dry run.
  uint64_t ttl = 0;
  uint64_t unused_passes = 0;
  uint64_t min_norm = 0;
  uint64_t expired() const { return ttl + unused_passes + min_norm; }
};

// How a push is sent, and what it says of the job that it belongs to. Outside of jobs the defaults are right.
struct PushOptions {
  uint64_t deadline_ms = 0;  // 0: ClientOptions::deadline_ms
  uint64_t clock = 0;        // the clock that this push takes its worker to, from 1
  uint64_t round = 0;   // sync: values are sums over examples, for the accumulators of this round, from 1
  uint64_t step = 0;    // optimizer step for the schedules of the tables, from 1; 0: each row's own count
  uint32_t worker = 0;  // node id of the worker whose clock it is
  uint32_t pass = 0;    // pass of the job, from 1, for expiry.unused_passes
  // Rows of one table with the same key are sent as one and count as one push: their sum, or the last of them
  // where pushes assign. False: each is a push of its own; saves the looking where all keys are distinct.
  bool combine = true;
  // Of values on the wire, both ways; none: as each table says. kInvalidArgument where CheckCodec says so.
  std::optional<Codec> codec;
  bool operator==(const PushOptions&) const = default;
};

struct PullOptions {
  uint64_t deadline_ms = 0;    // 0: ClientOptions::deadline_ms
  std::optional<Codec> codec;  // of values on the wire, as in PushOptions
};

// What pushes into a table carried, as the servers saw it (proto/data.capnp, WorkerClock).
struct WorkerClock {
  uint32_t worker = 0;  // node id
  uint64_t clock = 0;   // the latest
  uint64_t lead = 0;    // the most that it was ever ahead of another one
};

using PullCallback = absl::AnyInvocable<void(Result<PullResult>)>;
using DoneCallback = absl::AnyInvocable<void(Status)>;
using PushCallback = absl::AnyInvocable<void(Result<PushResult>)>;

class Client {
 public:
  // Reads the token, connects to the scheduler and gets the shard map, within connect_timeout_ms.
  // kUnavailable: no scheduler there (the address is named); kPermissionDenied: another cluster, another
  // version or a wrong token; kInvalidArgument: an option.
  static Result<std::unique_ptr<Client>> Connect(const ClientOptions& options);
  // Calls that are pending complete with kCancelled before it returns.
  ~Client();
  Client(const Client&) = delete;
  Client& operator=(const Client&) = delete;

  const ClientOptions& options() const;
  uint64_t cluster() const;      // the cluster's id
  uint32_t shard_count() const;  // fixed when the cluster was made

  // Tables. Create of an existing name with an equal spec (id aside) is ok and answers that table; another
  // spec is kAlreadyExists. Pull, Push and Stats take tables that this client has created or opened.
  Result<TableSpec> CreateTable(const TableSpec& spec);
  Result<TableSpec> OpenTable(const std::string& name);
  Status DropTable(const std::string& name);

  // An identity to push under, with an id from the scheduler. Cheap; a thread may have its own.
  Result<std::shared_ptr<Producer>> NewProducer();
  // Inside a job: the id and first sequence of a lease. Its low is what is logged on all copies; see
  // producer.h.
  std::shared_ptr<Producer> AttachProducer(ProducerId id, Sequence begin);

  // Reads rows. A row that was never pushed has its table's initial value.
  std::future<Result<PullResult>> Pull(const std::vector<TableKeys>& tables, const PullOptions& options = {});
  std::future<Result<PullResult>> Pull(std::span<const TableKeysView> tables,
                                       const PullOptions& options = {});
  void PullAsync(const std::vector<TableKeys>& tables, PullCallback done, const PullOptions& options = {});
  void PullAsync(std::span<const TableKeysView> tables, PullCallback done, const PullOptions& options = {});
  // The same into memory that the caller has already: for those who pull again and again.
  std::future<Status> PullInto(std::span<const TablePullView> tables, const PullOptions& options = {});
  void PullIntoAsync(std::span<const TablePullView> tables, DoneCallback done,
                     const PullOptions& options = {});

  // Pushes rows under the producer's next sequence; several may be in flight. Answered when the level of each
  // table is reached. A sequence is finished with its answer, kOutcomeUnknown included: it cannot be pushed
  // again unless the producer is an attached one.
  std::future<Result<PushResult>> Push(Producer& producer, const std::vector<TablePush>& tables,
                                       const PushOptions& options = {});
  std::future<Result<PushResult>> Push(Producer& producer, std::span<const TablePushView> tables,
                                       const PushOptions& options = {});
  void PushAsync(Producer& producer, const std::vector<TablePush>& tables, PushCallback done,
                 const PushOptions& options = {});
  void PushAsync(Producer& producer, std::span<const TablePushView> tables, PushCallback done,
                 const PushOptions& options = {});
  // The same under a sequence that the caller chose (a minibatch's number), for attached producers:
  // ascending; a sequence that failed may be pushed again, and after Producer::Rewind all from recorded() on.
  std::future<Result<PushResult>> PushAt(Producer& producer, Sequence sequence,
                                         const std::vector<TablePush>& tables,
                                         const PushOptions& options = {});
  std::future<Result<PushResult>> PushAt(Producer& producer, Sequence sequence,
                                         std::span<const TablePushView> tables,
                                         const PushOptions& options = {});
  void PushAtAsync(Producer& producer, Sequence sequence, const std::vector<TablePush>& tables,
                   PushCallback done, const PushOptions& options = {});
  void PushAtAsync(Producer& producer, Sequence sequence, std::span<const TablePushView> tables,
                   PushCallback done, const PushOptions& options = {});

  // A push that brings back the rows that it pushed, in one round trip: as they are once it has been applied,
  // pushes of others in between included. What is pulled is written until the call is answered; after an
  // error it is undefined.
  std::future<Result<PushResult>> PushPull(Producer& producer, std::span<const TablePushPullView> tables,
                                           const PushOptions& options = {});
  void PushPullAsync(Producer& producer, std::span<const TablePushPullView> tables, PushCallback done,
                     const PushOptions& options = {});

  // Waits for the pushes that were begun before, then closes the lag of the shards they went to: after ok all
  // that were answered ok are logged on all copies. kOutcomeUnknown: a shard was restarted before a push of
  // level memory was logged, and may have lost it.
  Status Flush(uint64_t deadline_ms = 0);

  // Asks every server to fold its log into the base now, and does not wait for the end of that. Servers fold
  // by themselves when their logs have grown; this is for measurements and for maintenance.
  Status Fold(uint64_t deadline_ms = 0);

  // Sync jobs: closes a round of tables that accumulate on all shards, where each row that the round touched
  // takes one optimizer step on its sums / examples, at `step` of the tables' schedules. Ok: all shards have
  // logged it. May be repeated; a round that a shard has committed changes nothing there.
  Status CommitRound(const std::vector<TableId>& tables, uint64_t round, uint64_t examples, uint64_t step,
                     uint64_t deadline_ms = 0);
  // By worker: the highest of all cores.
  Result<std::vector<WorkerClock>> Clocks(TableId table, uint64_t deadline_ms = 0);

  // Applies the table's rules of expiry on all shards now; ok: the deletions are logged. Dry run: only
  // counts. kFailedPrecondition: the table has none.
  Result<ExpiryReport> Expire(TableId table, bool dry_run, uint64_t deadline_ms = 0);

  // One entry per table of the call, in its order.
  Result<std::vector<TableStats>> Stats(const std::vector<TableId>& tables, uint64_t deadline_ms = 0);

  // The scheduler, for tools. What each `what` answers is described in proto/control.capnp.
  Result<nlohmann::json> Inspect(const std::string& what, const std::string& name = "");
  Result<uint32_t> SubmitJob(
      const nlohmann::json& job);  // the job's id; sent once, as submitting is not repeatable
  Status CancelJob(uint32_t job);
  // No more of its partitions are worked on until ResumeJob. Both may be repeated.
  Status PauseJob(uint32_t job);
  Status ResumeJob(uint32_t job);
  Status AcceptLoss(ShardId shard);
  // How many servers shall hold each shard, and with how few in sync pushes go on.
  Status SetCopies(uint32_t copies, uint32_t min_copies);
  // Of the last in-sync copies of a shard that nobody serves, that of `node` goes on.
  Status ForceShard(ShardId shard, NodeId node);

  // For processes of Penstock's own that talk to the scheduler on this client's thread (loop_call.h). Both
  // live as long as the client; the link belongs to the loop's thread.
  KjLoop& loop();
  SchedulerLink& scheduler();

 private:
  class Impl;
  explicit Client(std::unique_ptr<Impl> impl);
  // `pulled`: of each table, where its rows go; empty for a push that brings none back.
  void PushWith(Producer& producer, std::span<const TablePushView> tables,
                std::vector<std::span<float>> pulled, PushCallback done, PushOptions options,
                absl::AnyInvocable<Result<Sequence>(ProducerWindow&)> begin);
  std::unique_ptr<Impl> impl_;
};

}  // namespace penstock
