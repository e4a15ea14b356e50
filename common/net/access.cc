#include "common/net/access.h"

#include <kj/debug.h>

#include <map>
#include <string>
#include <utility>
#include <vector>

#include "common/cluster/wire.h"
#include "proto/control.capnp.h"
#include "proto/data.capnp.h"
#include "proto/handshake.capnp.h"
#include "proto/replica.capnp.h"

namespace penstock {
namespace {

constexpr uint8_t kNodes = 1, kOperators = 2, kClients = 4;
constexpr uint8_t kAnyone = kNodes | kOperators | kClients;
constexpr std::string_view kTokens[] = {"node", "operator", "client"};

struct MethodRule {
  const char* name;
  uint8_t allowed;
};
// By the method's number in its interface.
using InterfaceRules = std::vector<MethodRule>;

const std::map<uint64_t, InterfaceRules>& Rules() {
  static const auto& rules = *new std::map<uint64_t, InterfaceRules>{
      {capnp::typeId<proto::Scheduler>(),
       {{"register", kAnyone},   // as a server: node alone (SchedulerService)
        {"heartbeat", kAnyone},  // of a server: node alone (SchedulerService)
        {"shardMap", kAnyone},      {"createTable", kAnyone},
        {"openTable", kAnyone},     {"dropTable", kAnyone},
        {"newProducers", kAnyone},  {"submitJob", kAnyone},  // client: files below worker.data_roots alone
        {"cancelJob", kAnyone},     {"lease", kAnyone},
        {"report", kAnyone},        {"inspect", kAnyone},
        {"acceptLoss", kOperators}, {"clock", kAnyone},
        {"minibatch", kAnyone},     {"pauseJob", kAnyone},
        {"resumeJob", kAnyone},     {"setCopies", kOperators},
        {"forceShard", kOperators}, {"cannotStart", kNodes},
        {"removeJob", kAnyone},     {"removeNode", kOperators},
        {"moveShard", kOperators},  {"drainNode", kOperators},
        {"rebalance", kOperators}}},
      {capnp::typeId<proto::DataPlane>(),
       {{"pull", kAnyone},
        {"push", kAnyone},
        {"flush", kAnyone},
        {"stats", kAnyone},
        {"commitRound", kAnyone},
        {"expire", kOperators},
        {"clocks", kAnyone},
        {"fold", kOperators}}},
      {capnp::typeId<proto::Replica>(), {{"attach", kNodes}, {"append", kNodes}, {"digest", kNodes}}}};
  return rules;
}

class GuardedService final : public capnp::Capability::Server {
 public:
  GuardedService(std::shared_ptr<kj::Own<capnp::Capability::Server>> service, const ProvenPeer& caller)
      : service_(std::move(service)),
        knows_caller_(dynamic_cast<KnowsCaller*>(service_->get())),
        caller_(caller) {}

  DispatchCallResult dispatchCall(uint64_t interface, uint16_t method,
                                  capnp::CallContext<capnp::AnyPointer, capnp::AnyPointer> context) override {
    const Status status = CheckCall(caller_.access, interface, method);
    if (status.code() == Code::kPermissionDenied) {
      WriteStatus(status, context.getResults().initAs<proto::Refusal>().initStatus());
      return {kj::READY_NOW, false};
    }
    if (!status.ok()) return {KJ_EXCEPTION(UNIMPLEMENTED, "no such method"), false};
    if (knows_caller_ != nullptr) knows_caller_->BeginCall(caller_);
    return (*service_)->dispatchCall(interface, method, context);
  }

 private:
  const std::shared_ptr<kj::Own<capnp::Capability::Server>> service_;
  KnowsCaller* const knows_caller_;
  const ProvenPeer caller_;
};

}  // namespace

std::string_view ToString(Access access) {
  return access == Access::kEverything ? "cluster's" : kTokens[static_cast<size_t>(access)];
}

Status CheckCall(Access caller, uint64_t interface, uint16_t method) {
  const auto rules = Rules().find(interface);
  if (rules == Rules().end() || method >= rules->second.size()) return NotFound("no port has such a method");
  const MethodRule& rule = rules->second[method];
  if (caller == Access::kEverything || (rule.allowed >> static_cast<int>(caller) & 1) != 0)
    return Status::Ok();
  std::string allowed;
  for (size_t token = 0; token < std::size(kTokens); ++token) {
    if ((rule.allowed >> token & 1) == 0) continue;
    allowed += (allowed.empty() ? "" : " or ") + std::string(kTokens[token]);
  }
  return PermissionDenied("'" + std::string(rule.name) + "' is not for the " + std::string(ToString(caller)) +
                          " token, allowed is " + allowed);
}

capnp::Capability::Client GuardService(std::shared_ptr<kj::Own<capnp::Capability::Server>> service,
                                       const ProvenPeer& caller) {
  return kj::heap<GuardedService>(std::move(service), caller);
}

}  // namespace penstock
