// Seed: which rows come next in the pieces that bring one copy all that a shard holds (proto/delta.capnp,
// rule 23): those in memory, table by table, then those that only the base has. Rows change meanwhile; the
// deltas that say so go to the copy between the pieces.
//
// Pure: what the base holds is read by the caller. replication.h asks for the next piece when there is room
// to send it.
#pragma once

#include <optional>
#include <vector>

#include "server/replica/replica_shards.h"
#include "server/storage/base_store.h"

namespace penstock {

struct SeedOptions {
  size_t piece_bytes = size_t{1} << 20;
  size_t base_rows = 4096;  // read at a time
};

class Seed {
 public:
  // The shard is served.
  Seed(const ReplicaShards& shards, ShardId shard, const SeedOptions& options);
  ~Seed();
  Seed(const Seed&) = delete;

  enum class Step {
    kFilled,     // the piece has rows; the pointers in it are good until shard or seed are touched again
    kNeedsBase,  // ReadBase, then TakeBase
    kDone,       // there are no more rows
  };
  // Adds rows to the piece, which has none yet. kCancelled: the shard is served no more.
  Result<Step> Fill(SeedPiece* piece);

  // What BaseStore::Scan is to be asked.
  struct BaseRange {
    Incarnation incarnation = 0;
    TableId table = 0;
    Key first = 0;
    size_t rows = 0;
  };
  BaseRange ReadBase() const { return {incarnation_, tables_.back(), next_key_, options_.base_rows}; }
  // What it has said to that; goes on as Fill.
  Result<Step> TakeBase(Result<StoredRows> rows, SeedPiece* piece);

 private:
  Shard* FindShard() const;
  void NextTable();

  const ReplicaShards& shards_;
  const ShardId shard_;
  const SeedOptions options_;
  const Incarnation incarnation_;
  std::vector<TableId> tables_;  // those that are left, the present one last
  Shard::RowCursor cursor_;
  bool loading_ = false;  // the present table was Shard::Loading when it began
  bool in_base_ = false;  // its rows in memory are done
  Key next_key_ = 0;
  uint64_t folds_ = 0;  // when the base was asked
  StoredRows rows_;
};

}  // namespace penstock
