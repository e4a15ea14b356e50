// Tasks, timers and the end of a loop, while it sleeps and while it spins; and that it does not spin for
// ever.
#include "common/net/kj_loop.h"

#include <gtest/gtest.h>
#include <pthread.h>
#include <time.h>

#include <chrono>
#include <functional>
#include <vector>

namespace penstock {
namespace {

using namespace std::chrono_literals;

constexpr uint64_t kLongUs = 100'000;  // the loop is found spinning
constexpr auto kDeadline = 20s;

// The processor time of the loop's thread, readable from others.
class CpuClock {
 public:
  explicit CpuClock(KjLoop& loop) {
    const pthread_t thread = loop.Run([] { return pthread_self(); });
    EXPECT_EQ(pthread_getcpuclockid(thread, &clock_), 0);
  }
  std::chrono::nanoseconds Now() const {
    timespec time;
    clock_gettime(clock_, &time);
    return std::chrono::seconds(time.tv_sec) + std::chrono::nanoseconds(time.tv_nsec);
  }

 private:
  clockid_t clock_{};
};

template <typename Condition>
bool Within(std::chrono::steady_clock::duration time, Condition condition) {
  const auto end = std::chrono::steady_clock::now() + time;
  while (!condition()) {
    if (std::chrono::steady_clock::now() > end) return false;
    std::this_thread::sleep_for(1ms);
  }
  return true;
}

// Less than a tenth of a processor in some window.
bool Rests(const CpuClock& cpu) {
  return Within(kDeadline, [&] {
    const auto before = cpu.Now();
    std::this_thread::sleep_for(50ms);
    return cpu.Now() - before < 5ms;
  });
}

class KjLoopTest : public ::testing::TestWithParam<uint64_t> {};
INSTANTIATE_TEST_SUITE_P(SpinUs, KjLoopTest, testing::Values(0, 1, 500, kLongUs));

TEST_P(KjLoopTest, RunsTasksInOrderOnItsThread) {
  KjLoop loop("test", GetParam());
  std::vector<int> order;
  for (int i = 0; i < 100; ++i) loop.Post([&order, i] { order.push_back(i); });
  EXPECT_TRUE(loop.Run([&] { return loop.OnLoop(); }));
  ASSERT_EQ(order.size(), 100u);
  for (int i = 0; i < 100; ++i) EXPECT_EQ(order[i], i);
}

TEST_P(KjLoopTest, RunsWhatSeveralThreadsPost) {
  KjLoop loop("test", GetParam());
  int ran = 0;
  std::vector<std::thread> threads;
  for (int t = 0; t < 4; ++t) {
    threads.emplace_back([&] {
      for (int i = 0; i < 500; ++i) {
        loop.Post([&ran] { ++ran; });
        if (i % 50 == 0) loop.Run([] {});
      }
    });
  }
  for (auto& thread : threads) thread.join();
  EXPECT_EQ(loop.Run([&] { return ran; }), 2000);
}

TEST_P(KjLoopTest, RestsWhenNothingHappensAndWakesForTheNextTask) {
  KjLoop loop("test", GetParam());
  const CpuClock cpu(loop);
  for (int i = 0; i < 3; ++i) {
    EXPECT_TRUE(Rests(cpu));
    EXPECT_EQ(loop.Run([] { return 7; }), 7);
  }
}

TEST_P(KjLoopTest, TimersFireWhileTasksKeepItFromSleeping) {
  KjLoop loop("test", GetParam());
  bool fired = false;  // the loop's
  loop.Run([&] { loop.Detach(loop.Sleep(5).then([&] { fired = true; }), "timer"); });
  EXPECT_TRUE(Within(kDeadline, [&] { return loop.Run([&] { return fired; }); }));
}

TEST_P(KjLoopTest, TimersFireWhileNothingElseHappens) {
  KjLoop loop("test", GetParam());
  std::promise<void> fired;
  loop.Run([&] { loop.Detach(loop.Sleep(5).then([&] { fired.set_value(); }), "timer"); });
  EXPECT_EQ(fired.get_future().wait_for(kDeadline), std::future_status::ready);
}

TEST_P(KjLoopTest, StopRunsWhatIsPostedAndRefusesTheRest) {
  KjLoop loop("test", GetParam());
  int ran = 0;
  loop.Run([&] { ++ran; });
  loop.Post([&] { ++ran; });
  loop.Stop();
  loop.Post([&] { ++ran; });
  EXPECT_EQ(ran, 2);
}

TEST_P(KjLoopTest, ATaskThatPostsItselfLeavesRoomForTimers) {
  KjLoop loop("test", GetParam());
  bool fired = false;  // the loop's, like the function
  std::promise<void> done;
  std::function<void()> again = [&] { fired ? done.set_value() : loop.Post(again); };
  loop.Run([&] { loop.Detach(loop.Sleep(5).then([&] { fired = true; }), "timer"); });
  loop.Post(again);
  EXPECT_EQ(done.get_future().wait_for(kDeadline), std::future_status::ready);
}

TEST_P(KjLoopTest, SettlesWhatIsReady) {
  KjLoop loop("test", GetParam());
  for (int i = 0; i < 200; ++i) {
    int steps = 0;
    loop.Post([&] {
      kj::Promise<void> chain = kj::READY_NOW;
      for (int step = 0; step < 50; ++step) chain = chain.then([&] { ++steps; });
      loop.Detach(std::move(chain), "chain");
    });
    loop.Settle();
    ASSERT_EQ(steps, 50);
  }
}

TEST(KjLoopSpinTest, SpinsAfterATask) {
  KjLoop loop("test", kLongUs);
  const CpuClock cpu(loop);
  EXPECT_TRUE(Within(kDeadline, [&] {
    const auto before = cpu.Now();
    loop.Run([] {});
    std::this_thread::sleep_for(20ms);
    return cpu.Now() - before > 5ms;
  }));
}

}  // namespace
}  // namespace penstock
