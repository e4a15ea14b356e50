// The supervisor with real child processes: restart, order of stopping, kill after the deadline, nothing left
// behind.
#include "tools/launch/supervisor.h"

#include <gtest/gtest.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <functional>
#include <thread>

#include "tests/unit/tools/temp_folder.h"

namespace penstock {
namespace {

using Clock = std::chrono::steady_clock;

// Waits for a condition with a deadline; the deadline is only met by a test that fails.
bool Eventually(const std::function<bool()>& condition) {
  const auto end = Clock::now() + std::chrono::seconds(20);
  while (!condition()) {
    if (Clock::now() > end) return false;
    std::this_thread::sleep_for(std::chrono::milliseconds(5));
  }
  return true;
}

bool Contains(const std::string& text, const std::string& part) {
  return text.find(part) != std::string::npos;
}

bool Gone(pid_t pid) { return ::kill(pid, 0) != 0 && errno == ESRCH; }

class SupervisorTest : public testing::Test {
 protected:
  ChildSpec Shell(const std::string& name, const std::string& script, int stop_order = 0) {
    return {.name = name,
            .argv = {"/bin/sh", "-c", script},
            .output = folder_.path() + "/" + name + ".out",
            .stop_order = stop_order};
  }
  std::function<void(const std::string&)> Say() {
    return [this](const std::string& line) {
      std::lock_guard lock(mutex_);
      said_ += line + "\n";
    };
  }
  std::string said() {
    std::lock_guard lock(mutex_);
    return said_;
  }

  TempFolder folder_;
  std::mutex mutex_;
  std::string said_;
};

TEST_F(SupervisorTest, StartsAChildAgainAndSaysWhy) {
  Supervisor supervisor({Shell("child", "echo started; exit 3")}, {.first_delay_ms = 1, .max_delay_ms = 5},
                        Say());
  ASSERT_TRUE(supervisor.Start().ok());
  ASSERT_TRUE(Eventually([&] { return supervisor.Children()[0].starts >= 3; }));
  supervisor.Stop();
  EXPECT_TRUE(Contains(said(), "child ended with exit code 3; it is started again in 0.0 s (see ")) << said();
  EXPECT_TRUE(Contains(TempFolder::Read(folder_.path() + "/child.out"), "started\nstarted\n"));
  EXPECT_GE(supervisor.Children()[0].failures, 2u);
}

TEST_F(SupervisorTest, NamesTheSignalThatKilledAChild) {
  Supervisor supervisor({Shell("child", "kill -9 $$")}, {.first_delay_ms = 1, .max_delay_ms = 5}, Say());
  ASSERT_TRUE(supervisor.Start().ok());
  ASSERT_TRUE(Eventually([&] { return supervisor.Children()[0].starts >= 2; }));
  supervisor.Stop();
  EXPECT_TRUE(Contains(said(), "child ended with signal 9 (Killed)")) << said();
}

TEST_F(SupervisorTest, StopsInOrder) {
  const std::string log = folder_.path() + "/order";
  const auto script = [&](const std::string& name) {
    return "trap 'echo " + name + " >> " + log + "; exit 0' TERM; echo ready; while :; do sleep 0.02; done";
  };
  Supervisor supervisor({Shell("scheduler", script("scheduler"), 2), Shell("server", script("server"), 1),
                         Shell("worker", script("worker"), 0)},
                        {}, Say());
  ASSERT_TRUE(supervisor.Start().ok());
  for (const char* name : {"scheduler", "server", "worker"}) {
    ASSERT_TRUE(Eventually([&] {
      return Contains(TempFolder::Read(folder_.path() + "/" + name + ".out"), "ready");
    })) << name;
  }
  supervisor.Stop();
  EXPECT_EQ(TempFolder::Read(log), "worker\nserver\nscheduler\n");
  EXPECT_EQ(said(), "");
  for (const auto& child : supervisor.Children()) EXPECT_EQ(child.pid, -1);
}

TEST_F(SupervisorTest, KillsWhoDoesNotEnd) {
  Supervisor supervisor({Shell("deaf", "trap '' TERM; echo ready; while :; do sleep 0.02; done")},
                        {.stop_deadline_ms = 50}, Say());
  ASSERT_TRUE(supervisor.Start().ok());
  ASSERT_TRUE(Eventually([&] { return Contains(TempFolder::Read(folder_.path() + "/deaf.out"), "ready"); }));
  const pid_t pid = supervisor.Children()[0].pid;
  supervisor.Stop();
  EXPECT_TRUE(Gone(pid));
  EXPECT_TRUE(Contains(said(), "deaf did not end by itself and was killed")) << said();
}

TEST_F(SupervisorTest, AProgramThatIsMissingIsAnExitWithItsNameInTheOutput) {
  ChildSpec child = Shell("child", "");
  child.argv = {"/no/such/program"};
  Supervisor supervisor({child}, {.first_delay_ms = 1, .max_delay_ms = 5}, Say());
  ASSERT_TRUE(supervisor.Start().ok());
  ASSERT_TRUE(Eventually([&] { return supervisor.Children()[0].failures >= 1; }));
  supervisor.Stop();
  EXPECT_TRUE(Contains(said(), "exit code 127")) << said();
  EXPECT_TRUE(Contains(TempFolder::Read(child.output), "/no/such/program: cannot be executed"));
}

// A launcher that is killed leaves nothing behind.
TEST_F(SupervisorTest, ChildrenDieWithTheirLauncher) {
  const std::string pid_file = folder_.path() + "/pid";
  const pid_t launcher = ::fork();
  ASSERT_GE(launcher, 0);
  if (launcher == 0) {
    Supervisor supervisor({Shell("child", "echo $$ > " + pid_file + "; while :; do sleep 0.02; done")}, {},
                          [](const std::string&) {});
    if (!supervisor.Start().ok()) ::_exit(1);
    ::pause();
    ::_exit(0);
  }
  pid_t child = 0;
  EXPECT_TRUE(Eventually([&] {
    child = static_cast<pid_t>(std::atol(TempFolder::Read(pid_file).c_str()));
    return child > 0;
  }));
  EXPECT_EQ(::kill(child, 0), 0);
  ::kill(launcher, SIGKILL);
  ::waitpid(launcher, nullptr, 0);
  // The orphan is waited for by whoever adopted it; until then it is a zombie, which is as good as gone.
  EXPECT_TRUE(Eventually([&] {
    return Gone(child) || Contains(TempFolder::Read("/proc/" + std::to_string(child) + "/stat"), ") Z ");
  }));
}

TEST_F(SupervisorTest, AChildIsInAGroupOfItsOwnWithoutBlockedSignals) {
  sigset_t blocked;
  ::sigemptyset(&blocked);
  ::sigaddset(&blocked, SIGTERM);
  ::pthread_sigmask(SIG_BLOCK, &blocked, nullptr);
  {
    Supervisor supervisor(
        {Shell("child", "cat /proc/self/status; ps -o pgid= -p $$ 2>/dev/null; echo end; exec sleep 1000")},
        {}, Say());
    ASSERT_TRUE(supervisor.Start().ok());
    const pid_t pid = supervisor.Children()[0].pid;
    const std::string out = folder_.path() + "/child.out";
    EXPECT_TRUE(Eventually([&] { return Contains(TempFolder::Read(out), "end"); }));
    EXPECT_TRUE(Contains(TempFolder::Read(out), "SigBlk:\t0000000000000000")) << TempFolder::Read(out);
    EXPECT_EQ(::getpgid(pid), pid);
  }
  ::pthread_sigmask(SIG_UNBLOCK, &blocked, nullptr);
}

}  // namespace
}  // namespace penstock
