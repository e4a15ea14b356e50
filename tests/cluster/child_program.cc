#include "tests/cluster/child_program.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <thread>
#include <utility>

extern char** environ;

namespace penstock {
namespace {

std::vector<char*> Pointers(std::vector<std::string>& strings) {
  std::vector<char*> pointers;
  for (auto& string : strings) pointers.push_back(string.data());
  pointers.push_back(nullptr);
  return pointers;
}

int OpenOutput(const std::string& path) {
  return ::open(path.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644);
}

}  // namespace

std::string ProgramFolder() { return PENSTOCK_PROGRAMS; }

bool WaitFor(int deadline_ms, const std::function<bool()>& done) {
  const auto end = std::chrono::steady_clock::now() + kSanitizerCost * std::chrono::milliseconds(deadline_ms);
  while (!done()) {
    if (std::chrono::steady_clock::now() > end) return false;
    std::this_thread::sleep_for(std::chrono::milliseconds(5));  // between two looks at the condition
  }
  return true;
}

Result<ChildProgram> ChildProgram::Start(const Options& options) {
  std::vector<std::string> arguments = options.argv, variables;
  for (char** variable = environ; *variable != nullptr; ++variable) variables.emplace_back(*variable);
  for (const auto& [key, value] : options.environment) variables.push_back(key + "=" + value);
  const std::vector<char*> argv = Pointers(arguments), envp = Pointers(variables);
  const int out = OpenOutput(options.output);
  const int err = options.errors.empty() ? ::dup(out) : OpenOutput(options.errors);
  const pid_t parent = ::getpid();
  const pid_t child = ::fork();
  if (child == 0) {
    ::prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (::getppid() != parent) ::_exit(127);
    ::dup2(out, 1);
    ::dup2(err, 2);
    ::execve(argv[0], argv.data(), envp.data());
    ::_exit(127);
  }
  const int error = errno;
  ::close(out);
  ::close(err);
  if (child < 0) return ErrnoStatus(error, "fork for " + options.argv[0]);
  return ChildProgram(child);
}

ChildProgram::ChildProgram(ChildProgram&& other) noexcept
    : pid_(std::exchange(other.pid_, -1)), exit_(other.exit_) {}

ChildProgram& ChildProgram::operator=(ChildProgram&& other) noexcept {
  std::swap(pid_, other.pid_);
  std::swap(exit_, other.exit_);
  return *this;
}

ChildProgram::~ChildProgram() { Kill(); }

bool ChildProgram::Running() {
  if (pid_ < 0 || exit_) return false;
  int status = 0;
  if (::waitpid(pid_, &status, WNOHANG) != pid_) return true;
  exit_ = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
  return false;
}

void ChildProgram::Signal(int signal) {
  if (Running()) ::kill(pid_, signal);
}

void ChildProgram::Kill() {
  if (!Running()) return;
  ::kill(pid_, SIGKILL);
  ::waitpid(pid_, nullptr, 0);
  exit_ = 128 + SIGKILL;
}

int ChildProgram::WaitExit(int deadline_ms) {
  if (!WaitFor(deadline_ms, [this] { return !Running(); })) return -1;
  return exit_.value_or(-1);
}

}  // namespace penstock
