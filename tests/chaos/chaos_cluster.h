// ChaosCluster: a TestCluster with a counting load on it, proxies on its links or networks of their own for
// its processes if asked for, and the checks that must hold after every fault.
//
//   Start -> { BeginLoad -> Fault, then the fault -> Finish } ...
//
// Links: each process finds the scheduler by an address file of its own, which points at a proxy; each server
// listens on 127.0.0.1 and advertises 127.0.0.2, where a proxy listens on the same port. Networks: each
// process listens on the address of its namespace.
#pragma once

#include <map>
#include <memory>
#include <string>
#include <vector>

#include "tests/chaos/answer_clock.h"
#include "tests/chaos/fault_proxy.h"
#include "tests/chaos/namespaces.h"
#include "tests/chaos/suite.h"
#include "tests/cluster/counting_load.h"
#include "tests/cluster/test_cluster.h"

namespace penstock {

class ChaosCluster {
 public:
  struct Options {
    ChaosOptions chaos;
    int workers = 0;
    bool proxies = false;
    Namespaces* networks = nullptr;  // of all processes, by their names; it must outlive the cluster
    uint32_t dim = 1;
    uint64_t deadline_ms = 30000;  // of a push
    std::vector<std::string> set = {};
  };

  explicit ChaosCluster(const Options& options);
  ~ChaosCluster();  // the data is removed, unless Keep was called
  ChaosCluster(const ChaosCluster&) = delete;
  ChaosCluster& operator=(const ChaosCluster&) = delete;

  // All processes, a client, and the load's table.
  Status Start();
  // A process that was killed, again.
  Status StartOne(const std::string& name, const std::map<std::string, std::string>& environment = {});
  TestCluster& processes() { return *processes_; }
  Client& client() { return *client_; }
  CountingLoad& load() { return *load_; }
  AnswerClock& clock() { return clock_; }
  const std::string& dir() const { return dir_; }
  std::string Keep();

  // To "scheduler" from "client" or "server-N"; to "server-N" from "client", which stands for all who
  // connect.
  FaultProxy& Link(const std::string& from, const std::string& to) { return *links_.at(from + ">" + to); }

  // The server that is primary of a shard drawn at random; of a cluster with one copy: any.
  std::string DrawPrimary(std::mt19937_64& random);

  // Until so many pushes are answered.
  Status BeginLoad(uint64_t pushes);
  // To be called right before the fault.
  void Fault(Iteration* iteration);
  bool WaitRecovered(int deadline_ms);
  // All shards served, and all their copies in sync.
  Status WaitWhole(int deadline_ms = 60000);
  // The fault is over: waits for service, stops the load and checks. Fills the rest of `iteration`. `lossy`:
  // a server has died, so that what tables of level memory had not logged may be gone.
  void Finish(Iteration* iteration, bool lossy);

 private:
  Status MakeLinks();
  Status AddLink(const std::string& from, const std::string& to, const FaultProxy::Options& options);
  std::string SchedulerFor(const std::string& name) const;
  Status Lsns(std::map<ShardId, Lsn>* lsns);
  std::string CheckAll(uint64_t failed_before);

  const Options options_;
  std::string dir_;
  bool keep_ = false;
  AnswerClock clock_;
  std::map<std::string, uint16_t> ports_;                     // with proxies: of each process
  std::map<std::string, std::unique_ptr<FaultProxy>> links_;  // by "from>to"
  std::unique_ptr<TestCluster> processes_;
  std::unique_ptr<Client> client_;
  std::unique_ptr<CountingLoad> load_;
  std::map<ShardId, Lsn> lsns_;  // the highest seen of each shard
  uint64_t failed_ = 0;          // pushes, before this iteration
};

}  // namespace penstock
