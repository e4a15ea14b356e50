#include "server/replica/seed.h"

namespace penstock {

Seed::Seed(const ReplicaShards& shards, ShardId shard, const SeedOptions& options)
    : shards_(shards),
      shard_(shard),
      options_(options),
      incarnation_(shards.FindReplica(shard)->incarnation()) {
  Shard* served = FindShard();
  tables_ = served->TableIds();
  served->BeginSeed();
}

Seed::~Seed() {
  if (Shard* shard = FindShard()) shard->EndSeed();
}

Shard* Seed::FindShard() const {
  ShardReplica* replica = FindServed(shards_, shard_);
  return replica != nullptr && replica->incarnation() == incarnation_ ? &replica->shard() : nullptr;
}

void Seed::NextTable() {
  tables_.pop_back();
  cursor_ = {};
  loading_ = in_base_ = false;
  next_key_ = 0;
}

Result<Seed::Step> Seed::Fill(SeedPiece* piece) {
  while (!tables_.empty() && piece->bytes == 0) {
    Shard* shard = FindShard();
    if (shard == nullptr) return Status(Code::kCancelled, "the shard is not served any more");
    if (in_base_) {
      folds_ = shards_.folds();
      return Step::kNeedsBase;
    }
    // Rows that come into memory meanwhile may come to where the cursor has been.
    loading_ |= shard->Loading(tables_.back());
    const auto done = shard->CollectRows(tables_.back(), &cursor_, options_.piece_bytes, piece);
    if (!done.ok()) {
      NextTable();  // it was dropped, which a delta says
    } else if (*done && (loading_ || shard->HadColdRows(tables_.back()))) {
      in_base_ = true;
    } else if (*done) {
      NextTable();
    }
  }
  return piece->bytes > 0 ? Step::kFilled : Step::kDone;
}

// What was read is as new as the shard if no fold has ended meanwhile: a row that is not in memory now can
// have left it since only as it was read. Else it is read again.
Result<Seed::Step> Seed::TakeBase(Result<StoredRows> rows, SeedPiece* piece) {
  if (!rows.ok()) return rows.status();
  Shard* shard = FindShard();
  if (shard == nullptr || shards_.folds() != folds_) return Fill(piece);
  rows_ = std::move(*rows);
  for (size_t i = 0; i < rows_.size(); ++i) {
    const BaseRow row = rows_.row(i);
    shard->CollectBaseRow(tables_.back(), row.key, {row.push_count, row.flags}, row.floats, piece);
  }
  next_key_ = rows_.next().value_or(0);
  if (!rows_.next()) NextTable();
  return Fill(piece);
}

}  // namespace penstock
