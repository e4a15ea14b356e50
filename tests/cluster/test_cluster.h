// TestCluster: a real cluster of child processes in a temporary folder, whose members a test may kill, stop
// and start again.
#pragma once

#include <map>
#include <memory>
#include <string>
#include <vector>

#include "client/client.h"
#include "common/base/status.h"
#include "tests/cluster/child_program.h"

namespace penstock {

// What the process that runs in this folder answers, its status line and headers before the body; empty when
// it does not.
std::string HttpGet(const std::string& process_dir, const std::string& path);
// A value of the /metrics of the process that runs in this folder; -1 when it cannot be had.
double MetricOf(const std::string& process_dir, const std::string& metric);

class TestCluster {
 public:
  struct Options {
    int servers = 1;
    int workers = 0;
    uint32_t shards = 8;
    std::vector<std::string> set;  // "section.key=value" for every process
    std::string dir;               // empty: a fresh temporary folder, removed at the end
  };

  explicit TestCluster(const Options& options);
  ~TestCluster();  // kills what runs

  // Starts scheduler, servers and workers, and waits until every shard is served.
  Status Start();
  // By name: "scheduler", "server-0", "worker-1". `set` comes after all else and so wins.
  Status StartOne(const std::string& name, const std::map<std::string, std::string>& environment = {},
                  const std::vector<std::string>& set = {});
  void Signal(const std::string& name, int signal);
  // SIGKILL, and waits for the end.
  void Kill(const std::string& name);
  // SIGTERM, waits for the end and gives the exit code (128 + signal when it was killed).
  int Terminate(const std::string& name);
  // Waits until it has ended by itself: exit code, or -1 at the deadline.
  int WaitExit(const std::string& name, int deadline_ms);
  bool Running(const std::string& name);
  // Those that were started, and not ended since by a call of this.
  std::vector<std::string> EndedByThemselves();
  Status WaitServing(int deadline_ms = 20000);

  Result<std::unique_ptr<Client>> Connect(uint64_t deadline_ms = 30000, const std::string& name = "test");
  const std::string& dir() const { return dir_; }
  std::string scheduler_address() const { return dir_ + "/scheduler/address"; }
  // As the launcher names them: the operator's, which clients of tests prove, and the others.
  std::string token_file() const { return dir_ + "/operator.token"; }
  std::string client_token_file() const { return dir_ + "/client.token"; }
  std::string node_token_file() const { return dir_ + "/node.token"; }
  // A value of the process's /metrics; -1 when it cannot be had.
  double Metric(const std::string& name, const std::string& metric) const;
  // The most memory that the running process has had, in bytes; 0 when the system does not say.
  uint64_t PeakResidentBytes(const std::string& name) const;
  // What the process printed.
  std::string Output(const std::string& name) const;
  std::vector<std::string> names() const;

 private:
  const Options options_;
  std::string dir_;
  bool own_dir_ = false;
  std::map<std::string, ChildProgram> running_;
};

}  // namespace penstock
