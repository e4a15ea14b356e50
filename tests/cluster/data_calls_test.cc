// Calls to a server that our client library never makes: what a foreign client gets wrong is refused, and
// what it asks for stays bounded.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <chrono>
#include <cstring>
#include <future>
#include <thread>

#include "client/admin.h"
#include "common/base/hash.h"
#include "common/cluster/wire.h"
#include "common/net/connection_cache.h"
#include "common/net/identity.h"
#include "proto/data.capnp.h"
#include "tests/cluster/test_cluster.h"

namespace penstock {
namespace {

using ::testing::HasSubstr;

constexpr uint32_t kShards = 8;

// One table of a call: keys of one shard's group.
struct CallTable {
  TableId table = 0;
  std::vector<Key> keys;
};

class DataCallsTest : public ::testing::Test {
 protected:
  void SetUp() override {
    ASSERT_TRUE(cluster_.Start().ok()) << cluster_.Output("scheduler") << cluster_.Output("server-0");
    client_ = std::move(*cluster_.Connect());
    auto shard = Admin(*client_).Inspect("shard", "0");
    ASSERT_TRUE(shard.ok()) << shard.status().ToString();
    epoch_ = shard->at("epoch");
    endpoint_ = shard->at("endpoint");
    producer_ = (*client_->NewProducer())->id();
    auto identity = std::make_shared<ClusterIdentity>();
    identity->name = "test-calls";
    identity->token = *ReadTokenFile(cluster_.client_token_file());
    loop_.Run([&] { connections_ = std::make_unique<ConnectionCache>(loop_, identity); });
  }
  void TearDown() override {
    loop_.Run([&] { connections_.reset(); });
    EXPECT_TRUE(cluster_.Running("server-0"));
  }

  // Sends what `make` builds; `read` gets the answer.
  template <typename Results, typename Make, typename Read>
  Status Call(Make make, Read read) {
    std::promise<Status> done;
    auto future = done.get_future();
    loop_.Post([&] {
      using Response = capnp::Response<Results>;
      auto called = connections_->Get(endpoint_).then(
          [&](Result<capnp::Capability::Client>&& service) -> kj::Promise<Status> {
            if (!service.ok()) return service.status();
            auto plane = service->castAs<proto::DataPlane>();
            return WithDeadline<Response>(loop_.timer(), 20000, make(plane).send(), "call")
                .then([&](Result<Response>&& answer) -> Status {
                  if (!answer.ok()) return answer.status();
                  read(*answer);
                  return ReadStatus((*answer).getStatus());
                });
          });
      loop_.Detach(called.then([&](Status&& status) { done.set_value(std::move(status)); }), "call");
    });
    return future.get();
  }
  template <typename Table>
  void Fill(const CallTable& from, Table to) const {
    to.setTable(from.table);
    auto group = to.initGroups(1)[0];
    group.setShard(0);
    group.setEpoch(epoch_);
    group.setCount(static_cast<uint32_t>(from.keys.size()));
    std::memcpy(to.initKeys(static_cast<uint32_t>(from.keys.size() * sizeof(Key))).begin(), from.keys.data(),
                from.keys.size() * sizeof(Key));
  }
  static Status OfGroup(proto::GroupResult::Reader group) {
    return group.getCode() == proto::Code::OK
               ? Status::Ok()
               : Status(static_cast<Code>(group.getCode()), group.getMessage().cStr());
  }
  // The status of the call, or else of each table's group, until no table is unknown.
  std::vector<Status> Pull(const std::vector<CallTable>& tables, std::vector<float>* values = nullptr) {
    std::vector<Status> groups;
    for (int i = 0; i < 200; ++i) {
      groups.clear();
      const Status status = Call<proto::DataPlane::PullResults>(
          [&](proto::DataPlane::Client& plane) {
            auto request = plane.pullRequest();
            auto list = request.initRequest().initTables(static_cast<uint32_t>(tables.size()));
            for (uint32_t t = 0; t < tables.size(); ++t) Fill(tables[t], list[t]);
            return request;
          },
          [&](auto& answer) {
            for (auto table : answer.getResponse().getTables()) {
              groups.push_back(OfGroup(table.getGroups()[0]));
              if (values == nullptr) continue;
              values->resize(table.getValues().size() / sizeof(float));
              std::memcpy(values->data(), table.getValues().begin(), table.getValues().size());
            }
          });
      if (!status.ok()) return {status};
      if (std::none_of(groups.begin(), groups.end(),
                       [](const Status& s) { return s.code() == Code::kUnavailable; }))
        break;
      std::this_thread::sleep_for(std::chrono::milliseconds(50));
    }
    return groups;
  }
  Status Push(const CallTable& table, uint64_t sequence, float value) {
    Status group;
    const Status status = Call<proto::DataPlane::PushResults>(
        [&](proto::DataPlane::Client& plane) {
          auto call = plane.pushRequest();
          auto request = call.initRequest();
          request.setProducer(producer_);
          request.setSequence(sequence);
          auto to = request.initTables(1)[0];
          Fill(table, to);
          const std::vector<float> values(table.keys.size(), value);
          std::memcpy(to.initValues(static_cast<uint32_t>(values.size() * sizeof(float))).begin(),
                      values.data(), values.size() * sizeof(float));
          return call;
        },
        [&](auto& answer) {
          if (answer.getResponse().getTables().size() > 0)
            group = OfGroup(answer.getResponse().getTables()[0].getGroups()[0]);
        });
    return status.ok() ? group : status;
  }
  TableId Table(const std::string& name, uint32_t dim) {
    TableSpec spec{.name = name, .dim = dim, .optimizer = {.kind = OptimizerKind::kAdd}};
    return client_->CreateTable(spec)->id;
  }
  static std::vector<Key> KeysOf(TableId table, ShardId shard, size_t count) {
    std::vector<Key> keys;
    for (Key key = 1; keys.size() < count; ++key) {
      if (ShardOf(RowHash(key, table), kShards) == shard) keys.push_back(key);
    }
    return keys;
  }

  TestCluster cluster_{{.servers = 1, .shards = kShards, .dir = {}}};
  std::unique_ptr<Client> client_;
  KjLoop loop_{"calls"};
  std::unique_ptr<ConnectionCache> connections_;
  std::string endpoint_;
  Epoch epoch_ = 0;
  ProducerId producer_ = 0;
};

TEST_F(DataCallsTest, AKeyOfAnotherShardIsRefusedWithItsGroup) {
  const TableId table = Table("astray", 1);
  const auto mine = KeysOf(table, 0, 20), other = KeysOf(table, 3, 1);
  ASSERT_TRUE(Pull({{table, mine}})[0].ok()) << "the server knows the table";
  ASSERT_TRUE(Push({table, mine}, 0, 1).ok());
  auto astray = mine;
  astray[13] = other[0];
  for (const Status& refused : {Push({table, astray}, 1, 1), Pull({{table, astray}})[0]}) {
    EXPECT_EQ(refused.code(), Code::kInvalidArgument) << refused.ToString();
    for (const auto& part : std::vector<std::string>{"'astray'", "key " + std::to_string(other[0]),
                                                     "is of shard 3 of 8", "group of shard 0"})
      EXPECT_THAT(refused.message(), HasSubstr(part));
  }
  std::vector<float> values;
  ASSERT_TRUE(Pull({{table, mine}}, &values)[0].ok());
  EXPECT_EQ(values, std::vector<float>(20, 1)) << "nothing of the refused push was applied";
  ASSERT_TRUE(Push({table, mine}, 1, 2).ok()) << "nor its mark set";
}

// Each value that is pushed is finite, their sum is not.
TEST_F(DataCallsTest, ARowThatIsNotFiniteAnyMoreIsInTheAnswer) {
  const TableId table = Table("sums", 2);
  const std::vector<Key> keys{5, 9};
  auto producer = client_->NewProducer();
  ASSERT_TRUE(producer.ok());
  const auto push = [&](const std::vector<float>& values) {
    return client_->Push(**producer, {{table, keys, values}}).get();
  };
  const auto fine = push({1, 1, 3e38f, 1});
  ASSERT_TRUE(fine.ok()) << fine.status().ToString();
  EXPECT_TRUE(fine->not_finite.empty());
  for (const uint64_t rows : {1, 2}) {
    const auto bad = push({1, 1, 3e38f, 1});
    ASSERT_TRUE(bad.ok()) << bad.status().ToString();
    ASSERT_EQ(bad->not_finite.size(), 1u);
    EXPECT_EQ(bad->not_finite[0].table, table);
    EXPECT_EQ(bad->not_finite[0].rows, rows);
    EXPECT_EQ(bad->not_finite[0].key, 9u);
  }
  EXPECT_EQ(cluster_.Metric("server-0", "penstock_server_not_finite_rows_total{table=\"sums\"}"), 2);
}

TEST_F(DataCallsTest, TheAnswerIsBoundedAsAWhole) {
  const TableId first = Table("first", 65536), second = Table("second", 65536);  // rows of 256 KiB
  const auto ask = [](TableId table, size_t rows) {
    return CallTable{table, std::vector<Key>(rows, KeysOf(table, 0, 1)[0])};
  };
  const auto fits = Pull({ask(first, 200), ask(second, 200)});
  ASSERT_EQ(fits.size(), 2u) << fits[0].ToString();
  EXPECT_TRUE(fits[0].ok() && fits[1].ok());
  const auto over = Pull({ask(first, 300), ask(second, 300)});
  ASSERT_EQ(over.size(), 2u) << over[0].ToString();
  EXPECT_TRUE(over[0].ok());
  EXPECT_EQ(over[1].code(), Code::kInvalidArgument);
  EXPECT_THAT(over[1].message(), HasSubstr("allowed are 117440512"));
}

TEST_F(DataCallsTest, TablesGroupsAndShardsOfACallAreBounded) {
  const auto many = [&](uint32_t tables, uint32_t groups) {
    return Call<proto::DataPlane::PullResults>(
        [=](proto::DataPlane::Client& plane) {
          auto request = plane.pullRequest();
          auto list = request.initRequest().initTables(tables);
          for (auto table : list) table.initGroups(groups);
          return request;
        },
        [](auto&) {});
  };
  EXPECT_THAT(many(4097, 0).message(), HasSubstr("a call with 4097 tables, allowed is 4096"));
  EXPECT_THAT(many(4096, 0).message(), HasSubstr("no groups")) << "what else is wrong with it";
  for (const Status& status : {many(1, 65537), many(3, 30000)}) {
    EXPECT_EQ(status.code(), Code::kInvalidArgument);
    EXPECT_THAT(status.message(), HasSubstr("groups, allowed is 65536"));
  }
  const Status flushed = Call<proto::DataPlane::FlushResults>(
      [](proto::DataPlane::Client& plane) {
        auto request = plane.flushRequest();
        request.initShards(100'000);
        return request;
      },
      [](auto&) {});
  EXPECT_EQ(flushed.code(), Code::kInvalidArgument) << flushed.ToString();
  const Status looked = Call<proto::DataPlane::StatsResults>(
      [](proto::DataPlane::Client& plane) {
        auto request = plane.statsRequest();
        request.initTables(2048);
        request.initShards(1024);
        return request;
      },
      [](auto&) {});
  EXPECT_EQ(looked.code(), Code::kInvalidArgument) << looked.ToString();
}

}  // namespace
}  // namespace penstock
