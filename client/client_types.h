// What goes into the calls of Client and Admin, and what comes out: options, batches of rows and reports.
//
// Values. Views refer to memory of the caller's.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "common/base/ids.h"
#include "common/cluster/codec.h"

namespace penstock {

struct ClientOptions {
  std::string scheduler;         // "host:port", or the path (with a '/') of a file whose first line is that
  std::string token_file;        // of a client, or an operator; empty: `token` is used
  std::string token;             // empty: none, for clusters on loopback without one
  std::string name = "client";   // for the peers' logs and errors: 1 to 64 printable ASCII characters
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

// `stored`: where PullOptions::stored asks, one per TableKeys of the call, a byte a key: 1 for a row that is
// stored, 0 for one that has its table's initial value, because it was never pushed, is not admitted yet or
// has expired. Else empty.
struct PullResult {
  std::vector<std::vector<float>>
      values;  // one per TableKeys of the call: [keys.size(), dim] in the order of its keys
  std::vector<std::vector<uint8_t>> stored;
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

// Rows of a table that a push went to, on its shards: how often steps have left values or optimizer state
// that are NaN or infinite since the servers took the shards up, and the last such row. No further push mends
// them.
struct NotFiniteInTable {
  TableId table = 0;
  uint64_t rows = 0;
  Key key = 0;
};

struct PushResult {
  Sequence sequence = 0;
  std::vector<PushedUnit> units;
  std::vector<NotFiniteInTable> not_finite;  // tables with such rows; none of those that allow them
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
  uint64_t rewind = 0;  // rewind number of the lease that it is pushed under; 0: none, not checked
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
  bool stored = false;         // say which rows are stored (PullResult). Not with PullInto: kInvalidArgument
};

// What pushes into a table carried, as the servers saw it (proto/data.capnp, WorkerClock).
struct WorkerClock {
  uint32_t worker = 0;  // node id
  uint64_t clock = 0;   // the latest
  uint64_t lead = 0;    // the most that it was ever ahead of another one
};

}  // namespace penstock
