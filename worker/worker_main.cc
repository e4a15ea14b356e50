// penstock-worker: a pool worker: leases partitions of whatever jobs run in the cluster and trains on them.
#include <glog/logging.h>

#include <atomic>
#include <filesystem>
#include <thread>

#include "common/base/atomic_file.h"
#include "common/config/process.h"
#include "common/net/http_server.h"
#include "model/blas.h"
#include "worker/train/trainer.h"
#include "worker/train/worker_agent.h"
#include "worker/train/worker_metrics.h"

namespace penstock {
namespace {

constexpr size_t kMaxUnlogged = 64;  // leases: each is a line of every report

// Waits for the scheduler as long as it takes: a worker may be started first.
Result<std::unique_ptr<Client>> ConnectWhenever(const ClientOptions& options,
                                                const std::atomic<bool>& ending) {
  std::string said;
  for (;;) {
    auto client = Client::Connect(options);
    if (client.ok() || ending) return client;
    if (client.status().code() == Code::kPermissionDenied || client.status().code() == Code::kInvalidArgument)
      return client;
    if (client.status().message() != said)
      LOG(WARNING) << "waiting for the scheduler: " << (said = client.status().message());
    std::this_thread::sleep_for(std::chrono::milliseconds(200));
  }
}

class Worker {
 public:
  explicit Worker(const ClusterOptions& options)
      : options_(options),
        data_dir_(options.cluster.data_dir),
        name_(std::filesystem::path(data_dir_).filename().string()) {}

  Status Run(const std::atomic<bool>& ending) {
    PENSTOCK_RETURN_IF_ERROR(MakeDirectories(data_dir_));
    PENSTOCK_ASSIGN_OR_RETURN(client_,
                              ConnectWhenever({.scheduler = options_.cluster.scheduler,
                                               .token_file = options_.security.token_file,
                                               .name = name_,
                                               .deadline_ms = options_.client.deadline_ms,
                                               .connect_timeout_ms = options_.client.connect_timeout_ms,
                                               .spin_us = options_.client.spin_us},
                                              ending));
    HttpServer http({.host = options_.worker.listen, .port = options_.worker.http_port, .name = name_},
                    registry_, [this] {
                      WorkerAgent* agent = agent_;
                      return agent != nullptr ? agent->Ready() : Unavailable(name_ + " is starting");
                    });
    PENSTOCK_RETURN_IF_ERROR(http.Start().Prepend(name_));
    PENSTOCK_RETURN_IF_ERROR(WriteFileAtomically(data_dir_ + "/http_address", http.address() + "\n"));
    WorkerAgent agent(
        *client_,
        {.name = name_,
         .node = KeptNode(),
         .http_endpoint = http.address(),
         .heartbeat_ms = options_.scheduler.heartbeat_ms,
         .poll_ms = options_.worker.poll_ms,
         .lease_ms = options_.scheduler.lease_ms},
        [this](NodeId node) { return WriteFileAtomically(NodePath(), std::to_string(node) + "\n"); });
    agent_ = &agent;
    std::jthread watch([&](std::stop_token stop) {
      while (!ending && !stop.stop_requested()) std::this_thread::sleep_for(std::chrono::milliseconds(50));
      agent.Stop();
    });
    const Status status = Work(agent);
    http.Stop();
    agent_ = nullptr;
    return status;
  }

 private:
  std::string NodePath() const { return data_dir_ + "/node"; }
  // A worker holds nothing: an unreadable id only means that it is a new one.
  NodeId KeptNode() const {
    auto text = ReadWholeFile(NodePath());
    return text.ok() ? static_cast<NodeId>(std::strtoul(text->c_str(), nullptr, 10)) : 0;
  }

  Status Work(WorkerAgent& agent) {
    Trainer trainer(*client_, options_.worker.data_memory_bytes, DataRoots(options_.worker.data_roots),
                    metrics_);
    const auto finish = [&](const std::shared_ptr<LeaseTask>& task) {
      metrics_.partitions.Increment();
      agent.FinishLease(task);
    };
    for (;;) {
      auto task = agent.NextLease(/*wait=*/trainer.unlogged() == 0);
      if (!task.ok()) return task.status();
      if (*task == nullptr && trainer.unlogged() == 0) return Status::Ok();
      if (*task != nullptr) {
        if (trainer.Run(*task)) {
          finish(*task);
        } else {
          agent.ReportPushed(*task);
        }
      }
      // Nothing else to do: a pass ends when all of it is logged.
      const bool flush = *task == nullptr || trainer.unlogged() >= kMaxUnlogged;
      for (const auto& ended : trainer.Settle(flush)) finish(ended);
    }
  }

  const ClusterOptions options_;
  const std::string data_dir_;
  const std::string name_;
  MetricsRegistry registry_;
  WorkerMetrics metrics_{registry_};
  std::unique_ptr<Client> client_;
  std::atomic<WorkerAgent*> agent_{nullptr};
};

Status Work(const ClusterOptions& options, EndingSignals& signals) {
  std::atomic<bool> ending{false};
  Status status;
  Worker worker(options);
  // Signals belong to the main thread, the work to another.
  std::atomic<bool> done{false};
  std::jthread work([&] {
    status = worker.Run(ending);
    done = true;
  });
  while (!done && !signals.Wait(50)) {
  }
  ending = true;
  work.join();
  return signals.Wait(0) ? Status::Ok() : status;
}

}  // namespace
}  // namespace penstock

int main(int argc, char** argv) {
  penstock::PrepareBlas(argv);
  return penstock::RunProcess(argc, argv,
                              {.program = "penstock-worker",
                               .summary = "A Penstock worker: trains on the partitions that it is leased."},
                              penstock::Work);
}
