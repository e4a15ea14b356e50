#include "tests/cluster/penstock_command.h"

#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <sstream>

#include "common/base/atomic_file.h"

namespace penstock {
namespace {

std::string TextOf(const std::string& path) {
  auto text = ReadWholeFile(path);
  return text.ok() ? *text : "";
}

std::vector<std::string> Argv(const std::vector<std::string>& arguments) {
  std::vector<std::string> argv{ProgramFolder() + "/penstock"};
  argv.insert(argv.end(), arguments.begin(), arguments.end());
  return argv;
}

bool IsNumber(const std::string& text) {
  return !text.empty() && text.find_first_not_of("0123456789") == std::string::npos;
}

// The fourth field of /proc/PID/stat, behind the name in brackets, which may hold anything.
pid_t ParentOf(const std::string& pid) {
  std::ifstream in("/proc/" + pid + "/stat");
  std::stringstream stat;
  stat << in.rdbuf();
  const std::string text = stat.str();
  const size_t bracket = text.rfind(')');
  if (bracket == std::string::npos) return -1;
  std::istringstream rest(text.substr(bracket + 1));
  std::string state;
  pid_t parent = -1;
  rest >> state >> parent;
  return parent;
}

// From its argument "cluster.data_dir=.../server-1".
std::string NodeName(const std::string& pid) {
  std::ifstream in("/proc/" + pid + "/cmdline", std::ios::binary);
  std::string argument, name;
  while (std::getline(in, argument, '\0')) {
    if (argument.starts_with("cluster.data_dir=")) name = argument.substr(argument.rfind('/') + 1);
  }
  return name;
}

// A process that is no child of this one: killed and waited for by descriptor, so that its id may be used
// anew.
class OtherProcess {
 public:
  explicit OtherProcess(pid_t pid) : fd_(static_cast<int>(::syscall(SYS_pidfd_open, pid, 0))) {}
  ~OtherProcess() {
    if (fd_ >= 0) ::close(fd_);
  }
  OtherProcess(const OtherProcess&) = delete;
  OtherProcess& operator=(const OtherProcess&) = delete;
  void Kill() const {
    if (fd_ >= 0) ::syscall(SYS_pidfd_send_signal, fd_, SIGKILL, nullptr, 0);
  }
  bool WaitEnd(int deadline_ms) const {
    pollfd ended{.fd = fd_, .events = POLLIN, .revents = 0};
    return fd_ < 0 || ::poll(&ended, 1, deadline_ms) == 1;
  }

 private:
  int fd_;
};

}  // namespace

TemporaryFolder::TemporaryFolder() {
  path_ = (std::filesystem::temp_directory_path() / "penstock-test-XXXXXX").string();
  if (::mkdtemp(path_.data()) == nullptr) ::abort();
}

TemporaryFolder::~TemporaryFolder() {
  std::error_code ignored;
  std::filesystem::remove_all(path_, ignored);
}

std::string TemporaryFolder::Write(const std::string& name, const std::string& contents) const {
  std::string path = path_ + "/" + name;
  std::ofstream(path, std::ios::binary) << contents;
  return path;
}

CommandResult RunPenstock(const std::vector<std::string>& arguments, int deadline_ms) {
  TemporaryFolder folder;
  const std::string out = folder.path() + "/out", err = folder.path() + "/err";
  auto program =
      ChildProgram::Start({.argv = Argv(arguments), .output = out, .errors = err, .environment = {}});
  CommandResult result;
  if (program.ok()) result.code = program->WaitExit(deadline_ms);
  result.out = TextOf(out);
  result.err = TextOf(err);
  return result;
}

Status CommandCluster::Up(int deadline_ms) {
  std::vector<std::string> arguments{"up", "--data-dir", data_dir()};
  if (lives_ == 0) {
    arguments.insert(arguments.end(), {"--servers", std::to_string(options_.servers), "--workers",
                                       std::to_string(options_.workers)});
    for (const auto& assignment : options_.set) arguments.insert(arguments.end(), {"--set", assignment});
  }
  ++lives_;
  const std::string output = folder_.path() + "/up-" + std::to_string(lives_) + ".out";
  launcher_.reset();
  PENSTOCK_ASSIGN_OR_RETURN(
      ChildProgram launcher,
      ChildProgram::Start({.argv = Argv(arguments), .output = output, .errors = "", .environment = {}}));
  launcher_ = std::move(launcher);
  const bool up = WaitFor(deadline_ms, [&] {
    return TextOf(output).find("Penstock is up") != std::string::npos || !launcher_->Running();
  });
  if (!up || !launcher_->Running()) return FailedPrecondition("penstock up: " + TextOf(output));
  return Status::Ok();
}

int CommandCluster::Down() {
  const CommandResult down = RunPenstock({"down", "--data-dir", data_dir()});
  const int up = launcher_ ? launcher_->WaitExit(10000) : 0;
  return up != 0 ? up : down.code;
}

int CommandCluster::KillAll() {
  std::vector<std::unique_ptr<OtherProcess>> processes;
  for (const auto& [name, pid] : Children()) processes.push_back(std::make_unique<OtherProcess>(pid));
  const int count = static_cast<int>(processes.size()) + (launcher_->Running() ? 1 : 0);
  launcher_->Kill();  // first: it would start its children again
  for (const auto& process : processes) process->Kill();
  for (const auto& process : processes) {
    if (!process->WaitEnd(10000)) return -1;
  }
  return count;
}

std::map<std::string, pid_t> CommandCluster::Children() const {
  std::map<std::string, pid_t> children;
  if (!launcher_) return children;
  for (const auto& entry : std::filesystem::directory_iterator("/proc")) {
    const std::string pid = entry.path().filename().string();
    if (!IsNumber(pid) || ParentOf(pid) != launcher_->pid()) continue;
    if (const std::string name = NodeName(pid); !name.empty()) children[name] = std::stoi(pid);
  }
  return children;
}

std::string CommandCluster::Output() const {
  std::string text;
  for (int life = 1; life <= lives_; ++life)
    text += TextOf(folder_.path() + "/up-" + std::to_string(life) + ".out");
  return text;
}

Result<std::unique_ptr<Client>> CommandCluster::Connect() const {
  ClientOptions options;
  options.scheduler = data_dir() + "/scheduler/address";
  options.token_file = data_dir() + "/operator.token";
  options.name = "test";
  return Client::Connect(options);
}

Result<ChildProgram> CommandCluster::Train(const std::string& job_file,
                                           const std::vector<std::string>& assignments) const {
  std::vector<std::string> arguments{"train", job_file, "--data-dir", data_dir(), "--report", report()};
  for (const auto& assignment : assignments) arguments.insert(arguments.end(), {"--set", assignment});
  return ChildProgram::Start(
      {.argv = Argv(arguments), .output = folder_.path() + "/train.out", .errors = "", .environment = {}});
}

std::string CommandCluster::TrainOutput() const { return TextOf(folder_.path() + "/train.out"); }

}  // namespace penstock
