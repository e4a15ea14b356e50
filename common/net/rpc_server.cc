#include "common/net/rpc_server.h"

#include <capnp/rpc-twoparty.h>
#include <glog/logging.h>
#include <netinet/in.h>
#include <netinet/tcp.h>

#include <algorithm>
#include <map>
#include <optional>
#include <unordered_map>

#include "common/base/line_limiter.h"
#include "common/base/strings.h"
#include "common/cluster/wire.h"
#include "common/net/address.h"
#include "common/net/message_stream.h"
#include "proto/handshake.capnp.h"

namespace penstock {
namespace {

constexpr uint64_t kHandshakeBytes = 64 << 10;  // of all messages before it has passed
constexpr uint64_t kMessageBytes = 64;          // that one of no size counts as
constexpr size_t kUnproven = 256;               // connections that have not passed, at a time
constexpr uint64_t kUnprovenMs = 250;           // that each of them has at least
constexpr uint64_t kLookMs = 10;                // for a place among them
constexpr uint32_t kRetryMs = 1000;
constexpr uint32_t kLines = 10;  // of the log about refusals, in each so many ms
constexpr uint64_t kLinesMs = 10'000;

// What a connection's handshake asks of its port.
class Gate {
 public:
  virtual ~Gate() = default;
  // Its peer has proven a token. Not ok: it is not let in all the same.
  virtual Status Admit(uint64_t connection) = 0;
  virtual void NoteRefusal(const std::string& text) = 0;
};

// The server's half of one connection's handshake.
class HandshakeServer final : public proto::Handshake::Server {
 public:
  HandshakeServer(std::shared_ptr<const ClusterIdentity> identity,
                  std::shared_ptr<kj::Own<capnp::Capability::Server>> service,
                  std::shared_ptr<Gate* const> gate, uint64_t connection)
      : identity_(std::move(identity)),
        service_(std::move(service)),
        gate_(std::move(gate)),
        connection_(connection) {}

  kj::Promise<void> hello(HelloContext context) override {
    auto hello = context.getParams().getHello();
    auto results = context.getResults();
    const Status status = Check(hello);
    said_ = true;
    WriteStatus(status, results.initStatus());
    results.setName(identity_->name);
    if (!status.ok()) {
      NoteRefusal(status);
      return kj::READY_NOW;
    }
    std::copy_n(hello.getNonce().begin(), client_nonce_.size(), client_nonce_.begin());
    server_nonce_ = RandomNonce();
    greeted_ = true;
    cluster_ = identity_->cluster;
    const auto accepted = identity_->Accepted();
    auto proofs = results.initProof(static_cast<uint32_t>(accepted.size() * sizeof(Proof)));
    for (size_t i = 0; i < accepted.size(); ++i) {
      const Proof proof = MakeProof(accepted[i].first, "server", client_nonce_, server_nonce_, cluster_);
      std::copy(proof.begin(), proof.end(), proofs.begin() + i * sizeof(Proof));
    }
    results.setProtocol(std::min(proto::PROTOCOL_MAX, hello.getProtocolMax()));
    results.setCluster(cluster_);
    results.setNonce(kj::arrayPtr(server_nonce_.data(), server_nonce_.size()));
    return kj::READY_NOW;
  }

  kj::Promise<void> prove(ProveContext context) override {
    auto results = context.getResults();
    const std::optional<Access> access = Proven(context.getParams().getProof());
    greeted_ = false;  // one try a connection
    const Status status = access ? Admit() : PermissionDenied("wrong token");
    if (!status.ok()) {
      const Status refusal = status.Prepend(identity_->name + " refused '" + peer_ + "'");
      NoteRefusal(refusal);
      WriteStatus(refusal, results.initStatus());
      return kj::READY_NOW;
    }
    results.setService(GuardService(service_, {.access = *access, .connection = connection_}));
    return kj::READY_NOW;
  }

 private:
  // The peer's name is text of a stranger: it is repeated only when it is a good one.
  Status Check(proto::Hello::Reader hello) {
    if (said_) return FailedPrecondition(identity_->name + ": a second hello of one connection");
    const auto text = hello.getName();
    PENSTOCK_RETURN_IF_ERROR(
        CheckPeerName({text.begin(), text.size()}).Prepend(identity_->name + " refused a hello"));
    peer_ = text.cStr();
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

  std::optional<Access> Proven(capnp::Data::Reader proof) const {
    if (!greeted_) return std::nullopt;
    for (const auto& [token, access] : identity_->Accepted()) {
      if (SameProof(MakeProof(token, "client", client_nonce_, server_nonce_, cluster_), proof.begin(),
                    proof.size()))
        return access;
    }
    return std::nullopt;
  }

  Status Admit() const {
    return *gate_ == nullptr ? Unavailable("the port is closed") : (*gate_)->Admit(connection_);
  }
  void NoteRefusal(const Status& status) const {
    if (*gate_ != nullptr) (*gate_)->NoteRefusal(status.message());
  }

  std::shared_ptr<const ClusterIdentity> identity_;
  std::shared_ptr<kj::Own<capnp::Capability::Server>> service_;
  // Holds nullptr when the port is gone: a call that has come goes on without its connection.
  const std::shared_ptr<Gate* const> gate_;
  const uint64_t connection_;
  std::string peer_ = "unknown";
  bool said_ = false;     // hello
  bool greeted_ = false;  // and may prove
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
  read("_unproven_connections", "Of these, those that have not proven a token.", unproven_connections);
  read("_refused_connections_total", "RPC connections beyond the limit.", refused_connections);
  read("_dropped_connections_total",
       "RPC connections closed because too many others had not proven a token either.", dropped_connections);
  read("_refused_messages_total", "RPC connections closed for a message that is too large.",
       refused_messages);
}

class RpcServer::Impl : public kj::TaskSet::ErrorHandler, public Gate {
 public:
  Impl(KjLoop& loop, std::shared_ptr<const ClusterIdentity> identity, const RpcServerOptions& options,
       kj::Own<kj::ConnectionReceiver> receiver)
      : loop_(loop),
        identity_(std::move(identity)),
        options_(options),
        counters_(options.counters != nullptr ? *options.counters : own_counters_),
        receiver_(kj::mv(receiver)),
        tasks_(*this) {}
  ~Impl() noexcept override {
    *gate_ = nullptr;
    counters_.connections -= connections_.size();
    counters_.unproven_connections -= unproven_.size();
  }

  void Serve(kj::Own<capnp::Capability::Server> service) {
    service_ = std::make_shared<kj::Own<capnp::Capability::Server>>(kj::mv(service));
    tasks_.add(AcceptAll());
  }
  size_t connections() const { return connections_.size(); }

 private:
  struct Unproven {
    uint64_t opened_ms = 0;
    uint64_t bytes = 0;  // of its messages
  };

  kj::Promise<void> AcceptAll() {
    return MakePlace()
        .then([this] { return receiver_->accept(); })
        .then(
            [this](kj::Own<kj::AsyncIoStream>&& stream) {
              Open(kj::mv(stream));
              return AcceptAll();
            },
            [this](kj::Exception&& e) {
              // Out of file descriptors, mostly: go on when some are free again.
              Say(StrCat("accept: ", e.getDescription().cStr()));
              return loop_.Sleep(100).then([this] { return AcceptAll(); });
            });
  }

  // Strangers must not keep out those who have a token: the oldest that has proven nothing gives way, once it
  // has had its time. Until then those that come wait in the kernel's queue.
  kj::Promise<void> MakePlace() {
    if (unproven_.size() < kUnproven) return kj::READY_NOW;
    const auto& [id, oldest] = *unproven_.begin();
    if (loop_.NowMs() - oldest.opened_ms < kUnprovenMs)
      return loop_.Sleep(kLookMs).then([this] { return MakePlace(); });
    ++counters_.dropped_connections;
    Say(StrCat("closed a connection that has proven nothing: there are ", kUnproven, " of them"));
    Close(id);
    return kj::READY_NOW;
  }

  // What peers cause, a few times in a while: a stranger must not fill the disk with it.
  void Say(const std::string& line) {
    if (const auto tail = lines_.Admit(loop_.NowMs()))
      LOG(WARNING) << identity_->name << ": " << line << *tail;
  }

  void NoteRefusal(const std::string& text) override { Say("refused a peer: " + text); }

  Status Admit(uint64_t connection) override {
    const size_t passed = connections_.size() - unproven_.size();
    if (passed >= options_.max_connections) {
      ++counters_.refused_connections;
      return Overloaded(
          StrCat("it has ", passed, " connections on this port, as ", options_.limit_name, " allows"),
          kRetryMs);
    }
    counters_.unproven_connections -= unproven_.erase(connection);
    return Status::Ok();
  }

  // Whether a message of that size is read. It is announced before any of it has come.
  bool Accepts(uint64_t bytes, uint64_t connection) {
    const auto unproven = unproven_.find(connection);
    const bool passed = unproven == unproven_.end();
    const uint64_t most = passed ? options_.max_message_bytes : kHandshakeBytes;
    if (!passed) bytes = unproven->second.bytes += std::min(bytes, most) + kMessageBytes;
    if (bytes <= most) return true;
    Say(StrCat("closed a connection for ", passed ? "a message" : "messages in the handshake", " of ", bytes,
               " bytes, allowed are ", most));
    ++counters_.refused_messages;
    return false;
  }

  void Open(kj::Own<kj::AsyncIoStream> stream) {
    int one = 1;
    stream->setsockopt(IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    const uint64_t id = next_id_++;
    auto connection = std::make_unique<Connection>(
        loop_, kj::mv(stream), kj::heap<HandshakeServer>(identity_, service_, gate_, id),
        options_.max_message_bytes, [this, id](uint64_t bytes) { return Accepts(bytes, id); });
    auto gone = connection->network.onDisconnect();
    connections_.emplace(id, std::move(connection));
    ++counters_.connections;
    unproven_.emplace(id, Unproven{.opened_ms = loop_.NowMs()});
    ++counters_.unproven_connections;
    auto late = loop_.Sleep(options_.handshake_ms).then([this, id]() -> kj::Promise<void> {
      if (unproven_.contains(id)) return kj::READY_NOW;
      return kj::NEVER_DONE;
    });
    tasks_.add(gone.exclusiveJoin(kj::mv(late))
                   .then([this, id] { Close(id); }, [this, id](kj::Exception&&) { Close(id); }));
  }

  void Close(uint64_t id) {
    counters_.unproven_connections -= unproven_.erase(id);
    counters_.connections -= connections_.erase(id);
    if (service_ == nullptr) return;
    if (auto* knows = dynamic_cast<KnowsCaller*>(service_->get()); knows != nullptr) knows->OnClosed(id);
  }

  void taskFailed(kj::Exception&& e) override { Say(e.getDescription().cStr()); }

  KjLoop& loop_;
  std::shared_ptr<const ClusterIdentity> identity_;
  RpcServerOptions options_;
  RpcCounters own_counters_;
  RpcCounters& counters_;
  kj::Own<kj::ConnectionReceiver> receiver_;
  std::shared_ptr<kj::Own<capnp::Capability::Server>> service_;
  LineLimiter lines_{kLines, kLinesMs};
  uint64_t next_id_ = 0;
  const std::shared_ptr<Gate*> gate_ = std::make_shared<Gate*>(this);
  std::map<uint64_t, Unproven> unproven_;  // the oldest first
  std::unordered_map<uint64_t, std::unique_ptr<Connection>> connections_;
  kj::TaskSet tasks_;  // last: its promises use all of the above
};

Result<std::unique_ptr<RpcServer>> RpcServer::Listen(KjLoop& loop,
                                                     std::shared_ptr<const ClusterIdentity> identity,
                                                     const RpcServerOptions& options,
                                                     kj::Own<capnp::Capability::Server> service) {
  const std::string where = JoinAddress(options.host, options.port);
  if (!IsLoopback(options.host) && identity->token.empty()) {
    return FailedPrecondition("listen on " + where +
                              ": not loopback, and there is no token: set security.token_file");
  }
  auto advertised = AdvertisedHost(options.host, options.advertise_host);
  if (!advertised.ok()) return advertised.status().Prepend("listen on " + where);
  try {
    auto address =
        loop.io().provider->getNetwork().parseAddress(options.host, options.port).wait(loop.io().waitScope);
    auto receiver = address->listen();
    const uint16_t port = static_cast<uint16_t>(receiver->getPort());
    std::unique_ptr<RpcServer> server(
        new RpcServer(std::make_unique<Impl>(loop, std::move(identity), options, kj::mv(receiver)), port,
                      std::move(*advertised)));
    if (service.get() != nullptr) server->Serve(kj::mv(service));
    return server;
  } catch (const kj::Exception& e) {
    return FailedPrecondition("listen on " + where + ": " + e.getDescription().cStr());
  }
}

RpcServer::RpcServer(std::unique_ptr<Impl> impl, uint16_t port, std::string host)
    : impl_(std::move(impl)), port_(port), host_(std::move(host)) {}
RpcServer::~RpcServer() = default;
void RpcServer::Serve(kj::Own<capnp::Capability::Server> service) { impl_->Serve(kj::mv(service)); }
std::string RpcServer::endpoint() const { return JoinAddress(host_, port_); }
size_t RpcServer::connections() const { return impl_->connections(); }

}  // namespace penstock
