// ShardSlots: the shards that a core holds, by id, and which of them a call finds.
//
// Owned by the core's thread.
#pragma once

#include <absl/container/flat_hash_map.h>

#include <algorithm>
#include <memory>
#include <string>
#include <vector>

#include "server/node/shard_slot.h"

namespace penstock {

constexpr uint32_t kRetrySoonMs = 50;  // when rows may be in memory that are not

// One shard's line in a heartbeat (proto::ShardReport without the core).
struct ShardLine {
  ShardId shard = 0;
  Incarnation incarnation = 0;
  Epoch epoch = 0;
  Lsn applied = 0, logged = 0, synced = 0;
  uint64_t rows = 0, bytes = 0, marks_bytes = 0;
  std::string damage;
  Epoch seen = 0;
  bool complete = false;
  std::vector<BackupReport> backups;
  Epoch fenced = 0;
  uint64_t served_rows = 0;
  uint32_t delay_ms = 0;
};

class ShardSlots {
 public:
  // `node` names the server in errors.
  explicit ShardSlots(std::string node) : node_(std::move(node)) {}

  // What a call is about. It is good until the call yields: then it must be found again.
  struct Found {
    ShardSlot* slot = nullptr;
    Shard* shard = nullptr;  // the slot's
    Status status;           // not ok: it is not served here in that epoch, and there is no slot
    Epoch epoch = 0;         // known here, with kWrongEpoch
  };
  Found Find(ShardId shard, Epoch epoch) const {
    ShardSlot* slot = Held(shard);
    if (slot == nullptr)
      return {.status = WrongEpoch("shard " + std::to_string(shard) + " is not served by " + node_)};
    if (Status served = slot->replica.Serves(epoch); !served.ok())
      return {.status = std::move(served), .epoch = slot->replica.granted() ? slot->shard->epoch() : 0};
    return {.slot = slot, .shard = slot->shard, .status = Status::Ok(), .epoch = epoch};
  }
  // Served, followed or neither; nullptr: nothing of it is here.
  ShardSlot* Held(ShardId shard) const {
    const auto found = slots_.find(shard);
    return found == slots_.end() ? nullptr : found->second.get();
  }
  // Of this life of it.
  ShardSlot* Held(ShardId shard, Incarnation incarnation) const {
    ShardSlot* slot = Held(shard);
    return slot != nullptr && slot->incarnation() == incarnation ? slot : nullptr;
  }
  // Up to where the shard counts as logged (ShardSlot::Logged), said to somebody whose units were applied in
  // this epoch. Epochs of a shard are of one life of it each. 0, which says nothing: it is in another epoch.
  Lsn Logged(ShardId shard, Epoch epoch) const {
    const ShardSlot* slot = Held(shard);
    return slot != nullptr && slot->replica.granted() && slot->shard->epoch() == epoch ? slot->Logged() : 0;
  }

  // Instead of an earlier life, if any.
  ShardSlot& Put(std::unique_ptr<ShardSlot> slot) { return *(slots_[slot->id()] = std::move(slot)); }

  void Erase(ShardId shard) { slots_.erase(shard); }

  std::vector<ShardId> Ids() const {
    std::vector<ShardId> ids;
    for (const auto& [id, slot] : slots_) ids.push_back(id);
    std::sort(ids.begin(), ids.end());
    return ids;
  }
  auto begin() const { return slots_.begin(); }
  auto end() const { return slots_.end(); }

 private:
  const std::string node_;
  absl::flat_hash_map<ShardId, std::unique_ptr<ShardSlot>> slots_;
};

}  // namespace penstock
