// Seed: the pieces that bring one copy all rows that a shard holds (proto/delta.capnp, rule 23): those in
// memory, table by table, then those that only the base has. Rows change meanwhile; the deltas that say so go
// to the copy between the pieces.
//
// Lives on the core's loop. replicator.h asks for the next piece when there is room to send it.
#pragma once

#include <vector>

#include "server/node/core.h"

namespace penstock {

class Seed {
 public:
  // The shard is served by the core.
  Seed(ServerCore& core, ShardId shard);
  ~Seed();
  Seed(const Seed&) = delete;

  // Adds rows to the piece; one without any means that there are no more. The pointers in it are good until
  // this or the shard is touched again. kCancelled: the shard is served no more.
  kj::Promise<Status> Fill(SeedPiece* piece);

 private:
  kj::Promise<Status> FillFromBase(SeedPiece* piece);
  Shard* FindShard() const;
  void NextTable();

  ServerCore& core_;
  const ShardId shard_;
  const Incarnation incarnation_;
  std::vector<TableId> tables_;  // those that are left, the present one last
  Shard::RowCursor cursor_;
  bool loading_ = false;  // the present table was Shard::Loading when it began
  bool in_base_ = false;  // its rows in memory are done
  Key next_key_ = 0;
  StoredRows rows_;
};

}  // namespace penstock
