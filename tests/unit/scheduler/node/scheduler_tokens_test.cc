// A scheduler with three tokens: what depends on whose call it is, beyond the table of access_test.cc, and
// that what peers send costs it nothing.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <stdlib.h>

#include <filesystem>
#include <future>
#include <memory>
#include <nlohmann/json.hpp>

#include "common/cluster/scheduler_link.h"
#include "common/cluster/wire.h"
#include "scheduler/node/scheduler.h"

namespace penstock {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;

// Whoever has proven one of the tokens.
class TokenPeer {
 public:
  TokenPeer(const std::string& address, const std::string& token_file) : loop_("peer") {
    auto identity = std::make_shared<ClusterIdentity>();
    identity->name = "peer";
    identity->token = token_file.empty() ? "" : *ReadTokenFile(token_file);
    loop_.Run([&] {
      cache_ = std::make_unique<ConnectionCache>(loop_, identity);
      link_ = std::make_unique<SchedulerLink>(loop_, *cache_, address);
    });
  }
  ~TokenPeer() {
    loop_.Run([&] {
      link_.reset();
      cache_.reset();
    });
  }

  template <typename Make, typename Read>
  Status Call(Make make, Read read) {
    std::promise<Status> done;
    auto future = done.get_future();
    loop_.Post([&] {
      loop_.Detach(link_->Call("call", 5000, make).then([&](auto&& response) {
        if (response.ok()) read(*response);
        done.set_value(response.status());
      }),
                   "call");
    });
    return future.get();
  }
  template <typename Make>
  Status Call(Make make) {
    return Call(make, [](auto&) {});
  }

  Status Register(proto::Role role, uint64_t term = 0, size_t address_bytes = 10) {
    return Call(
        [=](proto::Scheduler::Client& s) {
          auto request = s.registerRequest();
          request.setRole(role);
          request.setName("its-node");
          request.setHighestTerm(term);
          request.initShards(1)[0].setSeen(term);
          request.initEndpoints(1).set(0, std::string(address_bytes, 'a'));
          return request;
        },
        [this](auto& results) {
          node = results.getNode();
          session = results.getSession();
        });
  }
  Status Beat(NodeId whose, uint64_t its_session, uint64_t map_version = 0) {
    return Call([=](proto::Scheduler::Client& s) {
      auto request = s.heartbeatRequest();
      request.setNode(whose);
      request.setSession(its_session);
      request.setMapVersion(map_version);
      request.initShards(1)[0].setSeen(map_version);
      return request;
    });
  }
  Status Submit(const std::string& text) {
    return Call([=](proto::Scheduler::Client& s) {
      auto request = s.submitJobRequest();
      request.setSpec(text);
      return request;
    });
  }
  Status Inspect(const std::string& what, const std::string& name = "") {
    return Call(
        [=](proto::Scheduler::Client& s) {
          auto request = s.inspectRequest();
          request.setWhat(what);
          request.setName(name);
          return request;
        },
        [this](auto& results) { shown = nlohmann::json::parse(results.getJson().cStr()); });
  }

  NodeId node = 0;
  uint64_t session = 0;
  nlohmann::json shown;  // by the last Inspect that was answered

 private:
  KjLoop loop_;
  std::unique_ptr<ConnectionCache> cache_;
  std::unique_ptr<SchedulerLink> link_;
};

nlohmann::json TokenJob() {
  TableSpec spec;
  spec.name = "weights";
  return {{"name", "small"},  {"options", nlohmann::json::object()},
          {"tables", {spec}}, {"plan", {{"train", {{"partitions", 1}, {"records", 10}}}, {"test", nullptr}}},
          {"passes", 1},      {"consistency", "async"}};
}

class SchedulerTokensTest : public ::testing::Test {
 protected:
  SchedulerTokensTest() {
    std::string pattern = ::testing::TempDir() + "penstock-tokens-XXXXXX";
    dir_ = mkdtemp(pattern.data());
    options_.cluster.data_dir = dir_ + "/scheduler";
    options_.scheduler.shards = 4;
    options_.security = {dir_ + "/n", dir_ + "/o", dir_ + "/c"};
    for (const char* file : {"/n", "/o", "/c"}) EXPECT_TRUE(EnsureTokenFile(dir_ + file).ok());
    scheduler_ = std::move(*Scheduler::Start(options_));
  }
  ~SchedulerTokensTest() override {
    scheduler_.reset();
    std::filesystem::remove_all(dir_);
  }
  std::unique_ptr<TokenPeer> Peer(const std::string& token) {
    return std::make_unique<TokenPeer>(scheduler_->endpoint(), token.empty() ? "" : dir_ + "/" + token);
  }

  std::string dir_;
  ClusterOptions options_;
  std::unique_ptr<Scheduler> scheduler_;
};

TEST_F(SchedulerTokensTest, OnlyNodesAreServers) {
  auto node = Peer("n"), op = Peer("o"), client = Peer("c");
  ASSERT_TRUE(node->Register(proto::Role::SERVER).ok());
  for (auto* other : {op.get(), client.get()}) {
    EXPECT_TRUE(other->Register(proto::Role::WORKER).ok());
    EXPECT_TRUE(other->Beat(other->node, other->session).ok());
    const Status refused = other->Register(proto::Role::SERVER);
    EXPECT_EQ(refused.code(), Code::kPermissionDenied) << refused.ToString();
    EXPECT_THAT(refused.message(), AllOf(HasSubstr("'register' of a server"), HasSubstr("allowed is node")));
    EXPECT_EQ(other->Beat(node->node, node->session).code(), Code::kPermissionDenied)
        << "a session can be guessed";
  }
  EXPECT_TRUE(node->Beat(node->node, node->session).ok());
  EXPECT_EQ(Peer("")->Inspect("status").code(), Code::kPermissionDenied);
}

TEST_F(SchedulerTokensTest, NobodyElseMakesTheSchedulerBelieveInALaterOne) {
  auto client = Peer("c");
  ASSERT_TRUE(client->Register(proto::Role::WORKER, 1'000'000).ok());
  EXPECT_TRUE(client->Beat(client->node, client->session, UINT64_MAX).ok());
  auto node = Peer("n");
  EXPECT_EQ(node->Beat(client->node, client->session + 1, UINT64_MAX).code(), Code::kFailedPrecondition)
      << "nor a node whose session has ended";
  EXPECT_TRUE(client->Submit(TokenJob().dump()).ok());
  EXPECT_EQ(node->Register(proto::Role::SERVER, 1'000'000).code(), Code::kFailedPrecondition);
  EXPECT_EQ(client->Submit(TokenJob().dump()).code(), Code::kFailedPrecondition) << "a server has seen one";
}

TEST_F(SchedulerTokensTest, FilesOfAClientsJobAreLimited) {
  std::string job = "1";
  for (const std::string token : {"n", "o", "c"}) {
    auto peer = Peer(token);
    ASSERT_TRUE(peer->Submit(TokenJob().dump()).ok());
    ASSERT_TRUE(peer->Inspect("job", job).ok());
    EXPECT_EQ(peer->shown["limit_files"], token == "c");
    ++job[0];
  }
  scheduler_.reset();
  scheduler_ = std::move(*Scheduler::Start(options_));
  auto again = Peer("o");
  ASSERT_TRUE(again->Inspect("job", "3").ok());
  EXPECT_EQ(again->shown["limit_files"], true) << "it is journaled";
}

// Each of these once ended the scheduler, or was repeated whole.
TEST_F(SchedulerTokensTest, OddTextsAreRefusedBriefly) {
  auto client = Peer("c");
  const auto nested = [](const char* member) {
    auto job = TokenJob();
    job[member] = "HERE";
    std::string text = job.dump();
    return text.replace(text.find("\"HERE\""), 6, std::string(100'000, '[') + std::string(100'000, ']'));
  };
  for (const char* member :
       {"passes", "consistency", "evaluate_train", "name", "policy", "tables", "plan", "options"}) {
    const Status status = client->Submit(nested(member));
    EXPECT_EQ(status.code(), Code::kInvalidArgument) << member;
    EXPECT_THAT(status.message(), HasSubstr("nested 10000")) << member;
    EXPECT_LT(status.message().size(), 500u) << member;
  }
  auto long_name = TokenJob();
  long_name["name"] = std::string(500'000, 'x');
  EXPECT_THAT(client->Submit(long_name.dump()).message(), HasSubstr("a text of 500000 characters"));
  const std::string huge(3 << 20, 'h');
  for (const Status& status :
       {client->Inspect("job", huge), client->Inspect(huge), client->Inspect("table", huge)}) {
    EXPECT_FALSE(status.ok());
    EXPECT_LT(status.message().size(), 6000u);
  }
  EXPECT_EQ(client->Register(proto::Role::WORKER, 0, 100'000).code(), Code::kInvalidArgument);
  for (const std::string& name : {std::string(65, 'x'), std::string("red \x1b[31m")}) {
    const Status status = client->Call([&](proto::Scheduler::Client& s) {
      auto request = s.registerRequest();
      request.setRole(proto::Role::WORKER);
      request.setName(name);
      return request;
    });
    EXPECT_EQ(status.code(), Code::kInvalidArgument) << status.ToString();
    EXPECT_THAT(status.message(), HasSubstr("1 to 64 printable ASCII characters"));
  }
  EXPECT_TRUE(client->Inspect("status").ok());
}

}  // namespace
}  // namespace penstock
