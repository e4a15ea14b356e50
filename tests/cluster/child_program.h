// ChildProgram: a program that a test has started, which it may signal, and wait for with a deadline.
#pragma once

#include <sys/types.h>

#include <functional>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "common/base/status.h"

namespace penstock {

// The folder of the programs under test.
std::string ProgramFolder();

// What a sanitizer costs in time, on a busy machine (as tests/register.cmake has it), and in memory.
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
inline constexpr int kSanitizerCost = 5;
#else
inline constexpr int kSanitizerCost = 1;
#endif

// Waits until `done` is true, polling; false at the deadline, which is later in sanitized builds.
bool WaitFor(int deadline_ms, const std::function<bool()>& done);

class ChildProgram {
 public:
  struct Options {
    std::vector<std::string> argv;                   // argv[0] is the path
    std::string output;                              // what it prints is appended to this file
    std::string errors;                              // standard error apart; empty: to `output` as well
    std::map<std::string, std::string> environment;  // beside that of the test
  };

  // It dies with the test, too.
  static Result<ChildProgram> Start(const Options& options);
  ChildProgram(ChildProgram&& other) noexcept;
  ChildProgram& operator=(ChildProgram&& other) noexcept;
  ~ChildProgram();  // kills what runs

  pid_t pid() const { return pid_; }
  bool Running();
  void Signal(int signal);
  // SIGKILL, and waits for the end.
  void Kill();
  // Waits until it has ended by itself: exit code, 128 + signal when it was killed, or -1 at the deadline.
  int WaitExit(int deadline_ms);

 private:
  explicit ChildProgram(pid_t pid) : pid_(pid) {}
  pid_t pid_ = -1;
  std::optional<int> exit_;
};

}  // namespace penstock
