// ChildProcess: one process that was started by fork and exec and that never outlives the thread that started
// it.
//
// The kernel kills the child when that thread ends, however it ends (PR_SET_PDEATHSIG), so a launcher that is
// killed leaves nothing behind. One thread.
#pragma once

#include <sys/types.h>

#include <optional>
#include <string>
#include <vector>

#include "common/base/status.h"

namespace penstock {

struct ExitState {
  int code = 0;  // when signal is 0
  int signal = 0;
  // "exit code 3", "signal 9 (Killed)"
  std::string ToString() const;
  // The program does not take its command line, file or options (common/config/process.h).
  bool refused_options() const { return signal == 0 && code == 2; }
};

class ChildProcess {
 public:
  // argv[0] is the path of the program. Standard output and error are appended to the file `output`, standard
  // input is empty. The child has a process group of its own (a Ctrl-C at the terminal reaches the launcher
  // alone), no blocked signals, and the working folder of the launcher. A program that cannot be executed is
  // an exit with code 127 and a line in `output`.
  static Result<ChildProcess> Spawn(const std::vector<std::string>& argv, const std::string& output);
  // The same with these three descriptors of the caller's as standard input, output and error; they stay the
  // caller's to close.
  struct Streams {
    int in, out, err;
  };
  static Result<ChildProcess> Spawn(const std::vector<std::string>& argv, const Streams& streams);
  ChildProcess(ChildProcess&& other) noexcept;
  ChildProcess& operator=(ChildProcess&& other) noexcept;
  ~ChildProcess();  // kills and waits for a child that still runs

  pid_t pid() const { return pid_; }
  // Readable when the child has ended.
  int exit_fd() const { return pidfd_; }
  // What it ended with, or nothing while it runs. After that the pid is free for others.
  std::optional<ExitState> Poll();
  void Signal(int signal);

 private:
  ChildProcess(pid_t pid, int pidfd) : pid_(pid), pidfd_(pidfd) {}
  pid_t pid_ = -1;  // -1: has ended and was waited for
  int pidfd_ = -1;
};

// A descriptor that becomes readable when the process ends; -1 with errno. (glibc 2.36 declares pidfd_open
// without C linkage.)
int OpenPidFd(pid_t pid);

}  // namespace penstock
