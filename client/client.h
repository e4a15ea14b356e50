// Client: the library that C++ programs attach to a Penstock cluster with: tables, pulls and pushes. What an
// operator asks of a cluster is in client/admin.h.
//
//   ClientOptions options;
//   options.scheduler = "127.0.0.1:7070";
//   auto client = Client::Connect(options);  // Result<std::unique_ptr<Client>>
//   auto table = (*client)->CreateTable({.name = "user", .dim = 16});
//   auto rows = (*client)->Pull(table->id, {17, 4711});             // [2, 16]
//   auto pushed = (*client)->Push(table->id, {17}, gradient);       // [1, 16]
//
// These two wait. Several tables in one call, several calls on their way, callbacks and memory of one's own
// are had with the others:
//
//   auto producer = (*client)->NewProducer();
//   auto coming = (*client)->Pull({{table->id, {17, 4711}}});       // a future; values[0] is [2, 16]
//   auto going = (*client)->Push(**producer, {{table->id, {17}, gradient}});
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
//   kNotFound            the table was dropped, or there is none of that name
//   kUnavailable         (pull, scheduler calls) not reachable until the deadline; the message names node,
//                        endpoint and shard
//   kDeadlineExceeded    time ran out, and no part of a push had any effect
//   kOutcomeUnknown      time ran out or the producer was forgotten half-way, and parts of a push were or may
//                        have been applied. Push the same contents under the same sequence again (PushAt on
//                        an attached producer), or give it up
//   kOverloaded          too many sequences in flight (65,536 from the lowest unfinished one): wait for
//                        answers
//   kUnknownProducer     the cluster has forgotten the producer's id, and no part of the push was applied:
//                        push it under a new one
//   kDataLoss            a shard is quarantined: an operator must act
//   kFailedPrecondition  the producer is rewound (see Producer), or the state of the cluster forbids it
//   kCancelled           the client is being destroyed, or the lease of a push has ended
//                        (PushOptions::rewind)
// A push that ends in an error other than these two (kDeadlineExceeded, kUnknownProducer) may have been
// applied in part; its message says how many units were. A unit is all rows of one (table, shard) in one
// push, and is applied once or not at all, however often it had to be sent.
#pragma once

#include <absl/functional/any_invocable.h>

#include <cstdint>
#include <future>
#include <memory>
#include <mutex>
#include <span>
#include <string>
#include <vector>

#include "client/client_types.h"
#include "client/producer.h"
#include "common/base/ids.h"
#include "common/base/status.h"
#include "common/cluster/table_spec.h"

namespace penstock {

class Caller;
class KjLoop;
class SchedulerLink;

using PullCallback = absl::AnyInvocable<void(Result<PullResult>)>;
using DoneCallback = absl::AnyInvocable<void(Status)>;
using PushCallback = absl::AnyInvocable<void(Result<PushResult>)>;

class Client {
 public:
  // Reads the token, connects to the scheduler and gets the shard map, within connect_timeout_ms.
  // kUnavailable: no scheduler there, or its name cannot be resolved (the address is named);
  // kDeadlineExceeded: it is there and does not answer; kPermissionDenied: another cluster, another version
  // or a wrong token; kInvalidArgument: an option.
  static Result<std::unique_ptr<Client>> Connect(const ClientOptions& options);
  // Calls that are pending complete with kCancelled before it returns.
  ~Client();
  Client(const Client&) = delete;
  Client& operator=(const Client&) = delete;

  const ClientOptions& options() const;
  uint64_t cluster() const;      // the cluster's id
  uint32_t shard_count() const;  // fixed when the cluster was made

  // Tables. Create of an existing name with an equal spec (id aside) is ok and answers that table; another
  // spec is kAlreadyExists, and the message names what differs. Pull and Push take tables that this client
  // has created or opened.
  Result<TableSpec> CreateTable(const TableSpec& spec);
  Result<TableSpec> OpenTable(const std::string& name);
  Status DropTable(const std::string& name);

  // The small case: one table, keys that need not be sorted or unique, and the calling thread waits. Codes as
  // above.
  //
  // The rows of the keys in their order: [keys.size(), dim], row-major. A row that was never pushed has its
  // table's initial value.
  Result<std::vector<float>> Pull(TableId table, const std::vector<Key>& keys, uint64_t deadline_ms = 0);
  // Pushes [keys.size(), dim] values as the table's optimizer takes them, under a producer of the client's
  // own, which is asked for at the first push; answered when the table's level is reached. When the cluster
  // has forgotten that producer and nothing was applied, the push goes on under a new one.
  Result<PushResult> Push(TableId table, const std::vector<Key>& keys, const std::vector<float>& values,
                          uint64_t deadline_ms = 0);

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

  // Sync jobs: closes a round of tables that accumulate on all shards, where each row that the round touched
  // takes one optimizer step on its sums / examples, at `step` of the tables' schedules. Ok: all shards have
  // logged it. May be repeated; a round that a shard has committed changes nothing there.
  // `rewind` as in PushOptions.
  Status CommitRound(const std::vector<TableId>& tables, uint64_t round, uint64_t examples, uint64_t step,
                     uint64_t rewind, uint64_t deadline_ms = 0);
  // For processes of Penstock's own that talk to the scheduler on this client's thread (loop_call.h). Both
  // live as long as the client; the link belongs to the loop's thread.
  KjLoop& loop();
  SchedulerLink& scheduler();
  // On the loop's thread, for them as well: DispatchFsm::Waits.
  std::string Waits(uint64_t for_ms);

 private:
  friend class Admin;
  explicit Client(std::unique_ptr<Caller> caller);
  // `pulled`: of each table, where its rows go; empty for a push that brings none back.
  void PushWith(Producer& producer, std::span<const TablePushView> tables,
                std::vector<std::span<float>> pulled, PushCallback done, PushOptions options,
                absl::AnyInvocable<Result<Sequence>(ProducerWindow&)> begin);
  // The client's own: made at first use, and anew when it is still the one that is not known any more.
  Result<std::shared_ptr<Producer>> OwnProducer(const std::shared_ptr<Producer>& unknown,
                                                uint64_t deadline_ms);

  std::unique_ptr<Caller> caller_;
  std::mutex own_mutex_;
  std::shared_ptr<Producer> own_;  // guarded by own_mutex_
};

}  // namespace penstock
