// A whole scheduler over real RPC on loopback.
#include "scheduler/node/scheduler.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <filesystem>
#include <fstream>
#include <future>
#include <nlohmann/json.hpp>
#include <thread>

#include "common/cluster/node_session.h"
#include "common/cluster/scheduler_link.h"
#include "common/cluster/shard_map.h"
#include "common/cluster/wire.h"
#include "tests/chaos/fault_proxy.h"

namespace penstock {
namespace {

using ::testing::HasSubstr;

class SchedulerTest : public ::testing::Test {
 protected:
  SchedulerTest() {
    std::string pattern = ::testing::TempDir() + "penstock-scheduler-XXXXXX";
    if (mkdtemp(pattern.data()) == nullptr) throw std::runtime_error("mkdtemp");
    options_.cluster.data_dir = pattern;
    options_.scheduler.shards = 4;
    options_.scheduler.servers = 1;
    identity_->name = "test";
  }
  ~SchedulerTest() override {
    loop_.Run([&] {
      link_.reset();
      cache_.reset();
    });
    scheduler_.reset();
    std::filesystem::remove_all(options_.cluster.data_dir);
  }

  void Start() {
    auto scheduler = Scheduler::Start(options_);
    ASSERT_TRUE(scheduler.ok()) << scheduler.status().ToString();
    scheduler_ = std::move(*scheduler);
    if (link_ != nullptr) return;
    loop_.Run([&] {
      cache_ = std::make_unique<ConnectionCache>(loop_, identity_);
      link_ = std::make_unique<SchedulerLink>(loop_, *cache_, options_.cluster.data_dir + "/address");
    });
  }

  // Sends what `make` builds, and reads the answer on the loop.
  template <typename Make, typename Read>
  Status Call(Make make, Read read) {
    std::promise<Status> done;
    auto future = done.get_future();
    loop_.Post([&] {
      auto call = link_->Call("call", 5000, make).then([&](auto&& response) {
        if (response.ok()) read(*response);
        done.set_value(response.status());
      });
      loop_.Detach(kj::mv(call), "call");
    });
    return future.get();
  }
  // Beats until `ready` says so, at most 10 s.
  bool BeatUntil(const std::function<bool()>& ready) {
    for (int i = 0; i < 500; ++i) {
      if (ready()) return true;
      if (Status beat = Beat(); !beat.ok()) ADD_FAILURE() << beat.ToString();
      std::this_thread::sleep_for(std::chrono::milliseconds(20));
    }
    return false;
  }

  Status Register(proto::Role role, const std::string& name, NodeId* node, uint64_t* session,
                  NodeId known = 0) {
    return Call(
        [=](proto::Scheduler::Client& s) {
          auto request = s.registerRequest();
          request.setRole(role);
          request.setNode(known);
          request.setName(name);
          request.initEndpoints(1).set(0, name + ":7");
          return request;
        },
        [=](auto& results) {
          *node = results.getNode();
          *session = results.getSession();
        });
  }
  // The server's heartbeat: serves what it was granted before.
  Status Beat(bool hold = false) {
    return Call(
        [this, hold](proto::Scheduler::Client& s) {
          auto request = s.heartbeatRequest();
          request.setNode(server_);
          request.setSession(server_session_);
          request.setTableVersion(table_version_);
          request.setHold(hold);
          auto shards = request.initShards(static_cast<uint32_t>(grants_.size()));
          uint32_t i = 0;
          for (const auto& [shard, grant] : grants_) {
            shards[i].setShard(shard);
            shards[i].setIncarnation(grant.first);
            shards[i++].setEpoch(grant.second);
          }
          return request;
        },
        [this](auto& results) {
          grants_.clear();
          for (auto grant : results.getGrants())
            grants_[grant.getShard()] = {grant.getIncarnation(), grant.getEpoch()};
          table_version_ = results.getTableVersion();
          for (auto spec : results.getTables()) tables_[spec.getId()] = spec.getName().cStr();
          map_version_ = results.getMapVersion();
        });
  }
  Status Map(uint64_t known, ShardMap* map) {
    return Call(
        [=](proto::Scheduler::Client& s) {
          auto request = s.shardMapRequest();
          request.setKnownVersion(known);
          return request;
        },
        [=](auto& results) {
          if (results.hasMap()) *map = *ReadShardMap(results.getMap());
        });
  }
  Result<nlohmann::json> Inspect(const std::string& what, const std::string& name = "") {
    nlohmann::json json;
    const Status status = Call(
        [=](proto::Scheduler::Client& s) {
          auto request = s.inspectRequest();
          request.setWhat(what);
          request.setName(name);
          return request;
        },
        [&](auto& results) { json = nlohmann::json::parse(results.getJson().cStr()); });
    if (!status.ok()) return status;
    return json;
  }
  Status CreateTable(const std::string& name, uint32_t dim) {
    return Call(
        [=](proto::Scheduler::Client& s) {
          auto request = s.createTableRequest();
          TableSpec spec;
          spec.name = name;
          spec.dim = dim;
          WriteTableSpec(spec, request.initSpec());
          return request;
        },
        [](auto& results) { EXPECT_GT(results.getSpec().getId(), 0u); });
  }

  ClusterOptions options_;
  std::unique_ptr<Scheduler> scheduler_;
  std::shared_ptr<ClusterIdentity> identity_ = std::make_shared<ClusterIdentity>();
  KjLoop loop_{"test"};
  std::unique_ptr<ConnectionCache> cache_;
  std::unique_ptr<SchedulerLink> link_;
  NodeId server_ = 0;
  uint64_t server_session_ = 0, table_version_ = 0, map_version_ = 0;
  std::map<ShardId, std::pair<Incarnation, Epoch>> grants_;
  std::map<TableId, std::string> tables_;
};

std::string SmallJob() {
  TableSpec spec;
  spec.name = "weights";
  return nlohmann::json{
      {"name", "small"},  {"options", nlohmann::json::object()},
      {"tables", {spec}}, {"plan", {{"train", {{"partitions", 1}, {"records", 10}}}, {"test", nullptr}}},
      {"passes", 1},      {"consistency", "async"}}
      .dump();
}

TEST_F(SchedulerTest, ServesAClusterThroughARestart) {
  Start();
  ASSERT_TRUE(Register(proto::Role::SERVER, "server-1", &server_, &server_session_).ok());
  ShardMap map;
  const auto serving = [&] {
    return Map(0, &map).ok() && std::all_of(map.shards.begin(), map.shards.end(),
                                            [](const auto& s) { return s.state == ShardState::kServing; });
  };
  ASSERT_TRUE(BeatUntil(serving));
  EXPECT_EQ(map.shards[0].endpoint, "server-1:7");
  ShardMap unchanged;
  ASSERT_TRUE(Map(map.version, &unchanged).ok());
  EXPECT_EQ(unchanged.version, 0u) << "the map is left out when it is known";
  ASSERT_TRUE(CreateTable("user", 4).ok());
  EXPECT_EQ(CreateTable("user", 5).code(), Code::kAlreadyExists);
  EXPECT_EQ(CreateTable("us er", 5).code(), Code::kInvalidArgument);
  ASSERT_TRUE(Beat().ok());
  EXPECT_EQ(tables_[1], "user");
  EXPECT_TRUE((*Inspect("status"))["ready"].get<bool>());

  const uint64_t cluster = identity_->cluster;
  scheduler_.reset();
  Start();
  EXPECT_EQ(identity_->cluster, cluster);
  const uint64_t before = map.version;
  ASSERT_TRUE(BeatUntil(serving)) << "the session goes on";
  EXPECT_GT(map.version, before);
  const auto status = Inspect("status");
  ASSERT_TRUE(status.ok());
  EXPECT_EQ((*status)["term"], 2);
  EXPECT_EQ((*Inspect("table", "user"))["dim"], 4);
  NodeId node = 0;
  ASSERT_TRUE(Register(proto::Role::SERVER, "server-1", &node, &server_session_, server_).ok());
  EXPECT_EQ(node, server_);
}

TEST_F(SchedulerTest, AHeldHeartbeatIsAnsweredWhenThereIsSomethingNew) {
  using std::chrono::steady_clock;
  options_.scheduler.heartbeat_ms = 700;
  Start();
  ASSERT_TRUE(Register(proto::Role::SERVER, "server-1", &server_, &server_session_).ok());
  ASSERT_TRUE(Beat(true).ok()) << "the first of a session is answered at once";
  ASSERT_EQ(grants_.size(), 4u);
  ASSERT_TRUE(Beat(true).ok());
  auto begin = steady_clock::now();
  ASSERT_TRUE(Beat(true).ok());
  EXPECT_GE(steady_clock::now() - begin, std::chrono::milliseconds(600)) << "nothing is new";
  begin = steady_clock::now();
  ASSERT_TRUE(Beat(false).ok());
  EXPECT_LT(steady_clock::now() - begin, std::chrono::milliseconds(600)) << "it did not ask to be held";
}

TEST_F(SchedulerTest, WhatChangesReachesAHeldHeartbeatAtOnce) {
  options_.scheduler.heartbeat_ms = 60000;
  options_.scheduler.suspect_ms = options_.scheduler.dead_ms = options_.scheduler.lease_ms = 600000;
  Start();
  ASSERT_TRUE(Register(proto::Role::SERVER, "server-1", &server_, &server_session_).ok());
  ASSERT_TRUE(Beat(true).ok());
  auto held = std::async(std::launch::async, [this] { return Beat(true); });
  ASSERT_TRUE(CreateTable("user", 4).ok());
  ASSERT_TRUE(held.get().ok()) << "long before the hold ends";
  EXPECT_EQ(tables_[1], "user");
}

// A server that serves nothing.
class IdleHost final : public NodeSession::Host {
 public:
  kj::Promise<void> FillRegister(proto::Scheduler::RegisterParams::Builder params) override {
    params.setRole(proto::Role::SERVER);
    params.setName("server-1");
    params.initEndpoints(1).set(0, "server-1:7");
    return kj::READY_NOW;
  }
  kj::Promise<void> FillHeartbeat(proto::Scheduler::HeartbeatParams::Builder params) override {
    params.setHold(true);
    return kj::READY_NOW;
  }
  Status OnRegistered(proto::Scheduler::RegisterResults::Reader) override { return Status::Ok(); }
  Status OnHeartbeat(proto::Scheduler::HeartbeatResults::Reader) override {
    ++beats;
    return Status::Ok();
  }
  void OnRefused(Status) override {}
  std::atomic<int> beats = 0;
};

TEST_F(SchedulerTest, ASessionThatIsHeldAsksAgainAtOnce) {
  options_.scheduler.heartbeat_ms = 200;
  Start();
  IdleHost host;
  std::unique_ptr<NodeSession> session;
  kj::Promise<void> running = nullptr;
  loop_.Run([&] {
    session = std::make_unique<NodeSession>(loop_, *link_, host, "server-1", 60000);
    running = session->Run().eagerlyEvaluate(nullptr);
  });
  for (int i = 0; i < 1000 && host.beats < 4; ++i) std::this_thread::sleep_for(std::chrono::milliseconds(10));
  EXPECT_GE(host.beats, 4) << "its own interval is a minute";
  loop_.Run([&] {
    running = nullptr;
    session.reset();
  });
}

// As when a router on the way has forgotten the connection: TCP alone would try for a quarter of an hour.
TEST_F(SchedulerTest, ASessionWhoseConnectionIsSilentMakesAnother) {
  Start();
  const std::string endpoint = scheduler_->endpoint();
  auto proxy = FaultProxy::Start(
      {.target_port = static_cast<uint16_t>(std::stoi(endpoint.substr(endpoint.rfind(':') + 1)))});
  ASSERT_TRUE(proxy.ok()) << proxy.status().ToString();
  IdleHost host;
  std::unique_ptr<SchedulerLink> link;
  std::unique_ptr<NodeSession> session;
  kj::Promise<void> running = nullptr;
  loop_.Run([&] {
    link = std::make_unique<SchedulerLink>(loop_, *cache_, (*proxy)->endpoint());
    session = std::make_unique<NodeSession>(loop_, *link, host, "server-1", 100);
    running = session->Run().eagerlyEvaluate(nullptr);
  });
  const auto soon = [](const std::function<bool()>& done) {
    for (int i = 0; i < 3000 && !done(); ++i) std::this_thread::sleep_for(std::chrono::milliseconds(10));
    return done();
  };
  EXPECT_TRUE(soon([&] { return host.beats > 1; }));
  (*proxy)->SetBoth({.hold = true});
  EXPECT_TRUE(soon([&] { return (*proxy)->accepted() > 1; }));
  const int before = host.beats;
  (*proxy)->Heal();
  EXPECT_TRUE(soon([&] { return host.beats > before; }));
  loop_.Run([&] {
    running = nullptr;
    session.reset();
    link.reset();
  });
}

TEST_F(SchedulerTest, RunsAJob) {
  Start();
  ASSERT_TRUE(Register(proto::Role::SERVER, "server-1", &server_, &server_session_).ok());
  NodeId worker = 0;
  uint64_t session = 0, token = 0, producer = 0;
  uint32_t job = 0;
  ASSERT_TRUE(Register(proto::Role::WORKER, "worker-1", &worker, &session).ok());
  ASSERT_TRUE(Call(
                  [](proto::Scheduler::Client& s) {
                    auto request = s.submitJobRequest();
                    request.setSpec(SmallJob());
                    return request;
                  },
                  [&](auto& results) { job = results.getJob(); })
                  .ok());
  EXPECT_EQ(job, 1u);
  ASSERT_TRUE(Call(
                  [=](proto::Scheduler::Client& s) {
                    auto request = s.leaseRequest();
                    request.setNode(worker);
                    request.setSession(session);
                    request.setCount(4);
                    return request;
                  },
                  [&](auto& results) {
                    ASSERT_EQ(results.getLeases().size(), 1u);
                    auto lease = results.getLeases()[0];
                    token = lease.getToken();
                    producer = lease.getProducer();
                    EXPECT_EQ(std::string(lease.getJobName().cStr()), "small");
                    EXPECT_EQ(lease.getPartitions(), 1u);
                    EXPECT_EQ(nlohmann::json::parse(lease.getSpec().cStr())["passes"], 1);
                  })
                  .ok());
  EXPECT_GT(producer, 0u);
  std::vector<Status> results;
  ASSERT_TRUE(Call(
                  [=](proto::Scheduler::Client& s) {
                    auto request = s.reportRequest();
                    request.setNode(worker);
                    request.setSession(session);
                    auto lines = request.initProgress(2);
                    lines[0].setJob(1);
                    lines[0].setToken(999);
                    lines[1].setJob(1);
                    lines[1].setToken(token);
                    lines[1].setRecorded(3);
                    lines[1].setExamples(10);
                    lines[1].setDone(true);
                    return request;
                  },
                  [&](auto& answer) {
                    for (auto status : answer.getResults()) results.push_back(ReadStatus(status));
                  })
                  .ok());
  ASSERT_EQ(results.size(), 2u);
  EXPECT_EQ(results[0].code(), Code::kFailedPrecondition);
  EXPECT_TRUE(results[1].ok()) << results[1].ToString();
  const auto shown = Inspect("job", "small");
  ASSERT_TRUE(shown.ok());
  EXPECT_EQ((*shown)["state"], "done");
  EXPECT_EQ((*shown)["examples"], 10);
  EXPECT_EQ(Inspect("job", "other").status().code(), Code::kNotFound);
  ASSERT_TRUE(Beat().ok());
  EXPECT_EQ(tables_[1], "small.1/weights");
}

TEST_F(SchedulerTest, GivesProducers) {
  Start();
  ASSERT_TRUE(Call(
                  [](proto::Scheduler::Client& s) {
                    auto request = s.newProducersRequest();
                    request.setCount(3);
                    return request;
                  },
                  [&](auto& results) {
                    EXPECT_EQ(results.getFirst(), 1u);
                    EXPECT_EQ(results.getShardCount(), 4u);
                    EXPECT_EQ(results.getCluster(), identity_->cluster);
                  })
                  .ok());
  EXPECT_EQ(Call([](proto::Scheduler::Client& s) { return s.newProducersRequest(); }, [](auto&) {}).code(),
            Code::kInvalidArgument);
  EXPECT_EQ(Call(
                [](proto::Scheduler::Client& s) {
                  auto request = s.acceptLossRequest();
                  request.setShard(9);
                  return request;
                },
                [](auto&) {})
                .code(),
            Code::kNotFound);
}

TEST_F(SchedulerTest, ANameThatIsNotPrintableIsRefused) {
  Start();
  NodeId node = 0;
  uint64_t session = 0;
  const Status refused = Register(proto::Role::WORKER, "worker-\xff", &node, &session);
  EXPECT_EQ(refused.code(), Code::kInvalidArgument);
  EXPECT_THAT(refused.message(), HasSubstr("printable"));
  EXPECT_TRUE(Inspect("nodes").ok());
}

TEST_F(SchedulerTest, WhatIsInTheWayIsNamedAndNothingIsBegun) {
  Start();
  ClusterOptions second = options_;
  second.cluster.data_dir = options_.cluster.data_dir + "/second";
  second.scheduler.port =
      static_cast<uint16_t>(std::stoul(scheduler_->endpoint().substr(scheduler_->endpoint().find(':') + 1)));
  auto started = Scheduler::Start(second);
  ASSERT_FALSE(started.ok());
  EXPECT_THAT(started.status().message(), HasSubstr(scheduler_->endpoint()));
  EXPECT_FALSE(std::filesystem::exists(second.cluster.data_dir + "/journal"));
  EXPECT_FALSE(std::filesystem::exists(second.cluster.data_dir + "/address"));

  ClusterOptions same = options_;
  started = Scheduler::Start(same);
  ASSERT_FALSE(started.ok());
  EXPECT_THAT(started.status().message(), HasSubstr("another process has it open"));
  EXPECT_EQ((*Inspect("status"))["term"], 1) << "the first one goes on";

  ClusterOptions open = options_;
  open.cluster.data_dir = options_.cluster.data_dir + "/open";
  open.scheduler.listen = "0.0.0.0";
  started = Scheduler::Start(open);
  ASSERT_FALSE(started.ok());
  EXPECT_THAT(started.status().message(), HasSubstr("security.token_file"));
}

}  // namespace
}  // namespace penstock
