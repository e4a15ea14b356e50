#include "common/net/rpc_server.h"

#include <capnp/rpc-twoparty.h>
#include <glog/logging.h>
#include <netinet/in.h>
#include <netinet/tcp.h>

#include <unordered_map>

#include "common/base/strings.h"
#include "common/cluster/wire.h"
#include "common/net/message_stream.h"
#include "proto/handshake.capnp.h"

namespace penstock {
namespace {

constexpr uint64_t kHandshakeMs = 5000;
constexpr uint64_t kHandshakeBytes = 64 << 10;  // of a message before it has passed
constexpr size_t kRefusedConnections = 64;      // that are told why, at a time
constexpr uint32_t kRetryMs = 1000;

// The server's half of one connection's handshake.
class HandshakeServer final : public proto::Handshake::Server {
 public:
  HandshakeServer(std::shared_ptr<const ClusterIdentity> identity, capnp::Capability::Client service,
                  Status refusal, std::shared_ptr<bool> passed)
      : identity_(std::move(identity)),
        service_(kj::mv(service)),
        refusal_(std::move(refusal)),
        passed_(std::move(passed)) {}

  kj::Promise<void> hello(HelloContext context) override {
    auto hello = context.getParams().getHello();
    auto results = context.getResults();
    Status status = Check(hello);
    if (status.ok()) status = refusal_;
    WriteStatus(status, results.initStatus());
    results.setName(identity_->name);
    if (!status.ok()) {
      LOG(WARNING) << identity_->name << ": refused '" << peer_ << "': " << status.message();
      return kj::READY_NOW;
    }
    std::copy_n(hello.getNonce().begin(), client_nonce_.size(), client_nonce_.begin());
    server_nonce_ = RandomNonce();
    greeted_ = true;
    cluster_ = identity_->cluster;
    const Proof proof = MakeProof(identity_->token, "server", client_nonce_, server_nonce_, cluster_);
    results.setProtocol(std::min(proto::PROTOCOL_MAX, hello.getProtocolMax()));
    results.setCluster(cluster_);
    results.setNonce(kj::arrayPtr(server_nonce_.data(), server_nonce_.size()));
    results.setProof(kj::arrayPtr(proof.data(), proof.size()));
    return kj::READY_NOW;
  }

  kj::Promise<void> prove(ProveContext context) override {
    auto proof = context.getParams().getProof();
    auto results = context.getResults();
    const bool right =
        greeted_ && SameProof(MakeProof(identity_->token, "client", client_nonce_, server_nonce_, cluster_),
                              proof.begin(), proof.size());
    greeted_ = false;  // one try a connection
    if (!right) {
      LOG(WARNING) << identity_->name << ": refused '" << peer_ << "': wrong token";
      WriteStatus(PermissionDenied(identity_->name + " refused '" + peer_ + "': wrong token"),
                  results.initStatus());
      return kj::READY_NOW;
    }
    *passed_ = true;
    results.setService(service_);
    return kj::READY_NOW;
  }

 private:
  Status Check(proto::Hello::Reader hello) {
    peer_ = hello.getName().cStr();
    if (hello.getProtocolMin() > proto::PROTOCOL_MAX || hello.getProtocolMax() < proto::PROTOCOL_MIN) {
      return PermissionDenied(
          "'" + peer_ + "' speaks protocol versions " + std::to_string(hello.getProtocolMin()) + " to " +
          std::to_string(hello.getProtocolMax()) + ", " + identity_->name + " speaks " +
          std::to_string(proto::PROTOCOL_MIN) + " to " + std::to_string(proto::PROTOCOL_MAX));
    }
    const uint64_t mine = identity_->cluster;
    if (hello.getCluster() != 0 && mine != 0 && hello.getCluster() != mine) {
      return PermissionDenied("'" + peer_ + "' belongs to cluster " + ClusterIdText(hello.getCluster()) +
                              ", " + identity_->name + " to cluster " + ClusterIdText(mine));
    }
    if (hello.getNonce().size() != client_nonce_.size())
      return InvalidArgument("'" + peer_ + "': the nonce must have 16 bytes");
    return Status::Ok();
  }

  std::shared_ptr<const ClusterIdentity> identity_;
  capnp::Capability::Client service_;
  const Status refusal_;  // of everybody
  std::shared_ptr<bool> passed_;
  std::string peer_ = "unknown";
  bool greeted_ = false;
  uint64_t cluster_ = 0;
  Nonce client_nonce_{};
  Nonce server_nonce_{};
};

// One accepted connection. Members die in reverse order: the RPC system before the network before the
// streams.
struct Connection {
  Connection(KjLoop& loop, kj::Own<kj::AsyncIoStream> s, capnp::Capability::Client bootstrap,
             uint64_t max_bytes, PooledMessageStream::Accepts accepts)
      : stream(kj::mv(s)),
        messages(*stream, &loop, std::move(accepts)),
        network(messages, capnp::rpc::twoparty::Side::SERVER, PooledMessageStream::Limit(max_bytes)),
        rpc(capnp::makeRpcServer(network, kj::mv(bootstrap))) {
    rpc.setFlowLimit(2 * max_bytes / sizeof(capnp::word));
  }
  kj::Own<kj::AsyncIoStream> stream;
  PooledMessageStream messages;
  capnp::TwoPartyVatNetwork network;
  capnp::RpcSystem<capnp::rpc::twoparty::VatId> rpc;
};

}  // namespace

void RpcCounters::Declare(const std::string& prefix, MetricsRegistry& registry) const {
  const auto read = [&](const char* name, const char* help, const std::atomic<uint64_t>& value) {
    registry.AddCallback(prefix + name, help, [&value] { return static_cast<double>(value.load()); });
  };
  read("_connections", "Open RPC connections.", connections);
  read("_refused_connections_total", "RPC connections beyond the limit.", refused_connections);
  read("_refused_messages_total", "RPC connections closed for a message that is too large.",
       refused_messages);
}

class RpcServer::Impl : public kj::TaskSet::ErrorHandler {
 public:
  Impl(KjLoop& loop, std::shared_ptr<const ClusterIdentity> identity, const RpcServerOptions& options,
       kj::Own<kj::ConnectionReceiver> receiver, capnp::Capability::Client service)
      : loop_(loop),
        identity_(std::move(identity)),
        options_(options),
        counters_(options.counters != nullptr ? *options.counters : own_counters_),
        receiver_(kj::mv(receiver)),
        service_(kj::mv(service)),
        tasks_(*this) {
    tasks_.add(Accept());
  }
  ~Impl() { counters_.connections -= connections_.size(); }

  kj::ConnectionReceiver& receiver() { return *receiver_; }
  size_t connections() const { return connections_.size(); }

 private:
  kj::Promise<void> Accept() {
    return receiver_->accept().then(
        [this](kj::Own<kj::AsyncIoStream>&& stream) {
          if (connections_.size() < options_.max_connections) {
            Serve(kj::mv(stream), Status::Ok());
          } else {
            Refuse(kj::mv(stream));
          }
          return Accept();
        },
        [this](kj::Exception&& e) {
          // Out of file descriptors, mostly: go on when some are free again.
          LOG(WARNING) << identity_->name << ": accept: " << e.getDescription().cStr();
          return loop_.Sleep(100).then([this] { return Accept(); });
        });
  }

  void Refuse(kj::Own<kj::AsyncIoStream> stream) {
    const Status status = Overloaded(StrCat(identity_->name, " has ", options_.max_connections,
                                            " connections on this port, as ", options_.limit_name, " allows"),
                                     kRetryMs);
    LOG_EVERY_N(WARNING, 100) << "refused a connection: " << status.message();
    ++counters_.refused_connections;
    if (connections_.size() < options_.max_connections + kRefusedConnections) Serve(kj::mv(stream), status);
  }

  // Whether a message of that size is read. It is announced before any of it has come.
  bool Accepts(uint64_t bytes, bool passed) {
    const uint64_t most = passed ? options_.max_message_bytes : kHandshakeBytes;
    if (bytes <= most) return true;
    LOG(WARNING) << identity_->name << ": closed a connection for a message of " << bytes << " bytes"
                 << (passed ? "" : " in the handshake") << ", allowed are " << most;
    ++counters_.refused_messages;
    return false;
  }

  void Serve(kj::Own<kj::AsyncIoStream> stream, const Status& refusal) {
    int one = 1;
    stream->setsockopt(IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    auto passed = std::make_shared<bool>(false);
    const uint64_t id = next_id_++;
    auto connection = std::make_unique<Connection>(
        loop_, kj::mv(stream), kj::heap<HandshakeServer>(identity_, service_, refusal, passed),
        options_.max_message_bytes, [this, passed](uint64_t bytes) { return Accepts(bytes, *passed); });
    auto gone = connection->network.onDisconnect();
    connections_.emplace(id, std::move(connection));
    ++counters_.connections;
    auto late = loop_.Sleep(kHandshakeMs).then([passed]() -> kj::Promise<void> {
      if (!*passed) return kj::READY_NOW;
      return kj::NEVER_DONE;
    });
    tasks_.add(gone.exclusiveJoin(kj::mv(late))
                   .then([this, id] { Close(id); }, [this, id](kj::Exception&&) { Close(id); }));
  }

  void Close(uint64_t id) { counters_.connections -= connections_.erase(id); }

  void taskFailed(kj::Exception&& e) override {
    LOG(WARNING) << identity_->name << ": " << e.getDescription().cStr();
  }

  KjLoop& loop_;
  std::shared_ptr<const ClusterIdentity> identity_;
  RpcServerOptions options_;
  RpcCounters own_counters_;
  RpcCounters& counters_;
  kj::Own<kj::ConnectionReceiver> receiver_;
  capnp::Capability::Client service_;
  uint64_t next_id_ = 0;
  std::unordered_map<uint64_t, std::unique_ptr<Connection>> connections_;
  kj::TaskSet tasks_;  // last: its promises use all of the above
};

Result<std::unique_ptr<RpcServer>> RpcServer::Listen(KjLoop& loop,
                                                     std::shared_ptr<const ClusterIdentity> identity,
                                                     const RpcServerOptions& options,
                                                     capnp::Capability::Client service) {
  const std::string where = options.host + ":" + std::to_string(options.port);
  if (!IsLoopback(options.host) && identity->token.empty()) {
    return FailedPrecondition("listen on " + where +
                              ": not loopback, and there is no token: set security.token_file");
  }
  try {
    auto address =
        loop.io().provider->getNetwork().parseAddress(options.host, options.port).wait(loop.io().waitScope);
    auto receiver = address->listen();
    const uint16_t port = static_cast<uint16_t>(receiver->getPort());
    auto impl = std::make_unique<Impl>(loop, std::move(identity), options, kj::mv(receiver), kj::mv(service));
    return std::unique_ptr<RpcServer>(new RpcServer(
        std::move(impl), port, options.advertise_host.empty() ? options.host : options.advertise_host));
  } catch (const kj::Exception& e) {
    return FailedPrecondition("listen on " + where + ": " + e.getDescription().cStr());
  }
}

RpcServer::RpcServer(std::unique_ptr<Impl> impl, uint16_t port, std::string host)
    : impl_(std::move(impl)), port_(port), host_(std::move(host)) {}
RpcServer::~RpcServer() = default;
std::string RpcServer::endpoint() const { return host_ + ":" + std::to_string(port_); }
size_t RpcServer::connections() const { return impl_->connections(); }

}  // namespace penstock
