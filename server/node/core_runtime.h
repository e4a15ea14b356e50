// CoreRuntime: a core's thread with all that lives on it: the ServerCore, its services, its expirer, its
// replicator and its port.
#pragma once

#include <memory>
#include <string>

#include "common/net/kj_loop.h"
#include "common/net/rpc_server.h"
#include "server/node/data_service.h"
#include "server/node/expirer.h"
#include "server/node/row_loader.h"
#include "server/replica/replica_service.h"
#include "server/replica/replicator.h"

namespace penstock {

// All that a core's port offers.
class CoreService final : public proto::CorePort::Server, public DataService, public ReplicaService {
 public:
  CoreService(KjLoop& loop, ServerCore& core, Expirer& expirer, ServerMetrics& metrics)
      : DataService(loop, core, expirer, metrics), ReplicaService(core) {}
};

class CoreRuntime {
 public:
  // `spin_us` as of KjLoop; `pace` is shared by the server's cores.
  CoreRuntime(const CoreOptions& options, uint64_t spin_us, std::shared_ptr<SeedPace> pace,
              std::shared_ptr<ClusterIdentity> identity, LogAppender& appender, const BaseStore& base,
              ServerCore::Asks asks, ServerMetrics& metrics)
      : loop_(options.node_name + "/" + std::to_string(options.core), spin_us) {
    loop_.Run([&] {
      core_ = std::make_unique<ServerCore>(loop_, options, appender, base, std::move(asks), metrics);
      replicator_ = std::make_unique<Replicator>(
          loop_, *core_, std::move(identity),
          ReplicationOptions{.node_name = options.node_name,
                             .core = options.core,
                             .copy_wait_ms = options.copy_wait_ms,
                             .tail_bytes = options.copy_tail_bytes,
                             .pace = std::move(pace)},
          Replicator::Counters{metrics.replicated_bytes, metrics.replica_tail_bytes});
      core_->SetReplicator(replicator_.get());
      expirer_ = std::make_unique<Expirer>(loop_, *core_, metrics, options.expire_interval_ms);
      loader_ = std::make_unique<RowLoader>(loop_, *core_, metrics, options.loaded_bytes);
    });
    metrics_ = &metrics;
  }

  Status Listen(std::shared_ptr<const ClusterIdentity> identity, const RpcServerOptions& options) {
    return loop_.Run([&]() -> Status {
      auto server = RpcServer::Listen(loop_, std::move(identity), options,
                                      kj::heap<CoreService>(loop_, *core_, *expirer_, *metrics_));
      if (!server.ok()) return server.status();
      rpc_ = std::move(*server);
      return Status::Ok();
    });
  }
  std::string endpoint() const { return rpc_->endpoint(); }
  KjLoop& loop() { return loop_; }
  // Its loop's thread only.
  ServerCore& core() { return *core_; }

  // Of the cluster. Before what is posted for the first grant.
  void SetShards(uint32_t shards) {
    loop_.Post([this, shards] { core_->SetShards(shards); });
  }
  // Once the core has its shards.
  void LoadRows() {
    loop_.Run([&] { loader_->Begin(); });
  }
  // Refuses further calls; what was applied stays to be logged.
  void CloseConnections() {
    loop_.Run([&] {
      rpc_.reset();
      expirer_.reset();
      loader_.reset();
    });
  }
  // Logs what `memory` tables still hold back.
  void FlushAll() {
    auto done = std::make_shared<std::promise<void>>();
    auto future = done->get_future();
    loop_.Post([this, done] {
      loop_.Detach(core_->FlushAll().then([done](Status&&) { done->set_value(); }), "flush at the end");
    });
    future.wait_for(std::chrono::seconds(10));  // a log that cannot be written does not hold up the end
  }
  // Before the appender ends: nothing is submitted to it any more.
  void BeginStop() {
    loop_.Run([&] { core_->BeginStop(); });
  }
  // After the appender has ended: no callback will come any more.
  void Stop() {
    loop_.Settle();  // calls that its last callbacks have made ready still use the core
    loop_.Run([&] {
      core_->SetReplicator(nullptr);
      replicator_.reset();
      core_.reset();
    });
    loop_.Stop();
  }

 private:
  KjLoop loop_;
  ServerMetrics* metrics_ = nullptr;
  std::unique_ptr<ServerCore> core_;
  std::unique_ptr<Replicator> replicator_;
  std::unique_ptr<Expirer> expirer_;
  std::unique_ptr<RowLoader> loader_;
  std::unique_ptr<RpcServer> rpc_;
};

}  // namespace penstock
