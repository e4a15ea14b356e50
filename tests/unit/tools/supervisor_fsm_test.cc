// The decisions of the supervisor: delays, their reset, the order of stopping, deadlines.
#include "tools/launch/supervisor_fsm.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace penstock {
namespace {

using Act = SupervisorFsm::Act;
using Action = SupervisorFsm::Action;
using testing::ElementsAre;
using testing::IsEmpty;
using testing::Optional;

TEST(SupervisorFsm, StartsAllInTheirOrder) {
  SupervisorFsm fsm({2, 1, 0}, {});
  EXPECT_THAT(fsm.Start(0),
              ElementsAre(Action{Act::kStart, 0}, Action{Act::kStart, 1}, Action{Act::kStart, 2}));
  EXPECT_EQ(fsm.NextWake(), std::nullopt);
  EXPECT_TRUE(fsm.running(1));
}

TEST(SupervisorFsm, DelayDoublesUpToTheLimit) {
  SupervisorFsm fsm({0}, {.first_delay_ms = 200, .max_delay_ms = 5000});
  fsm.Start(0);
  uint64_t now = 0;
  std::vector<uint64_t> delays;
  for (int i = 0; i < 8; ++i) {
    now += 10;
    EXPECT_THAT(fsm.OnExit(0, now), IsEmpty());
    EXPECT_FALSE(fsm.running(0));
    delays.push_back(fsm.delay_ms(0));
    EXPECT_THAT(fsm.NextWake(), Optional(now + delays.back()));
    EXPECT_THAT(fsm.OnTick(now + delays.back() - 1), IsEmpty());
    now += delays.back();
    EXPECT_THAT(fsm.OnTick(now), ElementsAre(Action{Act::kStart, 0}));
  }
  EXPECT_THAT(delays, ElementsAre(200, 400, 800, 1600, 3200, 5000, 5000, 5000));
  EXPECT_EQ(fsm.failures(0), 8u);
}

TEST(SupervisorFsm, ASteadyLifeBeginsTheDelaysAnew) {
  SupervisorFsm fsm({0}, {.first_delay_ms = 200, .steady_ms = 10000});
  fsm.Start(0);
  fsm.OnExit(0, 1);
  fsm.OnTick(201);
  fsm.OnExit(0, 300);
  EXPECT_EQ(fsm.delay_ms(0), 400u);
  fsm.OnTick(700);
  fsm.OnExit(0, 10700);
  EXPECT_EQ(fsm.delay_ms(0), 200u);
  EXPECT_EQ(fsm.failures(0), 1u);
}

TEST(SupervisorFsm, AChildThatRefusesItsOptionsWaitsTheLongestDelay) {
  SupervisorFsm fsm({0}, {.first_delay_ms = 200, .max_delay_ms = 5000});
  fsm.Start(0);
  fsm.OnExit(0, 10, /*refused_options=*/true);
  EXPECT_EQ(fsm.failures(0), 1u);
  EXPECT_THAT(fsm.OnTick(5009), IsEmpty());
  EXPECT_THAT(fsm.OnTick(5010), ElementsAre(Action{Act::kStart, 0}));
}

TEST(SupervisorFsm, OneChildsDeathDoesNotTouchTheOthers) {
  SupervisorFsm fsm({0, 0}, {.first_delay_ms = 100});
  fsm.Start(0);
  fsm.OnExit(0, 5);
  EXPECT_TRUE(fsm.running(1));
  EXPECT_THAT(fsm.OnTick(105), ElementsAre(Action{Act::kStart, 0}));
  EXPECT_EQ(fsm.failures(1), 0u);
}

TEST(SupervisorFsm, StopsGroupByGroup) {
  SupervisorFsm fsm({2, 1, 1, 0}, {});
  fsm.Start(0);
  EXPECT_THAT(fsm.OnStop(100), ElementsAre(Action{Act::kTerminate, 3}));
  EXPECT_THAT(fsm.OnExit(3, 150), ElementsAre(Action{Act::kTerminate, 1}, Action{Act::kTerminate, 2}));
  EXPECT_THAT(fsm.OnExit(1, 160), IsEmpty());
  EXPECT_FALSE(fsm.finished());
  EXPECT_THAT(fsm.OnExit(2, 170), ElementsAre(Action{Act::kTerminate, 0}));
  EXPECT_THAT(fsm.OnExit(0, 180), IsEmpty());
  EXPECT_TRUE(fsm.finished());
  EXPECT_EQ(fsm.NextWake(), std::nullopt);
}

TEST(SupervisorFsm, KillsAGroupThatDoesNotEndInTime) {
  SupervisorFsm fsm({1, 0, 0}, {.stop_deadline_ms = 10000});
  fsm.Start(0);
  fsm.OnStop(100);
  fsm.OnExit(1, 200);
  EXPECT_THAT(fsm.NextWake(), Optional(10100u));
  EXPECT_THAT(fsm.OnTick(10099), IsEmpty());
  EXPECT_THAT(fsm.OnTick(10100), ElementsAre(Action{Act::kKill, 2}));
  EXPECT_THAT(fsm.OnTick(10200), IsEmpty());  // once
  EXPECT_THAT(fsm.OnExit(2, 10300), ElementsAre(Action{Act::kTerminate, 0}));
  EXPECT_THAT(fsm.NextWake(), Optional(20300u));
}

TEST(SupervisorFsm, NothingIsStartedAgainWhileStopping) {
  SupervisorFsm fsm({1, 0}, {.first_delay_ms = 100});
  fsm.Start(0);
  fsm.OnExit(1, 10);
  EXPECT_THAT(fsm.OnStop(20), ElementsAre(Action{Act::kTerminate, 0}));
  EXPECT_THAT(fsm.OnTick(5000), IsEmpty());
  EXPECT_THAT(fsm.OnExit(0, 5001), IsEmpty());
  EXPECT_TRUE(fsm.finished());
}

TEST(SupervisorFsm, ASecondStopKillsWhatIsLeft) {
  SupervisorFsm fsm({1, 0}, {});
  fsm.Start(0);
  fsm.OnStop(1);
  EXPECT_THAT(fsm.OnStop(2), ElementsAre(Action{Act::kKill, 0}, Action{Act::kKill, 1}));
}

TEST(SupervisorFsm, StopWithNothingRunningIsFinishedAtOnce) {
  SupervisorFsm fsm({0}, {});
  fsm.Start(0);
  fsm.OnExit(0, 1);
  EXPECT_THAT(fsm.OnStop(2), IsEmpty());
  EXPECT_TRUE(fsm.finished());
}

}  // namespace
}  // namespace penstock
