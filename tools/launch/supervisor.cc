#include "tools/launch/supervisor.h"

#include <poll.h>
#include <signal.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <future>

namespace penstock {
namespace {

uint64_t NowMs() {
  const auto now = std::chrono::steady_clock::now().time_since_epoch();
  return static_cast<uint64_t>(std::chrono::duration_cast<std::chrono::milliseconds>(now).count());
}

std::vector<int> StopOrders(const std::vector<ChildSpec>& children) {
  std::vector<int> orders;
  for (const auto& child : children) orders.push_back(child.stop_order);
  return orders;
}

std::string Seconds(uint64_t ms) {
  char text[32];
  std::snprintf(text, sizeof text, "%.1f s", static_cast<double>(ms) / 1000);
  return text;
}

}  // namespace

Supervisor::Supervisor(std::vector<ChildSpec> children, const SupervisorPolicy& policy,
                       std::function<void(const std::string&)> say)
    : specs_(std::move(children)),
      say_(std::move(say)),
      fsm_(StopOrders(specs_), policy),
      processes_(specs_.size()) {
  for (const auto& spec : specs_) states_.push_back({.name = spec.name, .output = spec.output});
}

Supervisor::~Supervisor() {
  Stop();
  if (wake_fd_ >= 0) ::close(wake_fd_);
}

Status Supervisor::Start() {
  wake_fd_ = ::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
  if (wake_fd_ < 0) return ErrnoStatus(errno, "eventfd");
  std::promise<void> started;
  auto future = started.get_future();
  thread_ = std::thread([this, &started] {
    Perform(fsm_.Start(NowMs()));
    started.set_value();
    Main();
  });
  future.wait();
  return Status::Ok();
}

void Supervisor::RequestStop() {
  {
    std::lock_guard lock(mutex_);
    ++stop_requests_;
  }
  const uint64_t one = 1;
  [[maybe_unused]] const ssize_t n = ::write(wake_fd_, &one, sizeof one);
}

void Supervisor::Stop() {
  if (!thread_.joinable()) return;
  bool requested;
  {
    std::lock_guard lock(mutex_);
    requested = stop_requests_ > 0;
  }
  if (!requested) RequestStop();
  thread_.join();
}

std::vector<ChildState> Supervisor::Children() const {
  std::lock_guard lock(mutex_);
  return states_;
}

void Supervisor::Main() {
  int stops_seen = 0;
  while (!fsm_.finished()) {
    Wait();
    Reap();
    int stops;
    {
      std::lock_guard lock(mutex_);
      stops = stop_requests_;
    }
    for (; stops_seen < stops; ++stops_seen) Perform(fsm_.OnStop(NowMs()));
    Perform(fsm_.OnTick(NowMs()));
  }
}

// Until a child ends, someone calls, or the next thing is due.
void Supervisor::Wait() {
  std::vector<pollfd> fds{{.fd = wake_fd_, .events = POLLIN, .revents = 0}};
  for (const auto& process : processes_) {
    if (process) fds.push_back({.fd = process->exit_fd(), .events = POLLIN, .revents = 0});
  }
  int timeout = -1;
  if (const auto next = fsm_.NextWake()) {
    const uint64_t now = NowMs();
    timeout = *next <= now ? 0 : static_cast<int>(*next - now);
  }
  ::poll(fds.data(), fds.size(), timeout);
  uint64_t count;
  while (::read(wake_fd_, &count, sizeof count) > 0) {
  }
}

void Supervisor::Reap() {
  for (size_t i = 0; i < processes_.size(); ++i) {
    if (!processes_[i]) continue;
    const auto exit = processes_[i]->Poll();
    if (!exit) continue;
    processes_[i].reset();
    const auto actions = fsm_.OnExit(i, NowMs(), exit->refused_options());
    {
      std::lock_guard lock(mutex_);
      states_[i].pid = -1;
      states_[i].last_exit = exit;
      states_[i].failures = fsm_.failures(i);
    }
    if (!fsm_.stopping()) {
      say_(specs_[i].name + " ended with " + exit->ToString() + "; it is started again in " +
           Seconds(fsm_.delay_ms(i)) + " (see " + specs_[i].output + ")");
    } else if (exit->signal == SIGKILL) {
      say_(specs_[i].name + " did not end by itself and was killed");
    }
    Perform(actions);
  }
}

void Supervisor::Perform(const SupervisorFsm::Actions& actions) {
  for (const auto& action : actions) {
    switch (action.act) {
      case SupervisorFsm::Act::kStart:
        StartChild(action.child);
        break;
      case SupervisorFsm::Act::kTerminate:
        if (processes_[action.child]) processes_[action.child]->Signal(SIGTERM);
        break;
      case SupervisorFsm::Act::kKill:
        if (processes_[action.child]) processes_[action.child]->Signal(SIGKILL);
        break;
    }
  }
}

void Supervisor::StartChild(size_t child) {
  auto spawned = ChildProcess::Spawn(specs_[child].argv, specs_[child].output);
  {
    std::lock_guard lock(mutex_);
    ++states_[child].starts;
    if (spawned.ok()) states_[child].pid = spawned->pid();
  }
  if (spawned.ok()) {
    processes_[child] = std::move(*spawned);
    return;
  }
  const auto actions = fsm_.OnExit(child, NowMs());
  {
    std::lock_guard lock(mutex_);
    states_[child].failures = fsm_.failures(child);
    states_[child].last_exit = ExitState{.code = 127};
  }
  say_(specs_[child].name + " could not be started: " + spawned.status().message() + "; next attempt in " +
       Seconds(fsm_.delay_ms(child)));
  Perform(actions);
}

}  // namespace penstock
