# The data plane: what clients call on the servers' core ports.
#
# Keys are uint64 and values what their table's codec says (float32, or bf16), packed little-endian and 8-byte aligned; those that are
# float32 are read and written in place.
# Tables of one call are lists of groups: all keys of one shard, in the shard's current epoch as the caller knows it. The keys of
# a table are those of its first group, then of its second, and so on.
# A group with a wrong epoch fails alone; the caller refreshes its shard map (or adopts the epoch in the answer) and sends that
# group again, alone. Limits (list sizes, unit bytes, row bytes) are checked before any loop.
#
# The shard of a key, with shards a power of two (all arithmetic modulo 2^64):
#   x = key + (table + 1) * 0x9e3779b97f4a7c15
#   x = (x ^ x >> 30) * 0xbf58476d1ce4e5b9
#   x = (x ^ x >> 27) * 0x94d049bb133111eb
#   shard = (x ^ x >> 31) >> (64 - log2(shards))
# A group with a key of another shard is refused as a whole (invalidArgument), in pushes and in pulls.
#
# One call has at most 4096 tables and 65536 groups, and the values of its answer at most 112 MiB. One about whole shards has at most
# 2^20 pairs of a table and a shard.
@0xc7b0a5d1e2f34a04;
using Cxx = import "/capnp/c++.capnp";
$Cxx.namespace("penstock::proto");
using Common = import "common.capnp";

struct Group {
  shard @0 :UInt32;
  epoch @1 :UInt64;
  count @2 :UInt32;      # rows of this group, at least 1
}

struct GroupResult {
  code @0 :Common.Code;
  retryAfterMs @1 :UInt32;
  epoch @2 :UInt64;      # with wrongEpoch: the one the server knows (0: none). Otherwise the group's
  lsn @3 :UInt64;        # push: the delta that holds the unit (rule 14: for a duplicate, the one that the open window gets). pull: last lsn
  logged @4 :UInt64;     # the shard's deltas up to here are logged on all copies
  message @5 :Text;      # set only with an error
  ledSince @6 :UInt64;   # from this epoch to the present one the same primary has led: all units that it was given are here. 0: not said
  heldFrom @7 :UInt64;   # of these epochs, which an earlier primary led, inclusive,
  heldTo @8 :UInt64;
  heldUpTo @9 :UInt64;   # the units that were told an lsn of at most this one are here. Of others nothing is said (rule 35)
}

struct PullRequest {
  tables @0 :List(Table);
  struct Table {
    table @0 :UInt32;
    groups @1 :List(Group);
    keys @2 :Data;       # uint64 each
    codec @3 :Common.Codec;  # of the answer's values
  }
  stored @1 :Bool;       # say as well which rows are stored
}

struct PullResponse {
  tables @0 :List(Table);   # as in the request
  struct Table {
    groups @0 :List(GroupResult);
    values @1 :Data;        # [dim] each, of the groups with code ok, in order
    stored @2 :Data;        # where the request said stored: for row i of those, bit i % 8 (from the lowest) of byte i / 8 is 1 when it
                            # is stored and 0 when its values are initial. The last byte is filled with 0
  }
}

struct PushRequest {
  # One or more units: a unit is all rows of one (table, shard) in one (producer, sequence).
  producer @0 :UInt64;
  sequence @1 :UInt64;
  low @2 :UInt64;          # every sequence below it is finished everywhere (rule 13)
  clock @3 :UInt64;        # the clock that this push takes its worker to, from 1; 0 outside jobs
  round @4 :UInt64;        # sync jobs: the round whose accumulators the values (sums over examples) go into, from 1; 0 elsewhere
  step @5 :UInt64;         # optimizer step of the job, from 1, for schedules; 0: the row's own count of pushes
  tables @6 :List(Table);
  worker @7 :UInt32;       # node id of the worker whose clock it is; 0 outside jobs
  pass @8 :UInt32;         # pass of the job, from 1, for expiry.unused_passes; 0 outside jobs
  pull @9 :Bool;           # answer with the rows as well
  rewind @10 :UInt64;      # rewind number of the lease that it is pushed under; 0 outside jobs: not checked
  struct Table {
    table @0 :UInt32;
    groups @1 :List(Group);
    keys @2 :Data;
    values @3 :Data;       # [dim] each: gradient, increment or value, as the table's optimizer takes it
    codec @4 :Common.Codec;  # of these values, and of the answer's
  }
}

struct PushResponse {
  tables @0 :List(Table);
  struct Table {
    groups @0 :List(GroupResult);
    values @1 :Data;       # where the request said pull: [dim] of each of its rows, in its order, as they are when the unit has
                           # been applied (a duplicate: as they are now). Of groups with an error: zeros
    notFiniteRows @2 :UInt64;  # of the table's rows on the shards of the groups: how often a step has left values or optimizer state that
                           # are NaN or infinite, since those shards were taken up; 0 for tables that allow them
    notFiniteKey @3 :UInt64;   # the last of them
  }
}

struct ShardRef {
  shard @0 :UInt32;
  epoch @1 :UInt64;
}

struct TableStats {
  table @0 :UInt32;
  rows @1 :UInt64;          # rows that were pushed at least once
  bytes @2 :UInt64;         # memory of rows and index
  sumSquares @3 :Float64;   # over the values of those rows
  sumAbs @4 :Float64;
  nonZero @5 :UInt64;
}

struct ExpiryTally {
  rows @0 :UInt64;          # looked at
  ttl @1 :UInt64;           # due, by the first rule that says so; deleted unless it was a dry run
  unusedPasses @2 :UInt64;
  minNorm @3 :UInt64;
}

interface DataPlane {
  pull @0 (request :PullRequest) -> (status :Common.Status, response :PullResponse);
  # Any client, any time; safe to repeat. A row that was never pushed, is not admitted yet or has expired is not stored: it has its
  # table's initial value.

  push @1 (request :PushRequest) -> (status :Common.Status, response :PushResponse);
  # Any client. Answered when every unit's table level is reached (memory, logged, synced). Repeat with identical producer, sequence
  # and contents after a lost answer: a unit that was applied is answered as applied and not applied again.
  # A status other than ok means that nothing of the call was applied. cancelled (of a group): the job has been rewound since the lease of
  # this push was given; give the lease up.

  flush @2 (shards :List(ShardRef)) -> (status :Common.Status, shards :List(GroupResult));
  # Closes the lag at once: answered when everything applied before the call is logged on all copies.

  stats @3 (tables :List(UInt32), shards :List(ShardRef)) -> (status :Common.Status, shards :List(GroupResult), stats :List(TableStats));
  # Sums over the named shards of this server, one entry a table.

  commitRound @4 (round :UInt64, examples :UInt64, step :UInt64, tables :List(UInt32), shards :List(ShardRef), rewind :UInt64)
      -> (status :Common.Status, shards :List(GroupResult));
  # By a worker of a sync job whom the scheduler told to, after every minibatch of the round was logged on all shards. Each row of the tables
  # with an open accumulator takes one optimizer step on sum / examples. Answered when the commit is logged. A round that a shard has
  # committed already is ok and changes nothing, so the call may be repeated by anybody. `rewind` as in a push.

  expire @5 (table :UInt32, dryRun :Bool, shards :List(ShardRef), run :UInt64)
      -> (status :Common.Status, shards :List(GroupResult), rows :UInt64, expired :UInt64, tallies :List(ExpiryTally));
  # By an operator: applies the table's expiry rules at once to the named shards (dryRun: only counts). `rows` and `expired` are the sums of
  # `tallies`, which has one entry a shard, in their order. A shard is ok when its deletions are logged. Answered after about two seconds at
  # the latest: a shard that is not finished then is unavailable with a short delay, and a call with the same `run`, a number that the caller has
  # drawn, goes on with the scan. Safe to repeat. failedPrecondition: the table has no rules.

  clocks @6 (table :UInt32) -> (status :Common.Status, clocks :List(WorkerClock));
  # What pushes into the table have carried, as this core saw it, by worker.

  fold @7 () -> (status :Common.Status);
  # Asks the server for a fold of all that this core has applied so far, and does not wait for its end. Ok as well when one is under way, which
  # may have begun without the latest. Safe to repeat. overloaded: the log cannot be written now.
}

struct WorkerClock {
  worker @0 :UInt32;        # node id
  clock @1 :UInt64;         # the latest
  lead @2 :UInt64;          # the most that it was ever ahead of the slowest of the others that pushed since it began
}
