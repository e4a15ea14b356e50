// penstock-scheduler: the process that knows who is in the cluster, which server holds which shard, and what
// the jobs do.
#include <glog/logging.h>
#include <pthread.h>
#include <signal.h>

#include <iostream>

#include "common/base/fault.h"
#include "common/base/log.h"
#include "common/config/process_options.h"
#include "scheduler/scheduler.h"

namespace penstock {
namespace {

constexpr char kProgram[] = "penstock-scheduler";

int Fail(const Status& status, int code) {
  std::cerr << kProgram << ": " << status.ToString() << "\n";
  return code;
}

int Main(int argc, char** argv) {
  auto options = LoadProcessOptions(argc, argv, kProgram,
                                    "The Penstock scheduler: membership, shard map, tables, jobs.");
  if (!options.ok()) return Fail(options.status(), 2);
  if (Status armed = ArmFaultsFromEnvironment(); !armed.ok()) return Fail(armed, 2);
  // Signals are taken by this thread alone, with sigwait.
  sigset_t ending;
  sigemptyset(&ending);
  sigaddset(&ending, SIGINT);
  sigaddset(&ending, SIGTERM);
  pthread_sigmask(SIG_BLOCK, &ending, nullptr);
  signal(SIGPIPE, SIG_IGN);
  auto logging = Logging::Start({.program = kProgram,
                                 .node = "scheduler",
                                 .level = options->log.level,
                                 .dir = options->log.dir,
                                 .max_mib = options->log.max_mib,
                                 .keep_days = options->log.keep_days});
  if (!logging.ok()) return Fail(logging.status(), 1);
  auto scheduler = Scheduler::Start(*options);
  if (!scheduler.ok()) {
    // Standard error has it below, in one line; the log file shall have it, too.
    if (!options->log.dir.empty()) LOG(WARNING) << scheduler.status().ToString();
    return Fail(scheduler.status(), 1);
  }
  int signal_number = 0;
  sigwait(&ending, &signal_number);
  LOG(INFO) << "ending on signal " << signal_number;
  (*scheduler)->Stop();
  return 0;
}

}  // namespace
}  // namespace penstock

int main(int argc, char** argv) { return penstock::Main(argc, argv); }
