// Seed: the pieces that bring one copy all rows that a shard holds (proto/delta.capnp, rule 23): those in
// memory, table by table, then those that only the base has. Rows change meanwhile; the deltas that say so go
// to the copy between the pieces.
//
// Lives on the core's loop. replicator.h asks for the next piece when there is room to send it.
#pragma once

#include <functional>
#include <vector>

#include "server/node/core.h"

namespace penstock {

class Seed {
 public:
  // The shard is served by the core.
  Seed(ServerCore& core, ShardId shard);
  ~Seed();
  Seed(const Seed&) = delete;

  // Adds rows to the piece and calls `take` at once: the pointers in it are good until the shard is touched
  // again. False, without the call: there are no more rows. kCancelled: the shard is served no more.
  using Take = std::function<void()>;
  kj::Promise<Result<bool>> Fill(SeedPiece* piece, Take take);

 private:
  kj::Promise<Result<bool>> FillFromBase(SeedPiece* piece, Take take);
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
