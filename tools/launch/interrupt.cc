#include "tools/launch/interrupt.h"

#include <poll.h>
#include <signal.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include <chrono>

namespace penstock {

InterruptSignals::InterruptSignals() {
  sigset_t signals;
  ::sigemptyset(&signals);
  for (int signal : {SIGINT, SIGTERM, SIGHUP}) ::sigaddset(&signals, signal);
  ::pthread_sigmask(SIG_BLOCK, &signals, nullptr);
  fd_ = ::signalfd(-1, &signals, SFD_CLOEXEC | SFD_NONBLOCK);
}

InterruptSignals::~InterruptSignals() {
  if (fd_ >= 0) ::close(fd_);
}

bool InterruptSignals::Wait(uint64_t ms) {
  using Clock = std::chrono::steady_clock;
  const auto end = Clock::now() + std::chrono::milliseconds(ms);
  while (signal_ == 0) {
    const auto left = std::chrono::duration_cast<std::chrono::milliseconds>(end - Clock::now()).count();
    pollfd poll_fd{.fd = fd_, .events = POLLIN, .revents = 0};
    const int ready = ::poll(&poll_fd, 1, left > 0 ? static_cast<int>(left) + 1 : 0);
    signalfd_siginfo info;
    if (ready > 0 && ::read(fd_, &info, sizeof info) == sizeof info)
      signal_ = static_cast<int>(info.ssi_signo);
    if (ready == 0 && left <= 0) return false;
  }
  return true;
}

}  // namespace penstock
