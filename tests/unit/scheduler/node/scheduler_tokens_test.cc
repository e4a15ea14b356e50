// A scheduler with three tokens: what depends on whose call it is, beyond the table of access_test.cc, and
// that what peers send costs it nothing.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <stdlib.h>

#include <filesystem>
#include <future>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>
#include <utility>
#include <vector>

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
  // A call of its session, with what `fill` adds.
  template <typename Method, typename Fill>
  Status InSession(Method method, Fill fill) {
    return Call([=, this](proto::Scheduler::Client& s) {
      auto request = (s.*method)(nullptr);
      request.setNode(node);
      request.setSession(session);
      fill(request);
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

void ExpectInvalid(const Status& status, const std::string& part) {
  EXPECT_EQ(status.code(), Code::kInvalidArgument) << status.ToString();
  EXPECT_THAT(status.message(), HasSubstr(part));
}

constexpr size_t kMostText = 64 << 10;  // characters of an error, a note, a damage, a reason

TEST_F(SchedulerTokensTest, WhatAWorkerAsksForAndReportsIsBounded) {
  using Client = proto::Scheduler::Client;
  auto worker = Peer("c");
  ASSERT_TRUE(worker->Register(proto::Role::WORKER).ok());
  const auto leases = [&](uint32_t count) {
    return worker->InSession(&Client::leaseRequest, [=](auto& request) { request.setCount(count); });
  };
  EXPECT_TRUE(leases(64).ok());
  for (const uint32_t count : {0u, 65u, UINT32_MAX})
    ExpectInvalid(leases(count), "lease: count is " + std::to_string(count) + ", allowed is 1 to 64");
  const auto knows = [&](uint32_t jobs) {
    return worker->InSession(&Client::leaseRequest, [=](auto& request) {
      request.setCount(1);
      request.initKnownJobs(jobs);
    });
  };
  EXPECT_TRUE(knows(64).ok());
  ExpectInvalid(knows(65), "lease: more than 64 known jobs");

  const auto report = [&](uint32_t lines, size_t error, size_t result, char of = 'e') {
    return worker->InSession(&Client::reportRequest, [=](auto& request) {
      auto last = request.initProgress(lines)[lines - 1];
      last.initError().setMessage(std::string(error, of));
      last.setResult(std::string(result, of));
    });
  };
  constexpr size_t kResult = 4 << 20;
  EXPECT_TRUE(report(4096, 0, 0).ok());
  ExpectInvalid(report(4097, 0, 0), "report: more than 4096 leases");
  EXPECT_TRUE(report(2, kMostText, kResult).ok());
  ExpectInvalid(report(2, kMostText + 1, 0), "report: an error with more than 65536 characters");
  ExpectInvalid(report(2, 0, kResult + 1), "report: a result with more than 4194304 characters");
  // Each becomes three bytes.
  ExpectInvalid(report(2, kMostText / 2, 0, '\xff'), "an error with more");
  ExpectInvalid(report(2, 0, kResult / 2, '\xff'), "a result with more");
}

TEST_F(SchedulerTokensTest, WhatANodeSaysOfItselfIsBounded) {
  auto worker = Peer("c");
  ASSERT_TRUE(worker->Register(proto::Role::WORKER).ok());
  const auto words = [&](const std::string& note, const std::string& trouble) {
    return worker->InSession(&proto::Scheduler::Client::heartbeatRequest, [=](auto& request) {
      request.setNote(note);
      request.setTrouble(trouble);
    });
  };
  const std::string most(kMostText, 'm');
  EXPECT_TRUE(words(most, most).ok());
  for (const std::string& longer : {most + 'm', std::string(kMostText / 2, '\xff')})
    ExpectInvalid(words(longer, ""), "a note with more than 65536 characters");
  ExpectInvalid(words("", most + 'm'), "a trouble with more than 65536 characters");
  ASSERT_TRUE(worker->Inspect("nodes").ok());
  ASSERT_EQ(worker->shown.size(), 1u);
  EXPECT_EQ(worker->shown[0]["note"], most) << "what was refused is not kept";
  EXPECT_EQ(worker->shown[0]["trouble"], most);
}

TEST_F(SchedulerTokensTest, WhatAServerSaysOfItsShardsIsBounded) {
  auto server = Peer("n");
  ASSERT_TRUE(server->Register(proto::Role::SERVER).ok());
  const auto beat = [&](auto fill) {
    return server->InSession(&proto::Scheduler::Client::heartbeatRequest, fill);
  };
  const auto shards = [&](uint32_t count, ShardId last) {
    return beat([=](auto& request) { request.initShards(count)[count - 1].setShard(last); });
  };
  EXPECT_TRUE(shards(4, 3).ok());
  ExpectInvalid(shards(5, 3), "reports of 5 shards, the cluster has 4");
  ExpectInvalid(shards(1, 4), "a report of shard 4, the cluster has 4");
  const auto copies = [&](size_t damage, uint32_t backups, size_t failed) {
    return beat([=](auto& request) {
      auto report = request.initShards(1)[0];
      report.setDamage(std::string(damage, 'd'));
      report.initBackups(backups)[backups - 1].setFailed(std::string(failed, 'f'));
    });
  };
  EXPECT_TRUE(copies(kMostText, 16, kMostText).ok());
  ExpectInvalid(copies(kMostText + 1, 1, 0), "a damage with more than 65536 characters");
  ExpectInvalid(copies(0, 17, 0), "a report of 17 backups of a shard");
  ExpectInvalid(copies(0, 16, kMostText + 1), "a backup's failure with more than 65536 characters");
}

TEST_F(SchedulerTokensTest, WhereANodeIsAndWhyItCannotStartIsBounded) {
  auto node = Peer("n");
  struct Place {
    proto::Role role = proto::Role::SERVER;
    uint32_t endpoints = 1;
    size_t endpoint = 1, http = 1, log = 1;  // characters
  };
  const auto registers = [&](const Place& place) {
    return node->Call([=](proto::Scheduler::Client& s) {
      auto request = s.registerRequest();
      request.setRole(place.role);
      auto endpoints = request.initEndpoints(place.endpoints);
      for (uint32_t i = 0; i < place.endpoints; ++i) endpoints.set(i, std::string(place.endpoint, 'e'));
      request.setHttpEndpoint(std::string(place.http, 'h'));
      request.setLogPath(std::string(place.log, 'l'));
      return request;
    });
  };
  EXPECT_TRUE(registers({.endpoints = 256, .endpoint = 300, .http = 300, .log = 4096}).ok());
  EXPECT_TRUE(registers({.role = proto::Role::WORKER, .endpoints = 4}).ok());
  ExpectInvalid(registers({.endpoints = 257}), "register: more than 256 endpoints");
  ExpectInvalid(registers({.role = proto::Role::WORKER, .endpoints = 5}), "register: more than 4 endpoints");
  ExpectInvalid(registers({.endpoint = 301}), "register: an address with more than 300 characters");
  ExpectInvalid(registers({.http = 301}), "register: an address with more than 300 characters");
  ExpectInvalid(registers({.log = 4097}), "register: a path of a log with more than 4096 characters");
  const auto cannot_start = [&](size_t characters) {
    return node->Call([=](proto::Scheduler::Client& s) {
      auto request = s.cannotStartRequest();
      request.setName("server-9");
      request.setReason(std::string(characters, 'r'));
      return request;
    });
  };
  EXPECT_TRUE(cannot_start(kMostText).ok());
  ExpectInvalid(cannot_start(kMostText + 1), "cannotStart: a reason with more than 65536 characters");
}

}  // namespace
}  // namespace penstock
