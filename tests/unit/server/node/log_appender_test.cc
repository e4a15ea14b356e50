// What the appender says of windows whose file fails beside them.
#include "server/node/log_appender.h"

#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <future>

#include "tests/unit/server/storage/power_cut_file_layer.h"

namespace penstock {
namespace {

constexpr auto kDeadline = std::chrono::seconds(20);

class Signal {
 public:
  void Set() { set_.set_value(); }
  void Await() const { EXPECT_EQ(future_.wait_for(kDeadline), std::future_status::ready); }

 private:
  std::promise<void> set_;
  std::shared_future<void> future_ = set_.get_future().share();
};

struct Told {
  std::promise<Status> logged, synced;
  Status Logged() { return Of(logged); }
  Status Synced() { return Of(synced); }

 private:
  static Status Of(std::promise<Status>& promise) {
    auto future = promise.get_future();
    return future.wait_for(kDeadline) == std::future_status::ready ? future.get() : Internal("never told");
  }
};

WindowRecord Window(Told& told, uint64_t generation, bool recovery = false) {
  WindowRecord window;
  window.record.sections.push_back({1, 1, DeltaWords(kj::heapArray<capnp::word>(4)), 0});
  window.generation = generation;
  window.recovery = recovery;
  window.sync = true;
  window.logged = [&told](const Status& status) { told.logged.set_value(status); };
  window.synced = [&told](const Status& status) { told.synced.set_value(status); };
  return window;
}

// A window is appended while the sync of the one before fails, and a recovery has begun a fresh file before
// anybody has synced it: what the sync of the fresh file covers says nothing of the window.
TEST(LogAppenderTest, ASyncOfAFreshFileDoesNotCountForAWindowInTheOneThatFailed) {
  PowerCutFileLayer files(1);
  auto log = DeltaLog::Open(files, "/log", {.cluster = 1, .node = 1}, {});
  ASSERT_TRUE(log.ok());
  ServerMetrics metrics;
  Told first, second, recovery;
  Signal second_writes, first_told, recovered;
  std::atomic<int> writes = 0, syncs = 0;
  files.FailWith([&](const std::string& operation, const std::string&) {
    if (operation == "sync" && ++syncs == 1) {
      second_writes.Await();
      return EIO;
    }
    if (operation == "write" && ++writes == 2) {
      second_writes.Set();
      first_told.Await();
    }
    return 0;
  });
  LogAppender appender(**log, metrics);
  const uint64_t generation = appender.generation();
  auto failing = Window(first, generation);
  failing.synced = [&](const Status& status) {
    first.synced.set_value(status);
    first_told.Set();
    recovered.Await();  // the syncer has not looked at the second window yet
  };
  appender.Submit(std::move(failing));
  EXPECT_TRUE(first.Logged().ok());
  appender.Submit(Window(second, generation));
  EXPECT_FALSE(first.Synced().ok());
  EXPECT_TRUE(second.Logged().ok());
  appender.Submit(Window(recovery, generation, true));
  EXPECT_TRUE(recovery.Logged().ok());
  recovered.Set();
  EXPECT_FALSE(second.Synced().ok()) << "it lies in the file whose sync has failed";
  EXPECT_TRUE(recovery.Synced().ok());
}

}  // namespace
}  // namespace penstock
