#include "tools/launch/child_process.h"

#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <utility>

namespace penstock {
namespace {

// In the child, between fork and exec: only calls that are safe there, as other threads of the parent may
// have held locks.
[[noreturn]] void RunChild(pid_t parent, char* const* argv, const ChildProcess::Streams& streams) {
  ::prctl(PR_SET_PDEATHSIG, SIGKILL);
  if (::getppid() != parent) ::_exit(126);  // the launcher died before the line above
  ::setpgid(0, 0);
  ::dup2(streams.in, STDIN_FILENO);
  ::dup2(streams.out, STDOUT_FILENO);
  ::dup2(streams.err, STDERR_FILENO);
  for (int signal : {SIGINT, SIGTERM, SIGHUP, SIGPIPE, SIGCHLD, SIGQUIT}) ::signal(signal, SIG_DFL);
  sigset_t none;
  ::sigemptyset(&none);
  ::sigprocmask(SIG_SETMASK, &none, nullptr);
  ::execv(argv[0], argv);
  static constexpr char kMessage[] = ": cannot be executed\n";
  [[maybe_unused]] ssize_t n = ::write(STDERR_FILENO, argv[0], ::strlen(argv[0]));
  n = ::write(STDERR_FILENO, kMessage, sizeof kMessage - 1);
  ::_exit(127);
}

}  // namespace

int OpenPidFd(pid_t pid) {
  const int fd = static_cast<int>(::syscall(SYS_pidfd_open, pid, 0));
  if (fd >= 0) ::fcntl(fd, F_SETFD, FD_CLOEXEC);
  return fd;
}

std::string ExitState::ToString() const {
  if (signal == 0) return "exit code " + std::to_string(code);
  const char* name = ::sigdescr_np(signal);
  return "signal " + std::to_string(signal) + (name == nullptr ? "" : " (" + std::string(name) + ")");
}

Result<ChildProcess> ChildProcess::Spawn(const std::vector<std::string>& argv, const std::string& output) {
  const int out = ::open(output.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644);
  if (out < 0) return ErrnoStatus(errno, output);
  const int in = ::open("/dev/null", O_RDONLY | O_CLOEXEC);
  auto child = Spawn(argv, {.in = in, .out = out, .err = out});
  ::close(out);
  ::close(in);
  return child;
}

Result<ChildProcess> ChildProcess::Spawn(const std::vector<std::string>& argv, const Streams& streams) {
  std::vector<char*> pointers;
  for (const auto& argument : argv) pointers.push_back(const_cast<char*>(argument.c_str()));
  pointers.push_back(nullptr);
  const pid_t parent = ::getpid();
  const pid_t pid = ::fork();
  if (pid == 0) RunChild(parent, pointers.data(), streams);
  if (pid < 0) return ErrnoStatus(errno, "fork for " + argv[0]);
  ChildProcess child(pid, -1);
  child.pidfd_ = OpenPidFd(pid);
  if (child.pidfd_ < 0) return ErrnoStatus(errno, "pidfd_open for " + argv[0]);
  return child;
}

ChildProcess::ChildProcess(ChildProcess&& other) noexcept
    : pid_(std::exchange(other.pid_, -1)), pidfd_(std::exchange(other.pidfd_, -1)) {}

ChildProcess& ChildProcess::operator=(ChildProcess&& other) noexcept {
  std::swap(pid_, other.pid_);
  std::swap(pidfd_, other.pidfd_);
  return *this;
}

ChildProcess::~ChildProcess() {
  if (pid_ > 0) {
    ::kill(pid_, SIGKILL);
    while (::waitpid(pid_, nullptr, 0) < 0 && errno == EINTR) {
    }
  }
  if (pidfd_ >= 0) ::close(pidfd_);
}

std::optional<ExitState> ChildProcess::Poll() {
  if (pid_ < 0) return std::nullopt;
  int status = 0;
  if (::waitpid(pid_, &status, WNOHANG) != pid_) return std::nullopt;
  pid_ = -1;
  if (WIFSIGNALED(status)) return ExitState{.signal = WTERMSIG(status)};
  return ExitState{.code = WEXITSTATUS(status)};
}

void ChildProcess::Signal(int signal) {
  if (pid_ > 0) ::kill(pid_, signal);
}

}  // namespace penstock
