#include "common/net/connection_cache.h"

#include <capnp/rpc-twoparty.h>
#include <glog/logging.h>
#include <netinet/in.h>
#include <netinet/tcp.h>

#include <cstring>
#include <fstream>
#include <unordered_map>

#include "common/cluster/wire.h"
#include "common/net/address.h"
#include "common/net/message_stream.h"
#include "proto/handshake.capnp.h"

namespace penstock {
namespace {

// Whether one of a port's proofs is that of our token.
bool HasProof(capnp::Data::Reader proofs, const Proof& ours) {
  bool found = false;
  for (size_t at = 0; at + ours.size() <= proofs.size(); at += ours.size())
    found |= SameProof(ours, proofs.begin() + at, ours.size());
  return found;
}

// Members die in reverse order.
struct Link {
  Link(KjLoop& loop, kj::Own<kj::AsyncIoStream> s, uint64_t max_bytes)
      : stream(kj::mv(s)),
        messages(*stream, &loop),
        network(messages, capnp::rpc::twoparty::Side::CLIENT, PooledMessageStream::Limit(max_bytes)),
        rpc(capnp::makeRpcClient(network)) {}

  proto::Handshake::Client Bootstrap() {
    capnp::MallocMessageBuilder message;
    auto vat = message.initRoot<capnp::rpc::twoparty::VatId>();
    vat.setSide(capnp::rpc::twoparty::Side::SERVER);
    return rpc.bootstrap(vat).castAs<proto::Handshake>();
  }

  kj::Own<kj::AsyncIoStream> stream;
  PooledMessageStream messages;
  capnp::TwoPartyVatNetwork network;
  capnp::RpcSystem<capnp::rpc::twoparty::VatId> rpc;
};

}  // namespace

class ConnectionCache::Impl : public kj::Refcounted, public kj::TaskSet::ErrorHandler {
 public:
  Impl(KjLoop& loop, std::shared_ptr<ClusterIdentity> identity, const ConnectionOptions& options)
      : loop_(loop), identity_(std::move(identity)), options_(options), tasks_(*this) {}

  kj::Promise<Result<capnp::Capability::Client>> Get(const std::string& endpoint) {
    auto it = entries_.find(endpoint);
    if (it == entries_.end()) {
      const uint64_t id = next_id_++;
      auto connect =
          WithDeadline<Result<capnp::Capability::Client>>(loop_.timer(), options_.connect_timeout_ms,
                                                          Connect(endpoint, id), "connect to " + endpoint)
              .then([this, endpoint, id](Result<Result<capnp::Capability::Client>>&& r)
                        -> Result<std::shared_ptr<capnp::Capability::Client>> {
                const Status status = r.ok() ? r->status() : NoAnswer(endpoint, id, r.status());
                if (status.ok()) return std::make_shared<capnp::Capability::Client>(**r);
                Erase(endpoint, id);  // the next Get tries again
                return status;
              });
      it = entries_.emplace(endpoint, Entry{id, nullptr, connect.fork()}).first;
    }
    return it->second.service.addBranch().then(
        [](Result<std::shared_ptr<capnp::Capability::Client>>&& shared) -> Result<capnp::Capability::Client> {
          if (!shared.ok()) return shared.status();
          return capnp::Capability::Client(**shared);
        });
  }

  void Drop(const std::string& endpoint) {
    auto it = entries_.find(endpoint);
    if (it != entries_.end()) Erase(endpoint, it->second.id);
  }

 private:
  struct Entry {
    uint64_t id;
    std::shared_ptr<Link> link;
    // Shared, because a Client has no copy from const, which a fork's branches need.
    kj::ForkedPromise<Result<std::shared_ptr<capnp::Capability::Client>>> service;
  };

  // Why there is no connection, from how far it has come: a peer that is not there is told from one that does
  // not answer.
  Status NoAnswer(const std::string& endpoint, uint64_t id, const Status& status) const {
    if (status.code() != Code::kDeadlineExceeded) return status;
    const auto it = entries_.find(endpoint);
    const bool accepted = it != entries_.end() && it->second.id == id && it->second.link != nullptr;
    const std::string waited = " within " + std::to_string(options_.connect_timeout_ms) + " ms";
    if (!accepted) return Unavailable("connect to " + endpoint + ": not reached" + waited);
    return DeadlineExceeded("connect to " + endpoint + ": the connection is accepted, but not answered" +
                            waited + "; the process is stopped, hung or overloaded");
  }

  // Destroying a link inside one of its own callbacks is not allowed: do it from the event queue.
  void Erase(const std::string& endpoint, uint64_t id) {
    auto it = entries_.find(endpoint);
    if (it == entries_.end() || it->second.id != id) return;
    auto entry = std::make_shared<Entry>(kj::mv(it->second));
    entries_.erase(it);
    tasks_.add(kj::evalLast([entry = std::move(entry)]() mutable { entry.reset(); }));
  }

  kj::Promise<Result<capnp::Capability::Client>> Connect(const std::string& endpoint, uint64_t id) {
    return kj::evalNow([&] { return loop_.io().provider->getNetwork().parseAddress(endpoint); })
        .catch_([](kj::Exception&& e) -> kj::Own<kj::NetworkAddress> {
          // A name server may know the name in a moment: like a peer that is not reached.
          kj::throwFatalException(
              kj::Exception(kj::Exception::Type::DISCONNECTED, __FILE__, __LINE__,
                            kj::str("the address cannot be resolved (", e.getDescription(), ")")));
        })
        .then([](kj::Own<kj::NetworkAddress>&& address) {
          auto& ref = *address;
          return ref.connect().attach(kj::mv(address));
        })
        .then([this, endpoint,
               id](kj::Own<kj::AsyncIoStream>&& stream) -> kj::Promise<Result<capnp::Capability::Client>> {
          int one = 1;
          stream->setsockopt(IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
          auto link = std::make_shared<Link>(loop_, kj::mv(stream), options_.max_message_bytes);
          auto it = entries_.find(endpoint);
          if (it == entries_.end() || it->second.id != id) {
            return Result<capnp::Capability::Client>(Cancelled("connect to " + endpoint + ": dropped"));
          }
          it->second.link = link;
          tasks_.add(link->network.onDisconnect().then(
              [this, endpoint, id] { Erase(endpoint, id); },
              [this, endpoint, id](kj::Exception&&) { Erase(endpoint, id); }));
          return Greet(*link, endpoint);
        });
  }

  kj::Promise<Result<capnp::Capability::Client>> Greet(Link& link, const std::string& endpoint) {
    const Nonce nonce = RandomNonce();
    auto handshake = link.Bootstrap();
    auto request = handshake.helloRequest();
    auto hello = request.initHello();
    hello.setProtocolMin(proto::PROTOCOL_MIN);
    hello.setProtocolMax(proto::PROTOCOL_MAX);
    hello.setCluster(identity_->cluster);
    hello.setNonce(kj::arrayPtr(nonce.data(), nonce.size()));
    hello.setName(identity_->name);
    return request.send().then([this, nonce, handshake,
                                endpoint](capnp::Response<proto::Handshake::HelloResults>&& answer) mutable
                               -> kj::Promise<Result<capnp::Capability::Client>> {
      const std::string peer = std::string(answer.getName().cStr()) + " at " + endpoint;
      const Status status = ReadStatus(answer.getStatus());
      if (!status.ok()) return Result<capnp::Capability::Client>(status.Prepend("connect to " + peer));
      Nonce server_nonce;
      if (answer.getNonce().size() != server_nonce.size()) {
        return Result<capnp::Capability::Client>(
            PermissionDenied("connect to " + peer + ": a nonce of the wrong size"));
      }
      std::copy_n(answer.getNonce().begin(), server_nonce.size(), server_nonce.begin());
      const uint64_t cluster = answer.getCluster();
      if (!HasProof(answer.getProof(), MakeProof(identity_->token, "server", nonce, server_nonce, cluster))) {
        return Result<capnp::Capability::Client>(PermissionDenied("connect to " + peer + ": wrong token"));
      }
      const uint64_t mine = identity_->cluster;
      if (mine != 0 && cluster != 0 && mine != cluster) {
        return Result<capnp::Capability::Client>(
            PermissionDenied("connect to " + peer + ": it belongs to cluster " + ClusterIdText(cluster) +
                             ", '" + identity_->name + "' to cluster " + ClusterIdText(mine)));
      }
      if (mine == 0) identity_->cluster = cluster;
      const Proof proof = MakeProof(identity_->token, "client", nonce, server_nonce, cluster);
      auto prove = handshake.proveRequest();
      prove.setProof(kj::arrayPtr(proof.data(), proof.size()));
      return prove.send().then([peer](capnp::Response<proto::Handshake::ProveResults>&& answer)
                                   -> Result<capnp::Capability::Client> {
        const Status status = ReadStatus(answer.getStatus());
        if (!status.ok()) return status.Prepend("connect to " + peer);
        return answer.getService();
      });
    });
  }

  void taskFailed(kj::Exception&& e) override {
    LOG(WARNING) << identity_->name << ": " << e.getDescription().cStr();
  }

  KjLoop& loop_;
  std::shared_ptr<ClusterIdentity> identity_;
  ConnectionOptions options_;
  uint64_t next_id_ = 0;
  std::unordered_map<std::string, Entry> entries_;
  kj::TaskSet tasks_;  // last: its promises use all of the above
};

ConnectionCache::ConnectionCache(KjLoop& loop, std::shared_ptr<ClusterIdentity> identity,
                                 const ConnectionOptions& options)
    : impl_(kj::refcounted<Impl>(loop, std::move(identity), options)) {}
ConnectionCache::~ConnectionCache() = default;
kj::Promise<Result<capnp::Capability::Client>> ConnectionCache::Get(const std::string& endpoint) {
  return impl_->Get(endpoint);
}
void ConnectionCache::Drop(const std::string& endpoint) { impl_->Drop(endpoint); }

Result<std::string> ResolveAddress(const std::string& address_or_file) {
  if (address_or_file.find('/') == std::string::npos) {
    PENSTOCK_RETURN_IF_ERROR(CheckAddress(address_or_file));
    return address_or_file;
  }
  std::ifstream in(address_or_file);
  std::string line;
  if (!in || !std::getline(in, line) || line.empty()) {
    return Unavailable("no address in " + address_or_file + " (is the scheduler running?)");
  }
  return line;
}

}  // namespace penstock
