// penstock up and down: a cluster of this machine's own, in the foreground or in the background.
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdio>
#include <filesystem>
#include <functional>
#include <nlohmann/json.hpp>

#include "client/admin.h"
#include "common/base/atomic_file.h"
#include "common/base/machine.h"
#include "common/base/strings.h"
#include "tools/cli/commands.h"
#include "tools/cli/exit_code.h"
#include "tools/cli/health.h"
#include "tools/cli/print.h"
#include "tools/cli/progress.h"
#include "tools/cli/target.h"
#include "tools/launch/cluster_launcher.h"
#include "tools/launch/launch_plan.h"

namespace penstock {
namespace {

constexpr uint64_t kDownMs = 45000;  // three groups of processes with ten seconds each, and some
constexpr char kReadyMark = '\0';

std::string AddressIn(const std::string& file) {
  auto text = ReadWholeFile(file);
  return text.ok() ? text->substr(0, text->find('\n')) : "?";
}

// Of `count` things: "1 server", "2 servers".
std::string Counted(uint64_t count, const std::string& thing) {
  return StrCat(count, " ", thing, count == 1 ? "" : "s");
}

void SayWhereThingsAre(const ClusterLauncher& cluster, Console& console) {
  const auto& paths = cluster.paths();
  const LaunchRecord& record = cluster.record();
  const std::string counts =
      StrCat(Counted(record.servers, "server"), ", ", Counted(record.workers, "worker"));
  if (record.joins()) {
    console.out << "Penstock has joined the cluster at " << record.join << ": " << counts
                << ", their names begin with " << record.name << "-\n  data       " << paths.root
                << "\n  logs       " << paths.logs() << "\n";
    return;
  }
  const bool made = cluster.token_file() == paths.token(Access::kOperator);
  const std::string programs = made ? "  (yours; for programs: " + paths.token(Access::kClient) + ")" : "";
  console.out << "Penstock is up: " << counts << "\n  data       " << paths.root << "\n  scheduler  "
              << AddressIn(paths.scheduler_address()) << "  (http://"
              << AddressIn(paths.node("scheduler") + "/http_address") << ")\n  token      "
              << cluster.token_file() << programs << "\n  logs       " << paths.logs() << "\n";
}

void SayWhichJobsGoOn(const nlohmann::json& jobs, Console& console) {
  for (const auto& job : jobs) {
    const JobProgress progress = ReadProgress(job);
    if (!progress.ended())
      console.out << "  goes on: " << PlainLine(progress, progress.examples_per_second) << "\n";
  }
}

Status SayWhatIsKnown(const ClusterLauncher& cluster, bool with_options, Console& console) {
  if (cluster.record().joins()) return Status::Ok();  // it is said where the cluster was started
  PENSTOCK_ASSIGN_OR_RETURN(
      auto client,
      ConnectTo({.data_dir = cluster.paths().root, .token_file = cluster.token_file()}, "penstock up"));
  PENSTOCK_ASSIGN_OR_RETURN(const nlohmann::json nodes, Admin(*client).Inspect("nodes"));
  const LaunchRecord& record = cluster.record();
  PENSTOCK_ASSIGN_OR_RETURN(const ClusterOptions options,
                            LoadClusterOptions(record.config, record.assignments));
  console.out << LeftOutText(nodes, cluster.supervisor().Children(), {MachineName(), options.server.host});
  PENSTOCK_ASSIGN_OR_RETURN(const nlohmann::json status, Admin(*client).Inspect("status"));
  if (!status.value("ready", false)) {
    for (const std::string& problem : HealthProblems(status))
      console.out << "  problem: " << FormatText(problem) << "\n";
  }
  if (with_options) console.out << WithoutEffectText(options, record.assignments, status);
  PENSTOCK_ASSIGN_OR_RETURN(const nlohmann::json jobs, Admin(*client).Inspect("jobs"));
  SayWhichJobsGoOn(jobs, console);
  return Status::Ok();
}

// Runs the cluster until a signal. `ready` is called once it serves.
Result<int> RunCluster(const Arguments& arguments, Console& console, InterruptSignals& signals,
                       const std::function<void()>& ready) {
  LaunchOptions options{
      .data_dir = DataDirOf(arguments.target), .servers = arguments.servers, .workers = arguments.workers};
  options.address = arguments.address;
  options.join = arguments.join;
  options.token_file = arguments.join_token;
  options.name = arguments.node_name;
  if (arguments.config) options.config = arguments.config;
  if (!arguments.assignments.empty()) options.assignments = arguments.assignments;
  const auto say = TimedLines(console);
  options.say = say;
  PENSTOCK_ASSIGN_OR_RETURN(auto cluster, ClusterLauncher::Start(std::move(options)));
  const Status waited = cluster->WaitUntilReady(uint64_t{arguments.ready_seconds} * 1000, &signals);
  if (!waited.ok()) {
    cluster->Stop(&signals);
    return waited;
  }
  SayWhereThingsAre(*cluster, console);
  const bool with_options = arguments.config || !arguments.assignments.empty();
  if (const Status said = SayWhatIsKnown(*cluster, with_options, console); !said.ok())
    console.err << "penstock: " << said.message() << std::endl;
  ready();
  while (!signals.Wait(60000)) {
  }
  const int signal = signals.signal();
  say("ending the cluster");
  cluster->Stop(&signals);
  return signal == SIGINT ? kExitInterrupted : kExitOk;
}

// In the background process, once the cluster is up: tells the one in front, and writes to the log from now
// on.
void Detach(const std::string& log) {
  [[maybe_unused]] const ssize_t n = ::write(STDOUT_FILENO, &kReadyMark, 1);
  const int fd = ::open(log.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644);
  if (fd < 0) {
    std::perror(("penstock: " + log + " cannot be written, what is to be said is lost").c_str());
    return;
  }
  ::dup2(fd, STDOUT_FILENO);
  ::dup2(fd, STDERR_FILENO);
  ::close(fd);
}

Result<int> RunBehind(const Arguments& arguments, Console& console, int pipe_end) {
  ::setsid();
  const int null = ::open("/dev/null", O_RDONLY | O_CLOEXEC);
  ::dup2(null, STDIN_FILENO);
  ::close(null);
  ::dup2(pipe_end, STDOUT_FILENO);
  ::close(pipe_end);
  InterruptSignals signals;
  return RunCluster(arguments, console, signals, [&] {
    const std::string file = DataDirPaths(DataDirOf(arguments.target)).logs() + "/launcher.out";
    console.out << "In the background; what it has to say goes to " << file
                << ", and `penstock down --data-dir " << DataDirOf(arguments.target) << "` ends it.\n"
                << std::flush;
    Detach(file);
  });
}

int WaitForExit(pid_t child) {
  int status = 0;
  while (::waitpid(child, &status, 0) < 0 && errno == EINTR) {
  }
  return WIFEXITED(status) ? WEXITSTATUS(status) : kExitFailed;
}

// In front: passes on what the background process says until it is ready or has ended.
int WatchStart(pid_t child, int pipe_end, Console& console) {
  InterruptSignals signals;
  bool told = false;
  for (;;) {
    pollfd fds[] = {{.fd = pipe_end, .events = POLLIN, .revents = 0},
                    {.fd = signals.fd(), .events = POLLIN, .revents = 0}};
    ::poll(fds, told ? 1 : 2, -1);
    if (!told && signals.Received()) {
      ::kill(child, SIGINT);
      told = true;
    }
    if ((fds[0].revents & (POLLIN | POLLHUP)) == 0) continue;
    char text[4096];
    const ssize_t n = ::read(pipe_end, text, sizeof text);
    if (n <= 0) return WaitForExit(child);
    const std::string_view piece(text, static_cast<size_t>(n));
    const size_t mark = piece.find(kReadyMark);
    console.out << piece.substr(0, mark) << std::flush;
    if (mark != std::string_view::npos) return kExitOk;
  }
}

Result<int> RunDetached(const Arguments& arguments, Console& console) {
  int ends[2];
  if (::pipe2(ends, O_CLOEXEC) != 0) return ErrnoStatus(errno, "pipe");
  console.out.flush();
  const pid_t child = ::fork();  // no other thread exists yet
  if (child < 0) return ErrnoStatus(errno, "fork");
  if (child == 0) {
    ::close(ends[0]);
    return RunBehind(arguments, console, ends[1]);
  }
  ::close(ends[1]);
  const int code = WatchStart(child, ends[0], console);
  ::close(ends[0]);
  return code;
}

}  // namespace

Result<int> RunUp(const Arguments& arguments, Console& console) {
  if (arguments.detach) return RunDetached(arguments, console);
  InterruptSignals signals;
  return RunCluster(arguments, console, signals, [&] {
    console.out << "Ctrl-C, or `penstock down --data-dir " << DataDirOf(arguments.target) << "`, ends it.\n"
                << std::flush;
  });
}

Result<int> RunDown(const Arguments& arguments, Console& console) {
  const DataDirPaths paths(DataDirOf(arguments.target));
  if (!std::filesystem::exists(paths.record()))
    return NotFound("no cluster was ever started in " + paths.root);
  const auto holder = LockHolder(paths);
  if (!holder) {
    console.out << "no cluster runs in " << paths.root << "\n";
    return kExitOk;
  }
  if (*holder <= 0) return FailedPrecondition(paths.lock() + " is held, but names no process");
  const int pidfd = OpenPidFd(*holder);
  if (pidfd < 0) return ErrnoStatus(errno, "process " + std::to_string(*holder) + " of " + paths.lock());
  ::kill(*holder, SIGTERM);
  const auto record = ReadLaunchRecord(paths);
  uint64_t patience_ms = kDownMs;
  if (record.ok()) {
    const auto options = LoadClusterOptions(record->config, record->assignments);
    if (options.ok()) patience_ms += 3 * DrainMs(*options);  // each group is given that
  }
  pollfd exit{.fd = pidfd, .events = POLLIN, .revents = 0};
  const int ended = ::poll(&exit, 1, static_cast<int>(patience_ms));
  ::close(pidfd);
  if (ended <= 0) {
    return DeadlineExceeded("the cluster in " + paths.root + " has not ended after " +
                            std::to_string(patience_ms / 1000) + " s (process " + std::to_string(*holder) +
                            ")");
  }
  console.out << (record.ok() && record->joins() ? "what joined a cluster from " : "the cluster in ")
              << paths.root << " has ended; its data stay\n";
  return kExitOk;
}

}  // namespace penstock
