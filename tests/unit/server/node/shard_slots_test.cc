// What is found of a shard that leaves and comes back.
#include "server/node/shard_slots.h"

#include <gtest/gtest.h>

namespace penstock {
namespace {

std::unique_ptr<ShardSlot> Life(Incarnation incarnation, Epoch epoch, Lsn logged) {
  auto slot = std::make_unique<ShardSlot>(
      std::make_unique<Shard>(ShardOptions{.cluster = 7, .shard = 5, .incarnation = incarnation}),
      "server-1");
  slot->replica.TakeGrant({.shard = 5, .incarnation = incarnation, .epoch = epoch, .min_lsn = 1}, 1000);
  slot->replica.LoggedHere(logged);
  return slot;
}

TEST(ShardSlotsTest, FindsWhatIsServedInThatEpochOnly) {
  ShardSlots slots("server-1");
  EXPECT_EQ(slots.Find(5, 3).status.code(), Code::kWrongEpoch);
  EXPECT_EQ(slots.Held(5), nullptr);
  ShardSlot& slot = slots.Put(Life(1, 3, 0));
  EXPECT_EQ(slots.Find(5, 3).slot, &slot);
  EXPECT_EQ(slots.Find(5, 3).shard, slot.shard);
  const auto other = slots.Find(5, 2);
  EXPECT_EQ(other.status.code(), Code::kWrongEpoch);
  EXPECT_EQ(other.epoch, 3u);
  EXPECT_EQ(other.slot, nullptr);
  EXPECT_EQ(slots.Held(5, 1), &slot);
  EXPECT_EQ(slots.Held(5, 2), nullptr);
}

// Lsns of another life or epoch say nothing of a unit: it may be gone, or not be there yet.
TEST(ShardSlotsTest, WhatIsLoggedIsSaidOfOneEpochOfOneLife) {
  ShardSlots slots("server-1");
  EXPECT_EQ(slots.Logged(5, 3), 0u);
  ShardSlot& slot = slots.Put(Life(1, 3, 40));
  EXPECT_EQ(slots.Logged(5, 3), 40u);
  slot.replica.TakeGrant({.shard = 5, .incarnation = 1, .epoch = 4, .min_lsn = 1}, 1000);
  EXPECT_EQ(slots.Logged(5, 3), 0u) << "an epoch that is over";
  EXPECT_EQ(slots.Logged(5, 4), 40u);
  slot.replica.Release();
  EXPECT_EQ(slots.Logged(5, 4), 0u) << "it is served no more";
  slots.Put(Life(2, 6, 90));
  EXPECT_EQ(slots.Logged(5, 3), 0u);
  EXPECT_EQ(slots.Logged(5, 4), 0u) << "another life";
  EXPECT_EQ(slots.Logged(5, 6), 90u);
}

}  // namespace
}  // namespace penstock
