// RunProcess: what the mains of scheduler, server and worker share: options, fault points, signals, logging,
// exit codes.
#pragma once

#include <signal.h>

#include <functional>
#include <string>

#include "common/base/status.h"
#include "common/config/cluster_options.h"

namespace penstock {

// SIGINT and SIGTERM, blocked for all threads that begin later and taken here. One object, on the main
// thread.
class EndingSignals {
 public:
  EndingSignals();
  // Waits up to `ms` milliseconds; true once one of the signals has come, and from then on.
  bool Wait(long ms);

 private:
  sigset_t signals_;
  bool ending_ = false;
};

struct ProcessInfo {
  std::string program;  // "penstock-server"
  std::string summary;
  bool needs_scheduler = true;  // cluster.scheduler must say where it is
};

// Options in rising precedence: defaults, --config FILE, PENSTOCK_<SECTION>_<NAME>, --set section.key=value
// (repeated); --help and --version print and end with 0. Then allows itself as many files as the system does,
// runs `run` and gives the exit code: 0 when it ends ok or cancelled, 4 when the cluster refused the process
// (kPermissionDenied), 2 for a wrong command line, file or option (kInvalidArgument), 1 for other errors. An
// error is printed in one line.
int RunProcess(int argc, char** argv, const ProcessInfo& info,
               const std::function<Status(const ClusterOptions&, EndingSignals&)>& run);

}  // namespace penstock
