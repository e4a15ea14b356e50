// Supervisor: keeps a set of child processes running until it is told to stop them.
//
// Its own thread starts the children, waits for them and signals them, as SupervisorFsm says. Start and Stop
// belong to the thread that owns the object; RequestStop and the questions may come from any.
#pragma once

#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "common/base/status.h"
#include "tools/launch/child_process.h"
#include "tools/launch/supervisor_fsm.h"

namespace penstock {

struct ChildSpec {
  std::string name;               // "server-1"
  std::vector<std::string> argv;  // argv[0]: the path of the program
  std::string output;             // file that its standard output and error are appended to
  int stop_order = 0;             // lower ones end first
};

struct ChildState {
  std::string name;
  std::string output;
  pid_t pid = -1;  // -1: not running now
  uint32_t starts = 0;
  uint32_t failures = 0;  // deaths in a row
  std::optional<ExitState> last_exit;
};

class Supervisor {
 public:
  // `say` gets a line for every death, on the supervisor's thread.
  Supervisor(std::vector<ChildSpec> children, const SupervisorPolicy& policy,
             std::function<void(const std::string&)> say);
  ~Supervisor();  // Stop
  Supervisor(const Supervisor&) = delete;
  Supervisor& operator=(const Supervisor&) = delete;

  // Returns when every child was forked once.
  Status Start();
  // Begins the orderly stop; a second call kills what is left.
  void RequestStop();
  // RequestStop, unless that was done, and waits until no child is left (the policy's deadlines bound it).
  void Stop();

  std::vector<ChildState> Children() const;

 private:
  void Main();
  void Perform(const SupervisorFsm::Actions& actions);
  void StartChild(size_t child);
  void Reap();
  void Wait();

  const std::vector<ChildSpec> specs_;
  const std::function<void(const std::string&)> say_;
  int wake_fd_ = -1;
  std::thread thread_;
  // The thread's own.
  SupervisorFsm fsm_;
  std::vector<std::optional<ChildProcess>> processes_;

  mutable std::mutex mutex_;
  std::vector<ChildState> states_;  // guarded by mutex_
  int stop_requests_ = 0;           // guarded by mutex_
};

}  // namespace penstock
