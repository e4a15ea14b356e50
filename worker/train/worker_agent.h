// WorkerAgent: a pool worker's standing in the cluster: its session with the scheduler, the leases it asks
// for, and their reports.
//
// The agent lives on the client's loop; the training thread calls NextLease, ReportPushed and FinishLease,
// which block. A worker holds one lease that it works on, and those of which it only waits for logs.
#pragma once

#include <condition_variable>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "client/client.h"
#include "common/cluster/node_session.h"
#include "worker/train/lease_task.h"

namespace penstock {

struct WorkerAgentOptions {
  std::string name;
  NodeId node = 0;  // as kept from an earlier life; 0: new
  std::string http_endpoint;
  uint64_t heartbeat_ms = 500;
  uint32_t poll_ms = 50;      // between two questions for work while there is none
  uint64_t lease_ms = 10000;  // the scheduler's: a lease of which it hears nothing for so long ends
};

class WorkerAgent : public NodeSession::Host {
 public:
  // `on_registered` is called on the loop with the node id to keep.
  WorkerAgent(Client& client, const WorkerAgentOptions& options, std::function<Status(NodeId)> on_registered);
  ~WorkerAgent() noexcept override;

  // With `wait` waits for work. nullptr: after Stop; without `wait` also where there is none.
  // kPermissionDenied and the like: this worker was refused for good.
  Result<std::shared_ptr<LeaseTask>> NextLease(bool wait);
  // Says at once that everything of it is pushed, for nobody else needs to wait for its clock or to take it
  // over.
  void ReportPushed(const std::shared_ptr<LeaseTask>& task);
  // Reports the lease's end until the scheduler has taken it or taken the lease away.
  void FinishLease(const std::shared_ptr<LeaseTask>& task);
  // Any thread: drops the leases and makes NextLease return.
  void Stop();
  Status Ready() const;  // for /readyz

 private:
  kj::Promise<void> FillRegister(proto::Scheduler::RegisterParams::Builder params) override;
  kj::Promise<void> FillHeartbeat(proto::Scheduler::HeartbeatParams::Builder params) override;
  Status OnRegistered(proto::Scheduler::RegisterResults::Reader results) override;
  Status OnHeartbeat(proto::Scheduler::HeartbeatResults::Reader results) override;
  void OnRefused(Status status) override;

  kj::Promise<void> ReportLoop();
  using Tasks = std::vector<std::shared_ptr<LeaseTask>>;
  kj::Promise<Result<bool>> Report(Tasks tasks);
  kj::Promise<Result<std::shared_ptr<LeaseTask>>> AskForLease();

  Client& client_;
  const WorkerAgentOptions options_;
  std::function<Status(NodeId)> on_registered_;
  std::unique_ptr<NodeSession> session_;      // on the loop
  JobSpecs specs_;                            // on the loop: of jobs of this cluster
  std::optional<kj::Promise<void>> running_;  // on the loop: session and reports
  mutable std::mutex mutex_;
  std::condition_variable wake_;
  Tasks tasks_;              // guarded by mutex_: the leases that it holds
  Status refused_;           // guarded by mutex_
  bool registered_ = false;  // guarded by mutex_
  bool stopping_ = false;    // guarded by mutex_
  uint64_t rewind_ = 0;      // guarded by mutex_: the highest rewind number that was heard
};

}  // namespace penstock
