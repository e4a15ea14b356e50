# The delta: what one commit window changed in one shard. It is the only change format: it is written to the log,
# folded into the base, sent to backups, and (in later versions) to moves, checkpoints and followers. Its bytes are the same on every copy:
# which life of the shard on a node it belongs to is said beside it.
@0xc7b0a5d1e2f34a02;
using Cxx = import "/capnp/c++.capnp";
$Cxx.namespace("penstock::proto");

const deltaFormat :UInt16 = 2;

struct Delta {
  # Integers little-endian; every Data below is a packed array without padding between elements.
  format @0 :UInt16;          # deltaFormat
  cluster @1 :UInt64;         # id of the cluster; a delta of another cluster is damage
  shard @2 :UInt32;
  piece @3 :UInt64;           # 0: a delta. From 1: a piece of a seed, see below
  epoch @4 :UInt64;
  lsn @5 :UInt64;             # exactly previousLsn + 1, except in the first delta of an epoch, which may skip
  previousLsn @6 :UInt64;     # the delta that this one follows; 0: the shard was empty
  previousChecksum @7 :UInt32;  # CRC-32C of that delta's serialized bytes; 0 when previousLsn is 0
  firstOfEpoch @8 :Bool;
  tables @9 :List(TableDelta);
  forgetFloor @10 :UInt64;    # producer ids below it are forgotten and refused
  seeded @11 :Bool;           # the last piece of a seed
  ledSince @12 :UInt64;       # the first epoch of the primary that built it, which has led without a break since
  heldUpTo @13 :UInt64;       # the units that this primary told an lsn of at most this one are in this delta and those before it. Less than
                              # lsn where a table's units wait for a later delta (rule 2). Both 0 in deltas of older versions

  # A seed brings a copy what the shard holds, while the deltas go on. Its pieces stand between deltas, in the order in which they were made:
  # images of rows as they were then, which later deltas and pieces replace. A piece takes no lsn: lsn and previousLsn both name the delta
  # before it, and previousChecksum that one's. The first piece begins the copy's chain there. The last one follows a delta that left nothing
  # unlogged and brings the full marks of all tables: from it on the copy holds exactly what the primary held at that lsn. A copy without
  # it is no copy yet.
}

struct TableDelta {
  table @0 :UInt32;
  layout @1 :UInt16;          # version of the row layout below: 1
  dropped @2 :Bool;           # the table was dropped: all its rows and marks are gone; nothing else is set
  dim @3 :UInt32;             # values a row
  slots @4 :UInt32;           # optimizer slots a row, in floats: at most 2 * dim (TableSpec::slots)
  sections @5 :UInt16;        # bit 0: values, bit 1: slots, bit 2: accumulator. An entry with bit 2 has bits 0 and 1 as well.
  keys @6 :Data;              # uint64 each
  headers @7 :Data;           # RowHeader each: pushCount uint32, flags uint32 (none is defined yet)
  images @8 :Data;            # after-images: float32 of the sections each, in the order of keys
  deletions @9 :Data;         # uint64 keys of deleted rows
  marks @10 :List(ProducerMarks);  # producers whose marks advanced since the last delta of this table
  full @11 :Bool;             # marks is the table's whole set and replaces what was known (in the base's meta)
  openRound @12 :UInt64;      # tables that accumulate: the round of the open accumulators; 0: none is open
  committedRound @13 :UInt64; # the last round that was committed; both are the present state, in every entry of the table
}

struct ProducerMarks {
  # Which sequences of a producer this table of this shard has applied: all below `low`, and those listed.
  producer @0 :UInt64;
  low @1 :UInt64;
  applied @2 :List(UInt64);   # at or above low, ascending. In a delta: those newly applied; with `full`: all
  finished @3 :Bool;          # every further unit of these producers is refused: ids producer .. low (low below producer: only that id)
  complete @4 :Bool;          # with `finished`: not refused, but applied already, as is all that they will ever push
}

struct ShardMeta {
  # What the base knows of a shard: written by the fold beside the rows it covers.
  format @0 :UInt16;          # deltaFormat
  cluster @1 :UInt64;
  shard @2 :UInt32;
  incarnation @3 :UInt64;
  epoch @4 :UInt64;           # of the last folded delta
  lsn @5 :UInt64;             # folded lsn
  checksum @6 :UInt32;        # CRC-32C of the last folded delta
  tables @7 :List(TableDelta);  # full marks, dim, slots and layout of every table; no keys, headers or images
  forgetFloor @8 :UInt64;
  pieces @9 :UInt64;          # of a seed that has not ended: pieces folded so far; 0: the copy is complete
  ledSince @10 :UInt64;       # as of the last folded delta
  heldUpTo @11 :UInt64;
}
