// Commands about the copies of shards: how many are wanted, which there are, and who leads them. The checks
// hold rule 19 whatever decided: nobody leads who may lack what was answered.
#include <algorithm>
#include <set>

#include "scheduler/state/cluster_state.h"

namespace penstock {
namespace {

// Whether `copy` is what it was, or has become in-sync in `epoch`. Its session may be brought up to date.
bool IsNext(const CopyRecord& copy, const CopyRecord* before, Epoch epoch, uint64_t session) {
  if (before == nullptr || copy.incarnation != before->incarnation) return false;
  if (copy.session != before->session && copy.session != session) return false;
  if (copy.in_sync == before->in_sync) return copy.since == before->since;
  return copy.in_sync && copy.since == epoch;
}

}  // namespace

Status ClusterState::CheckIt(const SetCopies& c) const {
  if (c.min_copies >= 1 && c.min_copies <= c.copies && c.copies <= kMaxCopies) return Status::Ok();
  return InvalidArgument(std::to_string(c.copies) + " copies, at least " + std::to_string(c.min_copies) +
                         " in sync: allowed are 1 to " + std::to_string(kMaxCopies) +
                         ", and the least number not above the other");
}

void ClusterState::Do(const SetCopies& c) {
  data_.copies = c.copies;
  data_.min_copies = c.min_copies;
}

Status ClusterState::CheckIt(const AddCopies& c) const {
  Incarnation last = data_.last_incarnation;
  std::set<std::pair<ShardId, NodeId>> added;
  std::map<ShardId, size_t> counts;
  for (const auto& copy : c.copies) {
    PENSTOCK_RETURN_IF_ERROR(CheckPlaced(copy.shard));
    PENSTOCK_RETURN_IF_ERROR(CheckServer(copy.node));
    const ShardRecord& shard = data_.shards[copy.shard];
    if (IsMember(shard, copy.node) || !added.emplace(copy.shard, copy.node).second) {
      return Internal("node " + std::to_string(copy.node) + " has a copy of shard " +
                      std::to_string(copy.shard));
    }
    if (++counts[copy.shard] + 1 + shard.backups.size() > kMaxCopies + (shard.move.adds ? 1 : 0))
      return Internal("too many copies of shard " + std::to_string(copy.shard));
    if (copy.incarnation <= last) return Internal("incarnations must rise");
    last = copy.incarnation;
  }
  return Status::Ok();
}

void ClusterState::Do(const AddCopies& c) {
  for (const auto& copy : c.copies) {
    ForgetFormer(data_.shards[copy.shard], copy.node);  // a seed takes its place
    data_.shards[copy.shard].backups.push_back({.node = copy.node,
                                                .incarnation = copy.incarnation,
                                                .session = data_.nodes[copy.node].session,
                                                .in_sync = false,
                                                .since = 0});
    data_.last_incarnation = copy.incarnation;
  }
}

Status ClusterState::CheckIt(const DropCopies& c) const {
  for (const auto& copy : c.copies) {
    PENSTOCK_RETURN_IF_ERROR(CheckPlaced(copy.shard));
    const CopyRecord* found = FindCopy(data_.shards[copy.shard].backups, copy.node);
    if (found == nullptr || found->in_sync) {
      return Internal("node " + std::to_string(copy.node) + " is not being seeded with shard " +
                      std::to_string(copy.shard));
    }
  }
  return Status::Ok();
}

void ClusterState::Do(const DropCopies& c) {
  for (const auto& dropped : c.copies) {
    std::erase_if(data_.shards[dropped.shard].backups,
                  [&](const CopyRecord& copy) { return copy.node == dropped.node; });
  }
}

Status ClusterState::CheckChange(const ChangeCopies::Change& c) const {
  PENSTOCK_RETURN_IF_ERROR(CheckPlaced(c.shard));
  const ShardRecord& shard = data_.shards[c.shard];
  const std::string what = "shard " + std::to_string(c.shard);
  if (c.epoch <= HighestEpoch(shard) || c.min_lsn <= shard.highest)
    return Internal(what + ": a change must have a higher epoch and lsn");
  const CopyRecord* backup = FindCopy(shard.backups, c.node);
  const CopyRecord* former = FindCopy(shard.former, c.node);
  const bool leads = c.node == shard.node && c.incarnation == shard.incarnation;
  const bool promoted =
      backup != nullptr && backup->incarnation == c.incarnation && IsPromotable(shard, *backup);
  const bool led = former != nullptr && former->incarnation == c.incarnation;
  if (!leads && !promoted && !led)
    return Internal(what + ": node " + std::to_string(c.node) + " may not lead it");
  const bool handed_over = shard.move.fence != 0 && c.node == shard.move.to;
  std::set<NodeId> members{c.node};
  for (const auto& copy : c.backups) {
    // A primary that was superseded is none: it may hold what nobody else does, so it is added anew. But what
    // one holds that was fenced, the one that it waited for holds as well.
    const CopyRecord* before = FindCopy(shard.backups, copy.node);
    const NodeRecord* node = FindNode(copy.node);
    const bool stays = handed_over && copy == PrimaryOf(shard);
    if (!members.insert(copy.node).second || node == nullptr ||
        !(stays || IsNext(copy, before, c.epoch, node->session))) {
      return Internal(what + ": node " + std::to_string(copy.node) + " cannot be such a backup");
    }
  }
  return Status::Ok();
}

Status ClusterState::CheckIt(const ChangeCopies& c) const {
  std::set<ShardId> shards;
  for (const auto& change : c.changes) {
    PENSTOCK_RETURN_IF_ERROR(CheckChange(change));
    if (!shards.insert(change.shard).second)
      return Internal("shard " + std::to_string(change.shard) + " is changed twice");
  }
  return Status::Ok();
}

// Not what is being seeded: only what may lead.
void ClusterState::KeepFormer(ShardRecord& shard, const ChangeCopies::Change& change) {
  const auto keep = [&](CopyRecord copy) {
    if (copy.node == change.node || FindCopy(change.backups, copy.node) != nullptr) return;
    copy.since = change.epoch;
    shard.former.push_back(copy);
  };
  ForgetFormer(shard, change.node);
  keep(PrimaryOf(shard));
  for (const CopyRecord& copy : shard.backups) {
    if (IsPromotable(shard, copy)) keep(copy);
  }
}

void ClusterState::ForgetFormer(ShardRecord& shard, NodeId node) {
  std::erase_if(shard.former, [node](const CopyRecord& copy) { return copy.node == node; });
}

void ClusterState::Do(const ChangeCopies& c) {
  for (const auto& change : c.changes) {
    ShardRecord& shard = data_.shards[change.shard];
    KeepFormer(shard, change);
    shard.node = change.node;
    shard.incarnation = change.incarnation;
    shard.backups = change.backups;
    SettleMove(shard, change.at_ms);
    Grant({.shard = change.shard, .epoch = change.epoch, .min_lsn = change.min_lsn},
          data_.nodes[change.node].session);
  }
}

Status ClusterState::CheckIt(const ConfirmEpochs& c) const {
  for (const auto& confirmation : c.confirmations) {
    PENSTOCK_RETURN_IF_ERROR(CheckPlaced(confirmation.shard));
    const ShardRecord& shard = data_.shards[confirmation.shard];
    if (confirmation.epoch <= shard.confirmed || confirmation.epoch > shard.epoch) {
      return Internal("shard " + std::to_string(confirmation.shard) + ": epoch " +
                      std::to_string(confirmation.epoch) + " cannot be confirmed");
    }
  }
  return Status::Ok();
}

void ClusterState::Do(const ConfirmEpochs& c) {
  for (const auto& confirmation : c.confirmations) {
    ShardRecord& shard = data_.shards[confirmation.shard];
    shard.confirmed = confirmation.epoch;
    if (shard.confirmed == shard.epoch) shard.former.clear();
  }
}

}  // namespace penstock
