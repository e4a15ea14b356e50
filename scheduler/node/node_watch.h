// NodeWatch: whether the process of a server has ended. One that dies closes its connections, and its address
// then refuses another one; one that only stands still, or is cut off, refuses nobody.
//
// It says what it saw: a firewall between them refuses too, so whoever hears of it goes by signs of the node
// that come after. Lives on its loop's thread.
#pragma once

#include <kj/async.h>

#include <functional>
#include <map>
#include <set>
#include <string>

#include "common/base/ids.h"
#include "common/net/kj_loop.h"

namespace penstock {

class NodeWatch : private kj::TaskSet::ErrorHandler {
 public:
  // `ended` is called on the loop. `look_ms`: after the last connection of a node has ended its address is
  // tried for so long at most; then its silence decides.
  NodeWatch(KjLoop& loop, uint64_t look_ms, std::function<void(NodeId)> ended);

  // It called on that connection; `endpoint` is what it accepts connections at.
  void OnHeard(NodeId node, const std::string& endpoint, uint64_t connection);
  void OnClosed(uint64_t connection);
  // Nothing is said any more.
  void Stop();

 private:
  struct Watched {
    std::string endpoint;
    std::set<uint64_t> connections;  // open ones
    uint64_t look = 0;               // the last that was begun
  };

  kj::Promise<void> Look(NodeId node, uint64_t look, uint64_t until_ms);
  kj::Promise<bool> Refuses(const std::string& endpoint);
  void taskFailed(kj::Exception&& e) override;

  KjLoop& loop_;
  const uint64_t look_ms_;
  const std::function<void(NodeId)> ended_;
  std::map<NodeId, Watched> nodes_;  // that are connected, or are being looked at
  uint64_t last_look_ = 0;
  kj::TaskSet tasks_;  // last: its promises use all of the above
};

}  // namespace penstock
