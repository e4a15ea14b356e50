#include "scheduler/node/node_watch.h"

#include <glog/logging.h>
#include <kj/async-io.h>

#include <cerrno>
#include <cstring>
#include <string_view>
#include <utility>

namespace penstock {
namespace {

constexpr uint64_t kPauseMs = 25;  // between two attempts: a process that dies closes one thing after another
constexpr uint64_t kConnectMs = 500;  // for an attempt

// KJ keeps what the system said in its text alone.
bool IsRefusal(const kj::Exception& e) {
  return std::string_view(e.getDescription().cStr()).find(std::strerror(ECONNREFUSED)) !=
         std::string_view::npos;
}

}  // namespace

NodeWatch::NodeWatch(KjLoop& loop, uint64_t look_ms, std::function<void(NodeId)> ended)
    : loop_(loop), look_ms_(look_ms), ended_(std::move(ended)), tasks_(*this) {}

void NodeWatch::OnHeard(NodeId node, const std::string& endpoint, uint64_t connection) {
  Watched& watched = nodes_[node];
  watched.endpoint = endpoint;
  watched.connections.insert(connection);
}

void NodeWatch::OnClosed(uint64_t connection) {
  for (auto& [node, watched] : nodes_) {
    if (watched.connections.erase(connection) == 0 || !watched.connections.empty()) continue;
    watched.look = ++last_look_;
    tasks_.add(Look(node, watched.look, loop_.NowMs() + look_ms_));
  }
}

void NodeWatch::Stop() { nodes_.clear(); }

kj::Promise<void> NodeWatch::Look(NodeId node, uint64_t look, uint64_t until_ms) {
  return Refuses(nodes_.at(node).endpoint)
      .then([this, node, look, until_ms](bool refuses) -> kj::Promise<void> {
        const auto it = nodes_.find(node);
        if (it == nodes_.end() || it->second.look != look || !it->second.connections.empty())
          return kj::READY_NOW;  // it was heard again
        if (!refuses && loop_.NowMs() < until_ms) {
          return loop_.Sleep(kPauseMs).then([this, node, look, until_ms]() -> kj::Promise<void> {
            return nodes_.contains(node) ? Look(node, look, until_ms) : kj::READY_NOW;
          });
        }
        const std::string endpoint = std::move(it->second.endpoint);
        nodes_.erase(it);
        if (!refuses) return kj::READY_NOW;
        LOG(WARNING) << "node " << node << " has ended: its connections are closed, and " << endpoint
                     << " refuses another";
        ended_(node);
        return kj::READY_NOW;
      });
}

kj::Promise<bool> NodeWatch::Refuses(const std::string& endpoint) {
  auto late = loop_.Sleep(kConnectMs).then([] { return false; });
  return loop_.io()
      .provider->getNetwork()
      .parseAddress(endpoint)
      .then([](kj::Own<kj::NetworkAddress>&& address) {
        auto connecting = address->connect();
        return connecting.attach(kj::mv(address));
      })
      .then([](kj::Own<kj::AsyncIoStream>&&) { return false; },
            [](kj::Exception&& e) { return IsRefusal(e); })
      .exclusiveJoin(kj::mv(late));
}

void NodeWatch::taskFailed(kj::Exception&& e) { LOG(ERROR) << "node watch: " << e.getDescription().cStr(); }

}  // namespace penstock
