// MapFsm: when the map is looked at, and which map counts.
#include "client/map_fsm.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace penstock {
namespace {

using ::testing::Optional;

ShardMap MapOf(uint64_t term, uint64_t version, std::vector<Epoch> epochs) {
  ShardMap map{.version = version, .term = term};
  for (const Epoch epoch : epochs) map.shards.push_back({.epoch = epoch, .state = ShardState::kServing});
  return map;
}

TEST(MapFsm, OneLookAtATime) {
  MapFsm fsm({});
  EXPECT_THAT(fsm.Want(5000), Optional(0u)) << "at once";
  EXPECT_EQ(fsm.Want(5000), std::nullopt) << "shared";
  fsm.LookBegins();
  EXPECT_EQ(fsm.LookEnds(Status::Ok(), 5001), std::nullopt) << "nobody has asked since it began";
  EXPECT_THAT(fsm.Want(5002), Optional(10u));
  fsm.LookBegins();
  EXPECT_EQ(fsm.Want(5010), std::nullopt);
  EXPECT_THAT(fsm.LookEnds(Status::Ok(), 5020), Optional(20u)) << "a newer one is wanted";
}

TEST(MapFsm, LooksThatChangeNothingBackOff) {
  MapFsm fsm({.min_back_off_ms = 10, .max_back_off_ms = 50});
  uint64_t now = 10000;
  std::vector<uint64_t> pauses;
  for (int i = 0; i < 5; ++i) {
    pauses.push_back(*fsm.Want(now));
    fsm.LookBegins();
    fsm.LookEnds(Unavailable("nobody there"), ++now);
  }
  EXPECT_THAT(pauses, ::testing::ElementsAre(0, 10, 20, 40, 50));
  EXPECT_EQ(fsm.last_error().code(), Code::kUnavailable);
  fsm.Want(now);
  fsm.LookBegins();
  ASSERT_TRUE(fsm.Take(MapOf(1, 1, {1, 1})).ok());
  fsm.LookEnds(Status::Ok(), ++now);
  EXPECT_TRUE(fsm.last_error().ok());
  EXPECT_THAT(fsm.Want(now), Optional(10u)) << "something changes: look again soon";
  fsm.LookBegins();
  fsm.LookEnds(Status::Ok(), now);
  EXPECT_THAT(fsm.Want(now + 2000), Optional(0u)) << "it was quiet";
}

TEST(MapFsm, TheLatestMapAndTheHighestEpochsCount) {
  MapFsm fsm({});
  ASSERT_TRUE(*fsm.Take(MapOf(2, 7, {3, 3})));
  EXPECT_FALSE(*fsm.Take(MapOf(2, 6, {1, 1}))) << "an older version";
  EXPECT_FALSE(*fsm.Take(MapOf(1, 9, {1, 1}))) << "an older term";
  fsm.Adopt(0, 5);
  fsm.Adopt(1, 2);
  EXPECT_EQ(fsm.entry(0).epoch, 5u);
  EXPECT_EQ(fsm.entry(1).epoch, 3u);
  ASSERT_TRUE(*fsm.Take(MapOf(3, 1, {4, 4})));
  EXPECT_EQ(fsm.entry(0).epoch, 5u) << "a server has said so, the scheduler has not heard of it";
  EXPECT_EQ(fsm.entry(1).epoch, 4u);
  EXPECT_EQ(fsm.Take(MapOf(3, 2, {1, 1, 1, 1})).status().code(), Code::kInternal) << "other shards";
  EXPECT_EQ(fsm.map().size(), 2u);
}

}  // namespace
}  // namespace penstock
