#include "scheduler/scheduler.h"

#include <glog/logging.h>

#include <algorithm>
#include <chrono>

#include "common/base/atomic_file.h"
#include "common/net/http_server.h"
#include "common/net/rpc_server.h"
#include "scheduler/journal.h"
#include "scheduler/scheduler_metrics.h"
#include "scheduler/scheduler_service.h"

namespace penstock {
namespace {

constexpr uint64_t kTickMs = 100;

Now Clock() {
  using std::chrono::duration_cast;
  using std::chrono::milliseconds;
  return {.ms = duration_cast<milliseconds>(std::chrono::steady_clock::now().time_since_epoch()).count(),
          .wall_ms = duration_cast<milliseconds>(std::chrono::system_clock::now().time_since_epoch()).count()};
}

ControlPlaneOptions PlaneOptions(const ClusterOptions& options) {
  const auto& o = options.scheduler;
  ControlPlaneOptions plane;
  plane.cluster_name = options.cluster.name;
  plane.shards = o.shards;
  plane.servers = o.servers;
  plane.nodes = {.suspect_ms = o.suspect_ms, .dead_ms = o.dead_ms};
  plane.leases.lease_ms = o.lease_ms;
  return plane;
}

}  // namespace

class Scheduler::Impl {
 public:
  explicit Impl(const ClusterOptions& options)
      : options_(options), dir_(options.cluster.data_dir), identity_(std::make_shared<ClusterIdentity>()), loop_("scheduler") {
    identity_->name = "scheduler";
  }
  ~Impl() { Stop(); }

  Status Start() {
    RETURN_IF_ERROR(MakeDirectories(dir_));
    if (!options_.security.token_file.empty()) ASSIGN_OR_RETURN(identity_->token, ReadTokenFile(options_.security.token_file));
    RETURN_IF_ERROR(StartHttp());
    RETURN_IF_ERROR(loop_.Run([this] { return StartOnLoop(); }));
    RETURN_IF_ERROR(WriteFileAtomically(dir_ + "/http_address", http_->address() + "\n"));
    RETURN_IF_ERROR(WriteFileAtomically(dir_ + "/address", endpoint_ + "\n"));
    LOG(INFO) << "scheduler listens on " << endpoint_ << " (HTTP on " << http_->address() << ")";
    return Status::Ok();
  }

  void Stop() {
    if (stopped_) return;
    stopped_ = true;
    if (http_) http_->Stop();
    loop_.Run([this] {
      ticking_ = nullptr;
      rpc_.reset();
      plane_.reset();
      journal_.reset();
    });
    loop_.Stop();
    LOG(INFO) << "scheduler has stopped";
  }

  const std::string& endpoint() const { return endpoint_; }
  std::string http_endpoint() const { return http_->address(); }

 private:
  Status StartHttp() {
    metrics_.Declare(registry_);
    http_ = std::make_unique<HttpServer>(
        HttpOptions{.host = options_.scheduler.listen, .port = options_.scheduler.http_port, .name = "scheduler"}, registry_,
        [this] { return metrics_.Ready(); });
    return http_->Start();
  }

  // One turn of the loop: nobody is accepted before all of it has happened.
  Status StartOnLoop() {
    auto service = kj::refcounted<Late>();
    ASSIGN_OR_RETURN(rpc_, RpcServer::Listen(loop_, identity_,
                                             {.host = options_.scheduler.listen,
                                              .port = options_.scheduler.port,
                                              .advertise_host = options_.scheduler.advertise_host},
                                             capnp::Capability::Client(nullptr)));
    return Status::Ok();
  }

  const ClusterOptions options_;
  const std::string dir_;
  std::shared_ptr<ClusterIdentity> identity_;
};

}  // namespace penstock
