// Every method of every port with every token: what is let through, and what a refusal looks like.
#include "common/net/access.h"

#include <capnp/schema.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <map>
#include <string>

#include "common/cluster/wire.h"
#include "common/net/kj_loop.h"
#include "proto/control.capnp.h"
#include "proto/data.capnp.h"
#include "proto/handshake.capnp.h"
#include "proto/replica.capnp.h"

namespace penstock {
namespace {

using ::testing::HasSubstr;

// n: the node token, o: the operator's, c: a client's.
const std::map<std::string, std::string> kAllowed = {
    {"Scheduler.register", "noc"},   // as a server: n (scheduler_tokens_test)
    {"Scheduler.heartbeat", "noc"},  // of a server: n (scheduler_tokens_test)
    {"Scheduler.shardMap", "noc"},    {"Scheduler.createTable", "noc"},  {"Scheduler.openTable", "noc"},
    {"Scheduler.dropTable", "noc"},   {"Scheduler.newProducers", "noc"}, {"Scheduler.submitJob", "noc"},
    {"Scheduler.cancelJob", "noc"},   {"Scheduler.lease", "noc"},        {"Scheduler.report", "noc"},
    {"Scheduler.inspect", "noc"},     {"Scheduler.acceptLoss", "o"},     {"Scheduler.clock", "noc"},
    {"Scheduler.minibatch", "noc"},   {"Scheduler.pauseJob", "noc"},     {"Scheduler.resumeJob", "noc"},
    {"Scheduler.setCopies", "o"},     {"Scheduler.forceShard", "o"},     {"Scheduler.moveShard", "o"},
    {"Scheduler.rebalance", "o"},     {"Scheduler.drainNode", "o"},      {"Scheduler.cannotStart", "n"},
    {"Scheduler.removeJob", "noc"},   {"Scheduler.removeNode", "o"},     {"DataPlane.pull", "noc"},
    {"DataPlane.push", "noc"},        {"DataPlane.flush", "noc"},        {"DataPlane.stats", "noc"},
    {"DataPlane.commitRound", "noc"}, {"DataPlane.expire", "o"},         {"DataPlane.clocks", "noc"},
    {"DataPlane.fold", "o"},          {"Replica.attach", "n"},           {"Replica.append", "n"},
    {"Replica.digest", "n"},
};

// Answers everything with nothing, and remembers what came.
class Recorder final : public capnp::Capability::Server, public KnowsCaller {
 public:
  DispatchCallResult dispatchCall(uint64_t interface, uint16_t method,
                                  capnp::CallContext<capnp::AnyPointer, capnp::AnyPointer>) override {
    last = {interface, method};
    ++calls;
    return {kj::READY_NOW, false};
  }
  void BeginCall(const ProvenPeer& whose) override { caller = whose; }
  void OnClosed(uint64_t) override {}

  std::pair<uint64_t, uint16_t> last;
  int calls = 0;
  ProvenPeer caller;
};

class AccessTest : public ::testing::Test {
 protected:
  AccessTest() : loop_("access") {}

  // The status of one call under `access`; through: whether the service has seen it.
  Status Call(Access access, uint64_t interface, uint16_t method, bool* through) {
    std::promise<Status> answer;
    auto future = answer.get_future();
    loop_.Post([&] {
      auto owned = kj::heap<Recorder>();
      Recorder& recorder = *owned;
      auto service = std::make_shared<kj::Own<capnp::Capability::Server>>(kj::mv(owned));
      auto request = GuardService(service, {.access = access, .connection = 7})
                         .typelessRequest(interface, method, nullptr);
      loop_.Detach(request.send().then(
                       [&, service](capnp::Response<capnp::AnyPointer>&& response) {
                         *through = recorder.calls == 1 && recorder.last == std::pair(interface, method) &&
                                    recorder.caller.access == access && recorder.caller.connection == 7;
                         answer.set_value(ReadStatus(response.getAs<proto::Refusal>().getStatus()));
                       },
                       [&, service](kj::Exception&& e) {
                         *through = recorder.calls > 0;
                         answer.set_value(e.getType() == kj::Exception::Type::UNIMPLEMENTED
                                              ? NotFound(e.getDescription().cStr())
                                              : Internal(e.getDescription().cStr()));
                       }),
                   "call");
    });
    return future.get();
  }

  KjLoop loop_;
};

const capnp::InterfaceSchema kPorts[] = {capnp::Schema::from<proto::Scheduler>(),
                                         capnp::Schema::from<proto::DataPlane>(),
                                         capnp::Schema::from<proto::Replica>()};

TEST_F(AccessTest, EveryMethodWithEveryToken) {
  size_t methods = 0;
  for (const auto& port : kPorts) {
    for (const auto method : port.getMethods()) {
      const std::string name =
          std::string(port.getShortDisplayName().cStr()) + "." + method.getProto().getName().cStr();
      ASSERT_TRUE(kAllowed.contains(name)) << name << " is new: say here and in access.cc who may call it";
      const std::string& allowed = kAllowed.at(name);
      ++methods;
      for (const auto& [letter, access] : {std::pair('n', Access::kNode),
                                           {'o', Access::kOperator},
                                           {'c', Access::kClient},
                                           {'*', Access::kEverything}}) {
        bool through = false;
        const Status status =
            Call(access, port.getProto().getId(), static_cast<uint16_t>(method.getOrdinal()), &through);
        const bool may = letter == '*' || allowed.find(letter) != std::string::npos;
        EXPECT_EQ(through, may) << name << " with " << ToString(access);
        EXPECT_EQ(status.code(), may ? Code::kOk : Code::kPermissionDenied)
            << name << ": " << status.ToString();
        if (may) continue;
        EXPECT_THAT(status.message(), HasSubstr("'" + std::string(method.getProto().getName().cStr()) + "'"));
        EXPECT_THAT(status.message(), HasSubstr(std::string(ToString(access)) + " token"));
      }
    }
  }
  EXPECT_EQ(methods, kAllowed.size());
}

// So that a caller reads a proto::Refusal as an answer of the method.
TEST_F(AccessTest, ResultsBeginWithTheirStatus) {
  for (const auto& port : kPorts) {
    for (const auto method : port.getMethods()) {
      const auto field = method.getResultType().findFieldByName("status");
      KJ_IF_MAYBE (status, field) {
        EXPECT_EQ(status->getIndex(), 0u) << method.getProto().getName().cStr();
        EXPECT_EQ(status->getProto().getSlot().getOffset(), 0u) << method.getProto().getName().cStr();
        EXPECT_EQ(status->getType().asStruct(), capnp::Schema::from<proto::Status>());
      } else {
        ADD_FAILURE() << method.getProto().getName().cStr() << " has no status";
      }
    }
  }
}

TEST_F(AccessTest, WhatIsInNoSchemaIsNobodys) {
  for (const Access access : {Access::kNode, Access::kOperator, Access::kClient, Access::kEverything}) {
    for (const auto& [interface, method] :
         {std::pair<uint64_t, uint16_t>{capnp::typeId<proto::Scheduler>(), 99},
          {capnp::typeId<proto::DataPlane>(), 65535},
          {12345, 0}}) {
      bool through = false;
      EXPECT_EQ(Call(access, interface, method, &through).code(), Code::kNotFound);
      EXPECT_FALSE(through);
    }
  }
}

}  // namespace
}  // namespace penstock
