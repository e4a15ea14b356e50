// What goes over the simulated network: the calls of proto/data.capnp, replica.capnp and control.capnp as
// plain values.
#pragma once

#include <vector>

#include "common/cluster/table_spec.h"
#include "scheduler/node/control_plane.h"
#include "server/replica/shard_replica.h"

namespace penstock::sim {

using UnitNumber = uint64_t;  // of all units of a run, from 1

// The row that only this unit has, and the lsn that its push was told.
struct UnitProof {
  TableId table = 0;
  Key key = 0;
  Lsn lsn = 0;
};

struct PushRequest {
  UnitNumber number = 0;
  UnitContext unit;
  TableId table = 0;
  ShardId shard = 0;
  Epoch epoch = 0;
  std::vector<Key> keys;
  std::vector<float> values;  // of tables with dim 1
};
struct PushAnswer {
  Status status;
  Epoch epoch = 0;
  Lsn lsn = 0, logged = 0;
  HeldBefore held;
};

struct ReplicaSection {
  ReplicaRef ref;
  DeltaWords words;
  uint32_t checksum = 0;
};
struct ReplicaRequest {
  std::vector<ReplicaSection> sections;
  bool sync = false;
};
struct ReplicaAnswers {
  Status status;
  std::vector<ReplicaAnswer> states;
};

struct RegisterReply {
  Status status;
  RegisterAnswer answer;
  uint64_t term = 0;
  std::vector<TableSpec> tables;
};
struct HeartbeatReply {
  Status status;
  HeartbeatAnswer answer;
  uint64_t term = 0;
  ProducerId forget_floor = 0;
  std::vector<TableSpec> tables;
};
struct MapReply {
  Status status;
  ShardMap map;
};
struct GivenPartition {
  JobId job = 0;
  uint32_t partition = 0, pass = 0;
  LeaseToken token = 0;
  ProducerId producer = 0;
  uint64_t begin = 0, rewind = 0;
};
struct LeaseReply {
  Status status;
  std::vector<GivenPartition> given;
  std::vector<TableSpec> tables;  // of the job: its weights, its ledger
};
struct ReportReply {
  Status status;
  std::vector<Status> lines;
};

}  // namespace penstock::sim
