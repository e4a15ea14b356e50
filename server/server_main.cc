// penstock-server: one server process.
#include <glog/logging.h>
#include <pthread.h>
#include <signal.h>

#include <filesystem>
#include <iostream>

#include "common/base/fault.h"
#include "common/base/log.h"
#include "common/config/process_options.h"
#include "server/node/server.h"

namespace penstock {
namespace {

int Main(int argc, char** argv) {
  auto options =
      LoadProcessOptions(argc, argv, "penstock-server", "A Penstock server: holds shards of the tables.");
  if (options.ok()) {
    const Status reachable = RequireScheduler(*options);
    if (!reachable.ok()) options = reachable;
  }
  if (!options.ok()) {
    std::cerr << "penstock-server: " << options.status().message() << "\n";
    return 2;
  }
  if (Status armed = ArmFaultsFromEnvironment(); !armed.ok()) {
    std::cerr << "penstock-server: " << armed.message() << "\n";
    return 2;
  }
  // Signals are taken by this thread alone, with sigtimedwait.
  sigset_t ending;
  sigemptyset(&ending);
  sigaddset(&ending, SIGINT);
  sigaddset(&ending, SIGTERM);
  pthread_sigmask(SIG_BLOCK, &ending, nullptr);
  signal(SIGPIPE, SIG_IGN);
  const auto signalled = [&](long wait_ms) {
    const timespec wait{wait_ms / 1000, wait_ms % 1000 * 1000000};
    return sigtimedwait(&ending, nullptr, &wait) > 0;
  };
  // Named by the node: several servers may share a folder of logs.
  auto logging =
      Logging::Start({.program = std::filesystem::path(options->cluster.data_dir).filename().string(),
                      .level = options->log.level,
                      .dir = options->log.dir,
                      .max_mib = options->log.max_mib,
                      .keep_days = options->log.keep_days});
  if (!logging.ok()) {
    std::cerr << "penstock-server: " << logging.status().message() << "\n";
    return 1;
  }
  auto server = Server::Start(*options, [&] { return signalled(0); });
  if (!server.ok()) {
    if (server.status().code() == Code::kCancelled) return 0;
    std::cerr << "penstock-server: " << server.status().ToString() << "\n";
    LOG(ERROR) << server.status().ToString();
    return 1;
  }
  while (!signalled(200)) {
    if (Status refused = (*server)->refused(); !refused.ok()) {
      std::cerr << "penstock-server: " << refused.ToString() << "\n";
      return 1;
    }
  }
  (*server)->Stop();
  return 0;
}

}  // namespace
}  // namespace penstock

int main(int argc, char** argv) { return penstock::Main(argc, argv); }
