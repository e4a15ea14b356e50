// What all copies of all shards hold, asked of the servers themselves: equal copies have equal digests.
#pragma once

#include <map>
#include <nlohmann/json.hpp>
#include <string>
#include <tuple>
#include <utility>

#include "client/admin.h"
#include "common/base/strings.h"
#include "common/cluster/wire.h"
#include "common/net/connection_cache.h"
#include "common/net/identity.h"
#include "common/net/rpc_status.h"
#include "proto/replica.capnp.h"
#include "tests/cluster/test_cluster.h"

namespace penstock {

// lsn, rows, hash.
using CopyDigest = std::tuple<Lsn, uint64_t, uint64_t>;

inline Result<CopyDigest> AskDigest(KjLoop& loop, ConnectionCache& connections, const std::string& endpoint,
                                    ShardId shard) {
  auto done = std::make_shared<std::promise<Result<CopyDigest>>>();
  auto future = done->get_future();
  loop.Post([&, done] {
    loop.Detach(
        connections.Get(endpoint).then(
            [&loop, done, shard](Result<capnp::Capability::Client>&& service) -> kj::Promise<void> {
              if (!service.ok()) {
                done->set_value(service.status());
                return kj::READY_NOW;
              }
              auto request = service->castAs<proto::Replica>().digestRequest();
              request.setShard(shard);
              using Response = capnp::Response<proto::Replica::DigestResults>;
              return WithDeadline<Response>(loop.timer(), 10000, request.send(), "digest")
                  .then([done](Result<Response>&& answer) {
                    const Status status = answer.ok() ? ReadStatus((*answer).getStatus()) : answer.status();
                    if (!status.ok()) return done->set_value(status);
                    done->set_value(CopyDigest{(*answer).getLsn(), (*answer).getRows(), (*answer).getHash()});
                  });
            }),
        "digest");
  });
  return future.get();
}

// Of how they differ, in an error.
inline std::string ToText(const CopyDigest& digest) {
  return StrCat("lsn ", std::get<0>(digest), ", ", std::get<1>(digest), " rows, hash ", std::get<2>(digest));
}

// Asks the servers of a cluster.
class DigestAsker {
 public:
  explicit DigestAsker(const TestCluster& cluster) : loop_("digests") {
    auto identity = std::make_shared<ClusterIdentity>();
    identity->name = "test-digests";
    identity->token = *ReadTokenFile(cluster.node_token_file());
    loop_.Run([&] { connections_ = std::make_unique<ConnectionCache>(loop_, identity); });
  }
  ~DigestAsker() {
    loop_.Run([&] { connections_.reset(); });
  }
  // `endpoint`: of the server's only core.
  Result<CopyDigest> Ask(const std::string& endpoint, ShardId shard) {
    return AskDigest(loop_, *connections_, endpoint, shard);
  }

 private:
  KjLoop loop_;
  std::unique_ptr<ConnectionCache> connections_;
};

// Of each server's only core, by the server's id.
inline std::map<uint64_t, std::string> ServerEndpoints(const nlohmann::json& nodes) {
  std::map<uint64_t, std::string> endpoints;
  for (const auto& node : nodes) {
    if (node.at("role") == "server") endpoints[node.at("id")] = node.at("endpoints").at(0);
  }
  return endpoints;
}

// Of each shard's primary: rows and hash.
inline Result<std::map<ShardId, std::pair<uint64_t, uint64_t>>> PrimaryDigests(const TestCluster& cluster,
                                                                               Client& client) {
  PENSTOCK_ASSIGN_OR_RETURN(const auto nodes, Admin(client).Inspect("nodes"));
  PENSTOCK_ASSIGN_OR_RETURN(const auto shards, Admin(client).Inspect("shards"));
  auto endpoints = ServerEndpoints(nodes);
  DigestAsker asker(cluster);
  std::map<ShardId, std::pair<uint64_t, uint64_t>> digests;
  for (const auto& shard : shards) {
    const ShardId id = shard.at("shard");
    PENSTOCK_ASSIGN_OR_RETURN(const CopyDigest digest, asker.Ask(endpoints[shard.at("node")], id));
    digests[id] = {std::get<1>(digest), std::get<2>(digest)};
  }
  return digests;
}

// Empty, or which copies differ from their primary, as one look at each finds them.
inline std::string CompareCopiesOnce(const TestCluster& cluster, Client& client) {
  auto nodes = Admin(client).Inspect("nodes");
  auto shards = Admin(client).Inspect("shards");
  if (!nodes.ok() || !shards.ok()) return "the scheduler does not answer";
  auto endpoints = ServerEndpoints(*nodes);
  DigestAsker asker(cluster);
  std::string differences;
  for (const auto& shard : *shards) {
    const ShardId id = shard.at("shard");
    const auto primary = asker.Ask(endpoints[shard.at("node")], id);
    if (!primary.ok())
      differences += "shard " + std::to_string(id) + ": " + primary.status().ToString() + "\n";
    for (const auto& backup : shard.at("backups")) {
      if (backup.at("state") != "in-sync") continue;
      const auto copy = asker.Ask(endpoints[backup.at("node")], id);
      if (copy.ok() && primary.ok() && *copy == *primary) continue;
      differences +=
          StrCat("shard ", id, " on ", backup.at("name").get<std::string>(), ": ",
                 copy.ok() ? ToText(*copy) : copy.status().ToString(),
                 "; its primary: ", primary.ok() ? ToText(*primary) : primary.status().ToString(), "\n");
    }
  }
  return differences;
}

// Empty, or which copies differ from their primary and go on to. Nothing is pushed meanwhile; but what tables
// of level `memory` have not logged yet is on its way, and a row that is evicted or fetched while a server
// adds up its rows may count twice or not at all (BaseScan).
inline std::string CompareCopies(const TestCluster& cluster, Client& client) {
  constexpr int kCopiesMs = 10000;
  std::string differences;
  WaitFor(kCopiesMs, [&] { return (differences = CompareCopiesOnce(cluster, client)).empty(); });
  return differences;
}

}  // namespace penstock
