#include "tests/cluster/test_cluster.h"

#include <arpa/inet.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>
#include <string_view>

#include "client/admin.h"
#include "common/base/atomic_file.h"
#include "common/net/identity.h"

namespace penstock {

TestCluster::TestCluster(const Options& options) : options_(options), dir_(options.dir) {
  if (dir_.empty()) {
    std::string pattern = (std::filesystem::temp_directory_path() / "penstock-test-XXXXXX").string();
    dir_ = mkdtemp(pattern.data());
    own_dir_ = true;
  }
  // A folder that cannot be written shows at the first start.
  for (const auto& file : {node_token_file(), token_file(), client_token_file()})
    (void)EnsureTokenFile(file).status();
}

TestCluster::~TestCluster() {
  running_.clear();
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
  for (const auto& name : names()) PENSTOCK_RETURN_IF_ERROR(StartOne(name));
  return WaitServing();
}

Status TestCluster::StartOne(const std::string& name, const std::map<std::string, std::string>& environment,
                             const std::vector<std::string>& more) {
  const std::string role = name.substr(0, name.find('-'));
  std::vector<std::string> argv{ProgramFolder() + "/penstock-" + role};
  const auto set = [&](const std::string& assignment) {
    argv.push_back("--set");
    argv.push_back(assignment);
  };
  set("cluster.data_dir=" + dir_ + "/" + name);
  set("cluster.scheduler=" + scheduler_address());
  set("security.token_file=" + node_token_file());
  set("security.operator_token_file=" + token_file());
  set("security.client_token_file=" + client_token_file());
  set("scheduler.servers=" + std::to_string(options_.servers));
  set("scheduler.shards=" + std::to_string(options_.shards));
  for (const auto& assignment : options_.set) set(assignment);
  for (const auto& assignment : more) set(assignment);
  running_.erase(name);
  PENSTOCK_ASSIGN_OR_RETURN(
      ChildProgram child,
      ChildProgram::Start(
          {.argv = argv, .output = dir_ + "/" + name + ".out", .errors = "", .environment = environment}));
  running_.emplace(name, std::move(child));
  return Status::Ok();
}

void TestCluster::Signal(const std::string& name, int signal) { running_.at(name).Signal(signal); }

void TestCluster::Kill(const std::string& name) { running_.erase(name); }

int TestCluster::Terminate(const std::string& name) {
  Signal(name, SIGTERM);
  const int code = WaitExit(name, 20000);
  if (code < 0) Kill(name);
  return code;
}

int TestCluster::WaitExit(const std::string& name, int deadline_ms) {
  auto it = running_.find(name);
  if (it == running_.end()) return -1;
  const int code = it->second.WaitExit(deadline_ms);
  if (code >= 0) running_.erase(it);
  return code;
}

bool TestCluster::Running(const std::string& name) {
  auto it = running_.find(name);
  return it != running_.end() && it->second.Running();
}

std::vector<std::string> TestCluster::EndedByThemselves() {
  std::vector<std::string> ended;
  for (auto& [name, program] : running_) {
    if (!program.Running()) ended.push_back(name);
  }
  return ended;
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
      auto status = Admin(**client).Inspect("status");
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

double TestCluster::Metric(const std::string& name, const std::string& metric) const {
  return MetricOf(dir_ + "/" + name, metric);
}

std::string HttpGet(const std::string& process_dir, const std::string& path) {
  const auto address = ReadWholeFile(process_dir + "/http_address");
  if (!address.ok()) return "";
  const size_t colon = address->rfind(':');
  sockaddr_in to{};
  to.sin_family = AF_INET;
  to.sin_port = htons(static_cast<uint16_t>(std::atoi(address->c_str() + colon + 1)));
  if (inet_pton(AF_INET, address->substr(0, colon).c_str(), &to.sin_addr) != 1) return "";
  const int fd = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  const std::string request = "GET " + path + " HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n";
  std::string page;
  if (::connect(fd, reinterpret_cast<sockaddr*>(&to), sizeof to) == 0 &&
      ::send(fd, request.data(), request.size(), MSG_NOSIGNAL) == static_cast<ssize_t>(request.size())) {
    char part[4096];
    for (ssize_t n; (n = ::recv(fd, part, sizeof part, 0)) > 0;) page.append(part, static_cast<size_t>(n));
  }
  ::close(fd);
  return page;
}

double MetricOf(const std::string& process_dir, const std::string& metric) {
  const std::string page = HttpGet(process_dir, "/metrics");
  const size_t line = page.find("\n" + metric + " ");
  return line == std::string::npos ? -1 : std::strtod(page.c_str() + line + metric.size() + 2, nullptr);
}

uint64_t TestCluster::PeakResidentBytes(const std::string& name) const {
  const auto found = running_.find(name);
  if (found == running_.end()) return 0;
  constexpr std::string_view kField = "VmHWM:";  // in KiB
  std::ifstream status("/proc/" + std::to_string(found->second.pid()) + "/status");
  for (std::string line; std::getline(status, line);) {
    if (line.starts_with(kField)) return std::stoull(line.substr(kField.size())) << 10;
  }
  return 0;
}

std::string TestCluster::Output(const std::string& name) const {
  auto text = ReadWholeFile(dir_ + "/" + name + ".out");
  return text.ok() ? *text : "";
}

}  // namespace penstock
