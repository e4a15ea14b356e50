#include "server/replica/seed.h"

namespace penstock {
namespace {

constexpr size_t kPieceBytes = size_t{1} << 20;
constexpr size_t kBaseRows = 4096;  // read at a time

}  // namespace

Seed::Seed(ServerCore& core, ShardId shard)
    : core_(core), shard_(shard), incarnation_(core.ServedShard(shard)->incarnation()) {
  Shard* served = FindShard();
  tables_ = served->TableIds();
  served->BeginSeed();
}

Seed::~Seed() {
  if (Shard* shard = FindShard()) shard->EndSeed();
}

Shard* Seed::FindShard() const {
  Shard* shard = core_.ServedShard(shard_);
  return shard != nullptr && shard->incarnation() == incarnation_ ? shard : nullptr;
}

void Seed::NextTable() {
  tables_.pop_back();
  cursor_ = {};
  loading_ = in_base_ = false;
  next_key_ = 0;
}

kj::Promise<Result<bool>> Seed::Fill(SeedPiece* piece, Take take) {
  while (!tables_.empty() && piece->bytes == 0) {
    Shard* shard = FindShard();
    if (shard == nullptr) return Result<bool>(Status(Code::kCancelled, "the shard is not served any more"));
    if (in_base_) return FillFromBase(piece, std::move(take));
    // Rows that come into memory meanwhile may come to where the cursor has been.
    loading_ |= shard->Loading(tables_.back());
    const auto done = shard->CollectRows(tables_.back(), &cursor_, kPieceBytes, piece);
    if (!done.ok()) {
      NextTable();  // it was dropped, which a delta says
    } else if (*done && (loading_ || shard->HadColdRows(tables_.back()))) {
      in_base_ = true;
    } else if (*done) {
      NextTable();
    }
  }
  const bool filled = piece->bytes > 0;
  if (filled) take();
  return Result<bool>(filled);
}

// What was read is as new as the shard if no fold has ended meanwhile: a row that is not in memory now can
// have left it since only as it was read.
kj::Promise<Result<bool>> Seed::FillFromBase(SeedPiece* piece, Take take) {
  const TableId table = tables_.back();
  return core_
      .ReadBase([incarnation = incarnation_, table, first = next_key_](const BaseStore& base) {
        return base.Scan(incarnation, table, first, kBaseRows);
      })
      .then([this, table, piece, take = std::move(take),
             folds = core_.folds()](Result<StoredRows>&& rows) mutable -> kj::Promise<Result<bool>> {
        if (!rows.ok()) return Result<bool>(rows.status());
        Shard* shard = FindShard();
        if (shard == nullptr || core_.folds() != folds) return Fill(piece, std::move(take));
        rows_ = std::move(*rows);
        for (size_t i = 0; i < rows_.size(); ++i) {
          const BaseRow row = rows_.row(i);
          shard->CollectBaseRow(table, row.key, {row.push_count, row.flags}, row.floats, piece);
        }
        next_key_ = rows_.next().value_or(0);
        if (!rows_.next()) NextTable();
        return Fill(piece, std::move(take));
      });
}

}  // namespace penstock
