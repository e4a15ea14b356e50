#include "tools/launch/cluster_launcher.h"

#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstdlib>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <thread>

#include "client/admin.h"
#include "client/client.h"
#include "common/base/atomic_file.h"
#include "common/base/machine.h"
#include "common/base/strings.h"
#include "common/net/address.h"
#include "common/net/identity.h"
#include "tools/launch/launch_plan.h"

namespace penstock {
namespace {

// A child that dies so often in a row before the cluster was ready will not come up. (The first deaths may be
// those of a launch right after a crash, when an old process still holds its folder.)
constexpr uint32_t kMaxFailures = 5;
constexpr size_t kTailLines = 5;
constexpr uint64_t kFullBytes = 1 << 20;
constexpr std::string_view kTemporaryPrefix = "penstock-";
constexpr const char* kPrivateMark = "/private";  // a file beside "/cluster" that says whose it is

std::string TemporaryBase() {
  const char* base = std::getenv("TMPDIR");
  return base != nullptr && *base != '\0' ? base : "/tmp";
}

// What the program said last: the line in which it says why it ends, or else the last few.
std::string LastWords(const std::string& path) {
  auto text = ReadWholeFile(path);
  std::vector<std::string> lines;
  if (text.ok()) {
    for (const std::string_view line : StrSplit(*text, '\n')) {
      if (!line.empty()) lines.emplace_back(line);
    }
  }
  if (lines.empty()) return "(it printed nothing)";
  if (lines.size() > kTailLines) lines.erase(lines.begin(), lines.end() - kTailLines);
  for (auto line = lines.rbegin(); line != lines.rend(); ++line) {
    if (line->starts_with("penstock-")) return *line;
  }
  return StrJoin(lines, "\n");
}

// A process on a full disk may not even be able to say so.
std::string FullDisk(const std::string& folder) {
  std::error_code error;
  const auto space = std::filesystem::space(folder, error);
  if (error || space.available >= kFullBytes) return "";
  return StrCat("\nThe disk of ", folder, " is full: ", space.available / 1024, " KiB are left");
}

Status CheckPrograms(const std::string& folder) {
  for (const char* name : {"penstock-scheduler", "penstock-server", "penstock-worker"}) {
    const std::string path = folder + "/" + name;
    if (::access(path.c_str(), X_OK) != 0) {
      return FailedPrecondition("program " + path + " is missing: it must stand beside penstock");
    }
  }
  return Status::Ok();
}

// What the launcher decides for each of its processes is not for the operator to set.
Status CheckUnset(const ClusterOptions& options) {
  const auto& o = options.cluster;
  if (o.data_dir != ClusterOptions().cluster.data_dir) {
    return InvalidArgument("cluster.data_dir is '" + o.data_dir +
                           "': each process of a launched cluster has a folder of its own, in the data "
                           "directory that --data-dir names");
  }
  if (o.scheduler.empty()) return Status::Ok();
  return InvalidArgument("cluster.scheduler is '" + o.scheduler +
                         "': a launched cluster has a scheduler of its own, which its processes find");
}

// What was not given, and whether the rest can be.
Status CompleteJoin(LaunchRecord* record) {
  record->least_servers = 0;
  PENSTOCK_RETURN_IF_ERROR(CheckAddress(record->join).Prepend("--join"));
  if (record->address.empty() && !IsLoopback(BareHost(record->join.substr(0, record->join.rfind(':'))))) {
    return InvalidArgument(
        StrCat("--join ", record->join,
               " needs --address: the address of this machine at which the cluster's other "
               "machines reach its servers"));
  }
  if (record->token_file.empty()) {
    return InvalidArgument(
        "--join needs --token-file: a copy of the cluster's node.token, with its operator.token and "
        "client.token beside it");
  }
  record->token_file = AbsolutePath(record->token_file);
  const std::filesystem::path node(record->token_file);
  std::vector<std::string> files = {record->token_file};
  // Servers must know what those who call them prove. A cluster with one token has it under another name.
  if (node.filename() == "node.token") {
    for (const Access access : {Access::kOperator, Access::kClient})
      files.push_back(DataDirPaths(node.parent_path().string()).token(access));
  }
  for (const std::string& file : files) {
    if (::access(file.c_str(), R_OK) != 0)
      return FailedPrecondition(StrCat(
          "token file ", file, " cannot be read: copy the token files of the cluster's data directory here"));
  }
  if (record->name.empty()) record->name = MachineName();
  return CheckPeerName(record->name).Prepend("--name");
}

Result<LaunchRecord> Decide(const LaunchOptions& options, const DataDirPaths& paths) {
  std::optional<LaunchRecord> last;
  auto read = ReadLaunchRecord(paths);
  if (read.ok()) last = *read;
  if (!read.ok() && read.status().code() != Code::kNotFound) {
    return FailedPrecondition("data directory " + paths.root + " cannot be used: " + read.status().message());
  }
  PENSTOCK_ASSIGN_OR_RETURN(LaunchRecord record, DecideLaunch(options.servers, options.workers, last));
  if (options.join && last && last->join != *options.join && !last->joins()) {
    return FailedPrecondition(StrCat("data directory ", paths.root,
                                     " holds a cluster of its own: --join needs another --data-dir"));
  }
  for (const auto& [given, kept] : {std::pair{&options.address, &record.address},
                                    {&options.join, &record.join},
                                    {&options.token_file, &record.token_file},
                                    {&options.name, &record.name}}) {
    if (*given) *kept = **given;
  }
  if (record.joins()) PENSTOCK_RETURN_IF_ERROR(CompleteJoin(&record));
  if (options.config) record.config = options.config->empty() ? "" : AbsolutePath(*options.config);
  if (options.assignments) record.assignments = *options.assignments;
  return record;
}

// Settings of the last start that the next one has no more, as those that are given take the place of all.
std::vector<std::string> ForgottenSettings(const DataDirPaths& paths, const LaunchRecord& next) {
  std::vector<std::string> forgotten;
  const auto last = ReadLaunchRecord(paths);
  if (!last.ok()) return forgotten;
  const auto key = [](const std::string& assignment) { return assignment.substr(0, assignment.find('=')); };
  for (const std::string& assignment : last->assignments) {
    if (std::ranges::none_of(next.assignments,
                             [&](const std::string& other) { return key(other) == key(assignment); }))
      forgotten.push_back(assignment);
  }
  return forgotten;
}

}  // namespace

std::string ProgramFolder() {
  std::error_code error;
  const auto self = std::filesystem::read_symlink("/proc/self/exe", error);
  return error ? "." : self.parent_path().string();
}

Result<std::unique_ptr<ClusterLauncher>> ClusterLauncher::Start(LaunchOptions options) {
  // What is wrong with the request is said before anything is made.
  const DataDirPaths paths(AbsolutePath(options.data_dir));
  PENSTOCK_ASSIGN_OR_RETURN(const LaunchRecord wanted, Decide(options, paths));
  PENSTOCK_ASSIGN_OR_RETURN(const ClusterOptions asked,
                            LoadClusterOptions(wanted.config, wanted.assignments));
  if (options.config || options.assignments) PENSTOCK_RETURN_IF_ERROR(CheckUnset(asked));
  const std::string programs = options.programs.empty() ? ProgramFolder() : options.programs;
  PENSTOCK_RETURN_IF_ERROR(CheckPrograms(programs));
  PENSTOCK_ASSIGN_OR_RETURN(DataDirLock lock, DataDirLock::Acquire(paths));
  std::unique_ptr<ClusterLauncher> launcher(new ClusterLauncher(paths, std::move(lock)));
  PENSTOCK_ASSIGN_OR_RETURN(launcher->record_, Decide(options, paths));
  PENSTOCK_ASSIGN_OR_RETURN(const ClusterOptions cluster,
                            LoadClusterOptions(launcher->record_.config, launcher->record_.assignments));
  const auto& security = cluster.security;
  launcher->token_file_ =
      security.operator_token_file.empty() ? security.token_file : security.operator_token_file;
  if (launcher->record_.joins()) {
    launcher->token_file_ = OperatorTokenBeside(launcher->record_.token_file);
  } else if (security.token_file.empty()) {
    launcher->token_file_ = paths.token(Access::kOperator);
    for (const Access access : {Access::kNode, Access::kOperator, Access::kClient})
      PENSTOCK_RETURN_IF_ERROR(EnsureTokenFile(paths.token(access)).status());
    // Of versions with one token for all.
    const std::string former = paths.root + "/cluster.token";
    if (std::filesystem::exists(former)) {
      options.say(StrCat(former, " is of an earlier version and proves nothing any more: give programs ",
                         paths.token(Access::kClient), " and remove it"));
    }
  }
  for (const std::string& setting : ForgottenSettings(paths, launcher->record_))
    options.say(StrCat("not set any more: ", setting, "; --set names all settings of a cluster anew"));
  PENSTOCK_RETURN_IF_ERROR(WriteLaunchRecord(paths, launcher->record_));
  // An address of the last life must not be taken for that of the new one.
  std::error_code ignored;
  std::filesystem::remove(paths.scheduler_address(), ignored);
  SupervisorPolicy policy = options.policy;
  policy.stop_deadline_ms += DrainMs(cluster);
  launcher->supervisor_ = std::make_unique<Supervisor>(
      PlanLaunch(paths, programs, launcher->record_, cluster), policy, std::move(options.say));
  PENSTOCK_RETURN_IF_ERROR(launcher->supervisor_->Start());
  return launcher;
}

ClusterLauncher::~ClusterLauncher() { Stop(); }

Status ClusterLauncher::CheckChildren() const {
  for (const ChildState& child : supervisor_->Children()) {
    if (!child.last_exit || child.failures == 0) continue;
    const bool refused = child.last_exit->refused_options();
    if (!refused && child.failures < kMaxFailures) continue;
    return Status(refused ? Code::kInvalidArgument : Code::kFailedPrecondition,
                  StrCat(child.name, " does not start (", child.last_exit->ToString(), "), see ",
                         child.output, ":\n", LastWords(child.output), FullDisk(paths_.root)));
  }
  return Status::Ok();
}

Status ClusterLauncher::WaitUntilReady(uint64_t deadline_ms, InterruptSignals* signals) {
  using Clock = std::chrono::steady_clock;
  const auto end = Clock::now() + std::chrono::milliseconds(deadline_ms);
  ClientOptions options{.scheduler = record_.joins() ? record_.join : paths_.scheduler_address(),
                        .token_file = token_file_,
                        .name = "penstock up"};
  options.deadline_ms = 2000;
  options.connect_timeout_ms = 1000;
  std::unique_ptr<Client> client;
  std::string missing = "the scheduler does not answer yet";
  while (Clock::now() < end) {
    PENSTOCK_RETURN_IF_ERROR(CheckChildren());
    if (client == nullptr) {
      auto connected = Client::Connect(options);
      if (connected.ok()) client = std::move(*connected);
      if (!connected.ok() && connected.status().code() == Code::kPermissionDenied) return connected.status();
    }
    if (client != nullptr) {
      auto status = Admin(*client).Inspect("status");
      missing = status.ok() ? MissingForReady(*status, record_) : status.status().message();
      if (missing.empty()) return Status::Ok();
    }
    if (signals == nullptr) {
      std::this_thread::sleep_for(std::chrono::milliseconds(50));
    } else if (signals->Wait(50)) {
      return Cancelled("interrupted while the cluster was starting");
    }
  }
  return DeadlineExceeded("the cluster in " + paths_.root + " is not ready after " +
                          std::to_string(deadline_ms / 1000) + " s: " + missing + " (logs in " +
                          paths_.logs() + ")");
}

void ClusterLauncher::Stop(InterruptSignals* signals) {
  if (supervisor_ == nullptr) return;
  supervisor_->RequestStop();
  if (signals != nullptr) {
    signals->Clear();
    const auto running = [&] {
      const auto children = supervisor_->Children();
      return std::any_of(children.begin(), children.end(),
                         [](const ChildState& child) { return child.pid > 0; });
    };
    while (running()) {
      if (!signals->Wait(20)) continue;
      supervisor_->RequestStop();
      break;
    }
  }
  supervisor_->Stop();
  supervisor_.reset();
}

std::string MissingForReady(const nlohmann::json& status, const LaunchRecord& record) {
  // What joins a cluster is not the only one there.
  const std::string begin = record.joins() ? record.name + "-" : "";
  uint32_t servers = 0, workers = 0;
  for (const auto& node : status.value("nodes", nlohmann::json::array())) {
    if (node.value("state", "") != "alive" || !node.value("name", "").starts_with(begin)) continue;
    ++(node.value("role", "") == "server" ? servers : workers);
  }
  if (servers < record.servers) return StrCat(servers, " of ", record.servers, " servers have registered");
  if (workers < record.workers) return StrCat(workers, " of ", record.workers, " workers have registered");
  if (record.joins()) return "";  // whatever else the cluster waits for
  if (status.value("ready", false)) return "";
  // A quarantined shard waits for an operator, who needs the cluster for that.
  const auto shards = status.value("shards", nlohmann::json::object());
  const auto quarantined = shards.value("quarantined", 0), total = shards.value("total", 0);
  if (quarantined > 0 && shards.value("serving", 0) + quarantined == total) return "";
  std::string problems;
  for (const auto& problem : status.value("problems", nlohmann::json::array())) {
    if (problem.is_string()) StrAppend(&problems, problems.empty() ? "" : "; ", problem.get<std::string>());
  }
  return problems.empty() ? StrCat(shards.value("serving", 0), " of ", total, " shards are served")
                          : problems;
}

std::string LeftOutText(const nlohmann::json& nodes, const std::vector<ChildState>& launched,
                        const std::set<std::string>& hosts) {
  std::string text;
  for (const auto& node : nodes) {
    const std::string name = node.value("name", "");
    const bool ours = std::any_of(launched.begin(), launched.end(),
                                  [&](const ChildState& child) { return child.name == name; });
    const std::string host = node.value("host", "");  // empty: of an earlier version
    if (ours || (!host.empty() && !hosts.contains(host))) continue;
    const auto held = node.value("shards", 0u) + node.value("backups", 0u);
    StrAppend(&text, "  not started: ", name, ", which took part before",
              held > 0 ? StrCat("; it holds ", held, " shards or copies of them")
                       : StrCat("; it holds no shards, and once it counts as dead `penstock node remove ",
                                node.value("id", 0u), "` forgets it"),
              "\n");
  }
  return text;
}

std::string WithoutEffectText(const ClusterOptions& options, const std::vector<std::string>& assignments,
                              const nlohmann::json& status) {
  const auto copies = status.value("copies", nlohmann::json::object());
  const auto shards = status.value("shards", nlohmann::json::object());
  const auto& o = options.scheduler;
  std::string text;
  const ClusterOptions::Scheduler unset;
  const auto compare = [&](const char* name, uint32_t set, uint32_t kept, uint32_t otherwise,
                           const std::string& change) {
    const bool asked = std::ranges::any_of(assignments, [&](const std::string& assignment) {
      return assignment.starts_with(StrCat("scheduler.", name, "="));
    });
    if (set == kept || (set == otherwise && !asked)) return;
    StrAppend(&text, "  without effect: scheduler.", name, " = ", set, ", as this cluster exists and has ",
              kept, ", which ", change, "\n");
  };
  const std::string order =
      StrCat("`penstock cluster copies ", o.copies, " --min ", o.min_copies, "` changes");
  compare("copies", o.copies, copies.value("wanted", o.copies), unset.copies, order);
  compare("min_copies", o.min_copies, copies.value("min", o.min_copies), unset.min_copies, order);
  compare("shards", o.shards, shards.value("total", o.shards), unset.shards, "does not change");
  return text;
}

Result<std::string> MakePrivateFolder() {
  PENSTOCK_ASSIGN_OR_RETURN(std::string folder, MakeTemporaryFolder());
  PENSTOCK_RETURN_IF_ERROR(WriteFileAtomically(folder + kPrivateMark, ""));
  return folder;
}

std::vector<std::string> RemoveAbandonedClusters() {
  std::vector<std::string> removed;
  std::error_code ignored;
  for (const auto& entry : std::filesystem::directory_iterator(TemporaryBase(), ignored)) {
    const std::string folder = entry.path().string();
    // Everybody may put something there: only what we have made for a private cluster is ours to remove.
    struct stat mark {};
    const bool ours = entry.path().filename().string().starts_with(kTemporaryPrefix) &&
                      entry.symlink_status(ignored).type() == std::filesystem::file_type::directory &&
                      ::lstat((folder + kPrivateMark).c_str(), &mark) == 0 && mark.st_uid == ::geteuid();
    const DataDirPaths paths(folder + "/cluster");
    // One without a record is about to be made.
    if (!ours || !std::filesystem::exists(paths.record(), ignored) || LockHolder(paths)) continue;
    const auto lock = DataDirLock::Acquire(paths);
    if (!lock.ok()) continue;
    RemoveFolder(folder);
    removed.push_back(folder);
  }
  return removed;
}

Result<std::string> MakeTemporaryFolder() {
  std::string path = StrCat(TemporaryBase(), "/", kTemporaryPrefix, "XXXXXX");
  if (::mkdtemp(path.data()) == nullptr) return FailedPrecondition(ErrnoStatus(errno, path).message());
  return path;
}

void RemoveFolder(const std::string& path) {
  std::error_code ignored;
  std::filesystem::remove_all(path, ignored);
}

}  // namespace penstock
