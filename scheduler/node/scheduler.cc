#include "scheduler/node/scheduler.h"

#include <glog/logging.h>
#include <unistd.h>

#include <chrono>

#include "common/base/atomic_file.h"
#include "common/base/log.h"
#include "common/net/http_server.h"
#include "common/net/rpc_server.h"
#include "scheduler/node/scheduler_metrics.h"
#include "scheduler/node/scheduler_service.h"
#include "scheduler/state/journal.h"

namespace penstock {
namespace {

constexpr uint64_t kTickMs = 100;

Now Clock() {
  using std::chrono::duration_cast;
  using std::chrono::milliseconds;
  return {
      .ms = duration_cast<milliseconds>(std::chrono::steady_clock::now().time_since_epoch()).count(),
      .wall_ms = duration_cast<milliseconds>(std::chrono::system_clock::now().time_since_epoch()).count()};
}

ControlPlaneOptions PlaneOptions(const ClusterOptions& options) {
  const auto& o = options.scheduler;
  ControlPlaneOptions plane;
  plane.cluster_name = options.cluster.name;
  plane.shards = o.shards;
  plane.servers = o.servers;
  plane.copies = o.copies;
  plane.min_copies = o.min_copies;
  plane.nodes = {.suspect_ms = o.suspect_ms, .dead_ms = o.dead_ms};
  plane.leases.lease_ms = o.lease_ms;
  plane.balance.delay_ms = o.balance_delay_ms;
  plane.keep_jobs = o.keep_jobs;
  plane.wall_ms = [] { return Clock().wall_ms; };
  plane.process = {.pid = static_cast<uint32_t>(::getpid()), .log = LogFile()};
  return plane;
}

}  // namespace

class Scheduler::Impl {
 public:
  explicit Impl(const ClusterOptions& options)
      : options_(options),
        dir_(options.cluster.data_dir),
        identity_(std::make_shared<ClusterIdentity>()),
        loop_("scheduler") {
    identity_->name = "scheduler";
  }
  ~Impl() { Stop(); }

  Status Start() {
    PENSTOCK_RETURN_IF_ERROR(MakeDirectories(dir_));
    PENSTOCK_RETURN_IF_ERROR(ReadTokens(options_.security, identity_.get()));
    PENSTOCK_RETURN_IF_ERROR(StartHttp());
    PENSTOCK_RETURN_IF_ERROR(loop_.Run([this] { return StartOnLoop(); }));
    PENSTOCK_RETURN_IF_ERROR(WriteFileAtomically(dir_ + "/http_address", http_->address() + "\n"));
    PENSTOCK_RETURN_IF_ERROR(WriteFileAtomically(dir_ + "/pid", std::to_string(::getpid()) + "\n"));
    PENSTOCK_RETURN_IF_ERROR(WriteFileAtomically(dir_ + "/address", endpoint_ + "\n"));
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
      if (watch_ != nullptr) watch_->Stop();
      for (const auto& room : {room_.get(), held_.get()})
        if (room != nullptr) room->Close();
    });
    loop_.Settle();  // calls that were about to be answered still use the state
    loop_.Run([this] {
      if (plane_ != nullptr) plane_->End();
      room_.reset();
      held_.reset();
      watch_.reset();
      plane_.reset();
      journal_.reset();
    });
    loop_.Stop();
  }

  const std::string& endpoint() const { return endpoint_; }
  std::string http_endpoint() const { return http_->address(); }

 private:
  Status StartHttp() {
    metrics_.Declare(registry_);
    rpc_counters_.Declare("penstock_scheduler", registry_);
    http_ = std::make_unique<HttpServer>(HttpOptions{.host = options_.scheduler.listen,
                                                     .port = options_.scheduler.http_port,
                                                     .advertise_host = options_.scheduler.advertise_host,
                                                     .name = "scheduler"},
                                         registry_, [this] { return metrics_.Ready(); });
    return http_->Start();
  }

  // One turn of the loop: nobody is accepted before all of it has happened.
  Status StartOnLoop() {
    // The port comes first, so that a port in use leaves the journal as it is.
    const auto& o = options_.scheduler;
    PENSTOCK_ASSIGN_OR_RETURN(rpc_, RpcServer::Listen(loop_, identity_,
                                                      {.host = o.listen,
                                                       .port = o.port,
                                                       .advertise_host = o.advertise_host,
                                                       .max_connections = o.max_connections,
                                                       .limit_name = "scheduler.max_connections",
                                                       .counters = &rpc_counters_}));
    endpoint_ = rpc_->endpoint();
    PENSTOCK_ASSIGN_OR_RETURN(journal_, Journal::Open(dir_ + "/journal"));
    PENSTOCK_ASSIGN_OR_RETURN(plane_, ControlPlane::Start(journal_->TakeState(), *journal_,
                                                          PlaneOptions(options_), RandomId(), Clock()));
    identity_->cluster = plane_->data().cluster;
    LOG(INFO) << "term " << plane_->data().term << " of cluster " << plane_->data().cluster << " begins, "
              << plane_->data().jobs.size() << " jobs and " << plane_->data().tables.size()
              << " tables in the journal";
    room_ = std::make_unique<WaitingRoom>(loop_);
    metrics_.Update(*plane_, Clock());
    held_ = std::make_unique<WaitingRoom>(loop_);
    watch_ = std::make_unique<NodeWatch>(loop_, static_cast<uint64_t>(o.dead_ms), [this](NodeId node) {
      plane_->NoteEnded(node, Clock());
      held_->Wake();
    });
    rpc_->Serve(kj::heap<SchedulerService>(*plane_, *room_, *held_, *watch_, o.heartbeat_ms, Clock));
    ticking_ = Ticking().eagerlyEvaluate(
        [](kj::Exception&& e) { LOG(FATAL) << "scheduler: tick: " << e.getDescription().cStr(); });
    return Status::Ok();
  }

  kj::Promise<void> Ticking() {
    return loop_.Sleep(kTickMs).then([this] {
      plane_->Tick(Clock());
      room_->Wake();
      held_->Wake();
      metrics_.Update(*plane_, Clock());
      return Ticking();
    });
  }

  const ClusterOptions options_;
  const std::string dir_;
  std::shared_ptr<ClusterIdentity> identity_;
  MetricsRegistry registry_;
  SchedulerMetrics metrics_;
  RpcCounters rpc_counters_;
  std::unique_ptr<HttpServer> http_;
  KjLoop loop_;
  std::string endpoint_;
  std::unique_ptr<Journal> journal_;  // on the loop, like the rest
  std::unique_ptr<ControlPlane> plane_;
  std::unique_ptr<WaitingRoom> room_, held_;
  std::unique_ptr<NodeWatch> watch_;
  std::unique_ptr<RpcServer> rpc_;
  kj::Promise<void> ticking_ = nullptr;
  bool stopped_ = false;  // the owner's thread
};

Result<std::unique_ptr<Scheduler>> Scheduler::Start(const ClusterOptions& options) {
  auto impl = std::make_unique<Impl>(options);
  PENSTOCK_RETURN_IF_ERROR(impl->Start());
  return std::unique_ptr<Scheduler>(new Scheduler(std::move(impl)));
}

Scheduler::Scheduler(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
Scheduler::~Scheduler() = default;
void Scheduler::Stop() { impl_->Stop(); }
std::string Scheduler::endpoint() const { return impl_->endpoint(); }
std::string Scheduler::http_endpoint() const { return impl_->http_endpoint(); }

}  // namespace penstock
