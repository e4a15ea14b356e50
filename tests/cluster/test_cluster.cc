#include "tests/cluster/test_cluster.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>
#include <sstream>
#include <thread>

#include "common/base/atomic_file.h"
#include "common/net/identity.h"

extern char** environ;

namespace penstock {

std::string ProgramFolder() { return PENSTOCK_PROGRAMS; }

bool WaitFor(int deadline_ms, const std::function<bool()>& done) {
  const auto end = std::chrono::steady_clock::now() + std::chrono::milliseconds(deadline_ms);
  while (!done()) {
    if (std::chrono::steady_clock::now() > end) return false;
    std::this_thread::sleep_for(std::chrono::milliseconds(5));  // between two looks at the condition
  }
  return true;
}

TestCluster::TestCluster(const Options& options) : options_(options), dir_(options.dir) {
  if (dir_.empty()) {
    std::string pattern = (std::filesystem::temp_directory_path() / "penstock-test-XXXXXX").string();
    dir_ = mkdtemp(pattern.data());
    own_dir_ = true;
  }
  auto token = EnsureTokenFile(token_file());
  (void)token;  // a folder that cannot be written shows at the first start
}

TestCluster::~TestCluster() {
  while (!running_.empty()) Kill(running_.begin()->first);
  if (own_dir_) {
    std::error_code ignored;
    std::filesystem::remove_all(dir_, ignored);
  }
}

std::vector<std::string> TestCluster::names() const {
  std::vector<std::string> names{"scheduler"};
  for (int i = 0; i < options_.servers; ++i) names.push_back("server-" + std::to_string(i));
  for (int i = 0; i < options_.workers; ++i) names.push_back("worker-" + std::to_string(i));
  return names;
}

Status TestCluster::Start() {
  for (const auto& name : names()) RETURN_IF_ERROR(StartOne(name));
  return WaitServing();
}

Status TestCluster::StartOne(const std::string& name, const std::map<std::string, std::string>& environment) {
  const std::string role = name.substr(0, name.find('-'));
  std::vector<std::string> arguments{ProgramFolder() + "/penstock-" + role};
  const auto set = [&](const std::string& assignment) {
    arguments.push_back("--set");
    arguments.push_back(assignment);
  };
  set("cluster.data_dir=" + dir_ + "/" + name);
  set("cluster.scheduler=" + scheduler_address());
  set("security.token_file=" + token_file());
  set("scheduler.servers=" + std::to_string(options_.servers));
  set("scheduler.shards=" + std::to_string(options_.shards));
  for (const auto& assignment : options_.set) set(assignment);
  std::vector<char*> argv;
  for (auto& argument : arguments) argv.push_back(argument.data());
  argv.push_back(nullptr);
  std::vector<std::string> variables;
  for (char** variable = environ; *variable != nullptr; ++variable) variables.emplace_back(*variable);
  for (const auto& [key, value] : environment) variables.push_back(key + "=" + value);
  std::vector<char*> envp;
  for (auto& variable : variables) envp.push_back(variable.data());
  envp.push_back(nullptr);
  const std::string output = dir_ + "/" + name + ".out";
  const pid_t parent = getpid();
  const pid_t child = fork();
  if (child < 0) return ErrnoStatus(errno, "fork");
  if (child == 0) {
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (getppid() != parent) _exit(127);
    const int fd = open(output.c_str(), O_WRONLY | O_CREAT | O_APPEND, 0644);
    dup2(fd, 1);
    dup2(fd, 2);
    execve(argv[0], argv.data(), envp.data());
    _exit(127);
  }
  running_[name] = child;
  return Status::Ok();
}

void TestCluster::Signal(const std::string& name, int signal) { kill(running_.at(name), signal); }

void TestCluster::Kill(const std::string& name) {
  auto it = running_.find(name);
  if (it == running_.end()) return;
  kill(it->second, SIGKILL);
  waitpid(it->second, nullptr, 0);
  running_.erase(it);
}

int TestCluster::Terminate(const std::string& name) {
  Signal(name, SIGTERM);
  const int code = WaitExit(name, 20000);
  if (code < 0) Kill(name);
  return code;
}

int TestCluster::WaitExit(const std::string& name, int deadline_ms) {
  auto it = running_.find(name);
  if (it == running_.end()) return -1;
  int status = 0;
  if (!WaitFor(deadline_ms, [&] { return waitpid(it->second, &status, WNOHANG) == it->second; })) return -1;
  running_.erase(it);
  return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

bool TestCluster::Running(const std::string& name) {
  auto it = running_.find(name);
  if (it == running_.end()) return false;
  if (waitpid(it->second, nullptr, WNOHANG) == 0) return true;
  running_.erase(it);
  return false;
}

Status TestCluster::WaitServing(int deadline_ms) {
  std::string last = "no answer";
  const bool serving = WaitFor(deadline_ms, [&] {
    auto client = Connect(2000, "test-wait");
    if (!client.ok()) {
      last = client.status().ToString();
      return false;
    }
    return WaitFor(1000, [&] {
      auto status = (*client)->Inspect("status");
      if (!status.ok()) {
        last = status.status().ToString();
        return false;
      }
      last = status->at("shards").dump();
      return status->at("shards").at("serving") == status->at("shards").at("total");
    });
  });
  return serving ? Status::Ok() : DeadlineExceeded("the cluster does not serve all shards: " + last);
}

Result<std::unique_ptr<Client>> TestCluster::Connect(uint64_t deadline_ms, const std::string& name) {
  ClientOptions options;
  options.scheduler = scheduler_address();
  options.token_file = token_file();
  options.name = name;
  options.deadline_ms = deadline_ms;
  return Client::Connect(options);
}

std::string TestCluster::Output(const std::string& name) const {
  auto text = ReadWholeFile(dir_ + "/" + name + ".out");
  return text.ok() ? *text : "";
}

}  // namespace penstock
