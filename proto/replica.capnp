# Server to server: how the primary of a shard keeps its backups (rules 18 to 20).
#
# A core of a server calls this on the core port of another server that follows shards of it. `attach` says where a copy stands, `append` brings
# deltas and pieces of a seed in order. Calls of one sender on one connection are handled in the order in which they were sent.
#
# Every call names the sender's epoch of each shard. A copy refuses an epoch below the highest it has seen (wrongEpoch) and adopts a higher
# one, so a primary that was superseded gets no further confirmation.
@0xc7b0a5d1e2f34a06;
using Cxx = import "/capnp/c++.capnp";
$Cxx.namespace("penstock::proto");
using Common = import "common.capnp";

struct ReplicaRef {
  shard @0 :UInt32;
  epoch @1 :UInt64;
  incarnation @2 :UInt64;  # of the copy, on its node; another one is failedPrecondition
}

struct ReplicaState {
  # Where a copy stands.
  code @0 :Common.Code;
  message @1 :Text;        # set only with an error
  epoch @2 :UInt64;        # with wrongEpoch: the highest that it has seen
  complete @3 :Bool;       # it is seeded; false: it holds nothing, or a part of a seed, and begins with the first piece
  lsn @4 :UInt64;          # of the last delta that it holds, and its checksum
  checksum @5 :UInt32;
  logged @6 :UInt64;       # lsns that it has logged and synced
  synced @7 :UInt64;
  pieces @8 :UInt64;       # of a seed that has not ended: so many are held
  noRoom @9 :Bool;         # what it takes goes over its memory budget or its log's limit
}

struct ReplicaSection {
  replica @0 :ReplicaRef;
  delta @1 :Data;          # a flat message: proto::Delta. 8-byte aligned, read in place
  checksum @2 :UInt32;     # CRC-32C of it
}

interface Replica {
  attach @0 (replicas :List(ReplicaRef)) -> (status :Common.Status, states :List(ReplicaState));
  # By a primary after it has connected. Safe to repeat.

  append @1 (sections :List(ReplicaSection), sync :Bool) -> (status :Common.Status, states :List(ReplicaState));
  # By a primary: the sections of one of its windows, or pieces of seeds. Answered when they are logged (`sync`: and synced). A delta that the
  # copy holds already is ok; one that does not follow is dataLoss. An error of the status concerns all sections.

  digest @2 (shard :UInt32) -> (status :Common.Status, lsn :UInt64, rows :UInt64, hash :UInt64);
  # What the copy (or primary) holds as of the lsn: equal for copies with equal contents. It reads all rows: for checks, not for every day.
}

interface CorePort extends(import "data.capnp".DataPlane, Replica) {}
# What a core of a server offers on its port.
