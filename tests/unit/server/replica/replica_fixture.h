// The shards of one core, for the tests of what keeps their copies.
#pragma once

#include <gtest/gtest.h>

#include <map>
#include <memory>
#include <string>
#include <vector>

#include "server/replica/replica_shards.h"

namespace penstock::replica_test {

inline constexpr TableId kTable = 1;

inline BackupGrant Backup(NodeId node, bool in_sync, Incarnation incarnation = 7) {
  return {.node = node,
          .name = "server-" + std::to_string(node),
          .incarnation = incarnation,
          .endpoint = "host:" + std::to_string(node),
          .in_sync = in_sync};
}

inline std::unique_ptr<Shard> MakeShard(ShardId id, Incarnation incarnation) {
  TableSpec spec{.id = kTable, .name = "t", .dim = 1};
  spec.optimizer.kind = OptimizerKind::kAdd;
  auto shard = std::make_unique<Shard>(ShardOptions{.cluster = 1, .shard = id, .incarnation = incarnation});
  EXPECT_TRUE(shard->CreateTable(spec).ok());
  return shard;
}

class TestShards final : public ReplicaShards {
 public:
  ShardReplica* FindReplica(ShardId shard) const override {
    const auto found = replicas_.find(shard);
    return found == replicas_.end() ? nullptr : found->second.get();
  }
  uint64_t folds() const override { return fold_count; }

  // Served by this node; another incarnation than before begins empty.
  ShardReplica& Serve(ShardId id, Incarnation incarnation, Epoch epoch, std::vector<BackupGrant> backups) {
    auto& replica = replicas_[id];
    if (replica == nullptr || replica->incarnation() != incarnation)
      replica = std::make_unique<ShardReplica>(MakeShard(id, incarnation), "server-1");
    const Grant grant{.shard = id,
                      .incarnation = incarnation,
                      .epoch = epoch,
                      .min_lsn = 0,
                      .min_copies = 1,
                      .backups = std::move(backups)};
    EXPECT_EQ(replica->TakeGrant(grant, 1).refused, "");
    return *replica;
  }
  // Rows of these keys change; the delta that says so, as the core gives it to the copies.
  TailDelta Change(ShardId id, const std::vector<Key>& keys, bool sync = false) {
    Shard& shard = FindReplica(id)->shard();
    const std::vector<float> values(keys.size(), 1);
    const auto pushed = shard.PushUnit({.producer = 1, .sequence = ++sequence_}, kTable, keys, values.data());
    EXPECT_TRUE(pushed.ok()) << pushed.status().ToString();
    auto built = shard.BuildDelta();
    EXPECT_TRUE(built.ok()) << built.status().ToString();
    return {.lsn = built->lsn, .checksum = built->checksum, .words = std::move(built->words), .sync = sync};
  }

  uint64_t fold_count = 0;

 private:
  std::map<ShardId, std::unique_ptr<ShardReplica>> replicas_;
  Sequence sequence_ = 0;
};

}  // namespace penstock::replica_test
