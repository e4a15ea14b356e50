// How much may wait for rows from the base.
#include "server/node/cold_fetch.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstring>
#include <future>
#include <memory>
#include <vector>

#include "common/base/hash.h"
#include "server/node/data_service.h"
#include "tests/unit/common/temp_dir.h"
#include "tests/unit/server/shard/shard_test_util.h"
#include "tests/unit/server/storage/power_cut_file_layer.h"

namespace penstock {
namespace {

using shard_test::kCluster;
using shard_test::kIncarnation;
using shard_test::kShardId;
using ::testing::HasSubstr;

void ExpectTooMuchWaits(const Status& status) {
  EXPECT_EQ(status.code(), Code::kOverloaded) << status.ToString();
  EXPECT_THAT(status.message(), HasSubstr("server-1: calls that wait for rows from the disk"));
  EXPECT_THAT(status.message(), HasSubstr("half of the memory budget"));
  EXPECT_GT(status.retry_after_ms(), 0u);
}

// A core without rows. All calls are made on its loop.
class ColdFetchTest : public ::testing::Test {
 protected:
  static constexpr uint64_t kBudget = 1 << 20;

  void SetUp() override {
    auto base = BaseStore::Open(folder_.path("base"), {.cluster = kCluster});
    ASSERT_TRUE(base.ok()) << base.status().ToString();
    base_ = std::move(*base);
    auto log = DeltaLog::Open(files_, "/log", {.cluster = kCluster, .node = 1}, {});
    ASSERT_TRUE(log.ok()) << log.status().ToString();
    log_ = std::move(*log);
    appender_ = std::make_unique<LogAppender>(*log_, metrics_);
    loop_.Run([&] {
      core_ = std::make_unique<ServerCore>(
          loop_, CoreOptions{.cluster = kCluster, .memory_budget_bytes = kBudget, .node_name = "server-1"},
          *appender_, *base_, ServerCore::Asks{.fold = [] {}, .base_damaged = [](const Status&) {}},
          metrics_);
    });
  }
  void TearDown() override {
    loop_.Run([&] { core_.reset(); });
  }

  TempDir folder_;
  PowerCutFileLayer files_{1};
  std::unique_ptr<BaseStore> base_;
  std::unique_ptr<DeltaLog> log_;
  ServerMetrics metrics_;
  std::unique_ptr<LogAppender> appender_;
  KjLoop loop_{"core"};
  std::unique_ptr<ServerCore> core_;
};

TEST_F(ColdFetchTest, CallsThatWaitHoldHalfOfTheBudgetAtMost) {
  loop_.Run([&] {
    ColdFetch& cold = core_->cold();
    auto most = cold.WaitForRows(kBudget / 2 - 1), last = cold.WaitForRows(1);
    ASSERT_TRUE(most.ok() && last.ok()) << "half of it exactly";
    ExpectTooMuchWaits(cold.WaitForRows(1).status());
    EXPECT_EQ(metrics_.waiting_calls, 2u) << "whoever is refused holds nothing";
    { const auto ended = std::move(*last); }
    EXPECT_TRUE(cold.WaitForRows(1).ok());
  });
  EXPECT_EQ(metrics_.waiting_calls, 0u);
}

// It would be refused for ever otherwise.
TEST_F(ColdFetchTest, ACallOfMoreThanThatWaitsAlone) {
  loop_.Run([&] {
    ColdFetch& cold = core_->cold();
    auto large = cold.WaitForRows(kBudget);
    ASSERT_TRUE(large.ok()) << large.status().ToString();
    ExpectTooMuchWaits(cold.WaitForRows(1).status());
    { const auto ended = std::move(*large); }
    auto small = cold.WaitForRows(1);
    ASSERT_TRUE(small.ok()) << small.status().ToString();
    ExpectTooMuchWaits(cold.WaitForRows(kBudget).status());
  });
}

// Ten rows of one shard, which only the base has, as far as the shard knows.
class ColdCallsTest : public ColdFetchTest {
 protected:
  ~ColdCallsTest() noexcept override = default;  // said, because kj's own destructors may throw
  static constexpr TableId kTable = 1;
  static constexpr uint32_t kDim = 64, kRows = 10, kShards = 32;

  void SetUp() override {
    ASSERT_NO_FATAL_FAILURE(ColdFetchTest::SetUp());
    for (Key key = 0; keys_.size() < kRows; ++key) {
      if (ShardOf(RowHash(key, kTable), kShards) == kShardId) keys_.push_back(key);
    }
    capnp::MallocMessageBuilder message;
    auto meta = message.initRoot<proto::ShardMeta>();
    shard_test::NameShard(meta);
    meta.setLsn(9);
    auto table = meta.initTables(1)[0];
    table.setTable(kTable);
    table.setLayout(kRowLayout);
    table.setDim(kDim);
    auto shard = std::make_unique<Shard>(shard_test::MakeShard());
    ASSERT_TRUE(shard->LoadMeta(meta.asReader()).ok());
    for (const Key key : keys_)
      ASSERT_TRUE(shard->LoadRow(kTable, key, 8, {.push_count = 1}, std::vector<float>(kDim), false).ok());
    ASSERT_TRUE(shard->CreateTable(shard_test::Spec(kTable, kDim)).ok());
    rows_bytes_ = kRows * shard->row_bytes(kTable);
    loop_.Run([&] {
      core_->SetShards(kShards);
      core_->AdoptShard(std::move(shard), {}, "");
      core_->Held(kShardId)->replica.TakeGrant(
          {.shard = kShardId, .incarnation = kIncarnation, .epoch = 1, .min_lsn = 10}, 0);
      expirer_ = std::make_unique<Expirer>(loop_, *core_, metrics_, 1'000'000);
      plane_ = std::make_unique<proto::DataPlane::Client>(
          kj::heap<DataService>(loop_, *core_, *expirer_, metrics_));
    });
  }
  void TearDown() override {
    loop_.Run([&] {
      waiting_ = nullptr;
      plane_.reset();
      expirer_.reset();
    });
    ColdFetchTest::TearDown();
  }

  // Others wait with so much that this is left of what may.
  void Leave(uint64_t bytes) {
    loop_.Run([&] {
      waiting_ = nullptr;
      auto wait = core_->cold().WaitForRows(kBudget / 2 - bytes);
      ASSERT_TRUE(wait.ok()) << wait.status().ToString();
      waiting_ = std::move(*wait);
    });
  }
  template <typename Table>
  void Fill(Table table) const {
    table.setTable(kTable);
    auto group = table.initGroups(1)[0];
    group.setShard(kShardId);
    group.setEpoch(1);
    group.setCount(kRows);
    std::memcpy(table.initKeys(kRows * sizeof(Key)).begin(), keys_.data(), kRows * sizeof(Key));
  }
  // What the answer says of its group.
  template <typename Make>
  Status Call(Make make) {
    std::promise<Status> done;
    loop_.Post([&] {
      auto answered =
          make(*plane_)
              .send()
              .then([&](auto&& answer) {
                const auto group = answer.getResponse().getTables()[0].getGroups()[0];
                done.set_value(
                    {static_cast<Code>(group.getCode()), group.getMessage().cStr(), group.getRetryAfterMs()});
              })
              .then([] {}, [&](kj::Exception&& e) { done.set_value(Internal(e.getDescription().cStr())); });
      loop_.Detach(kj::mv(answered), "call");
    });
    return done.get_future().get();
  }
  Status Pull() {
    return Call([this](proto::DataPlane::Client& plane) {
      auto call = plane.pullRequest();
      Fill(call.initRequest().initTables(1)[0]);
      return call;
    });
  }
  Status Push() {
    return Call([this](proto::DataPlane::Client& plane) {
      auto call = plane.pushRequest();
      auto request = call.initRequest();
      request.setProducer(1);
      auto table = request.initTables(1)[0];
      Fill(table);
      table.initValues(kRows * kDim * sizeof(float));
      return call;
    });
  }

  std::vector<Key> keys_;
  uint64_t rows_bytes_ = 0;  // of all of them in memory
  std::unique_ptr<Expirer> expirer_;
  std::unique_ptr<proto::DataPlane::Client> plane_;
  kj::Own<ColdFetch::ColdWait> waiting_;
};

TEST_F(ColdCallsTest, WhoFindsNoRoomToWaitIsRefused) {
  Leave(rows_bytes_ - 1);
  ExpectTooMuchWaits(Pull());
  ExpectTooMuchWaits(Push());
  EXPECT_EQ(metrics_.waiting_calls, 1u) << "the others";
  EXPECT_EQ(metrics_.push_units, 0u);
  Leave(rows_bytes_);
  const Status pulled = Pull();
  EXPECT_TRUE(pulled.ok()) << pulled.ToString();
  EXPECT_EQ(metrics_.absent_rows, kRows) << "the base was asked";
}

}  // namespace
}  // namespace penstock
