// How long the log of a running server becomes: by what it holds, what a start has replayed, and its disk;
// what is refused beyond the limit; and what stays of it at an orderly end.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <numeric>

#include "client/admin.h"
#include "server/node/node_file.h"
#include "tests/cluster/small_disk.h"
#include "tests/cluster/test_cluster.h"
#include "tests/unit/server/storage/log_fixture.h"

namespace penstock {
namespace {

using ::testing::HasSubstr;

constexpr uint64_t kMiB = 1 << 20;
constexpr uint32_t kDim = 1024;
constexpr Key kRowsOfMiB = kMiB / (kDim * sizeof(float));
constexpr int kWaitMs = 20000;

class LogLengthTest : public ::testing::Test {
 protected:
  void Make(std::vector<std::string> set) {
    set.push_back("scheduler.heartbeat_ms=50");
    cluster_ = std::make_unique<TestCluster>(TestCluster::Options{.servers = 1, .set = set, .dir = {}});
  }
  void Start(const std::map<std::string, std::string>& environment = {}) {
    ASSERT_TRUE(cluster_->StartOne("scheduler").ok());
    ASSERT_NO_FATAL_FAILURE(StartServer(environment));
    auto client = cluster_->Connect();
    ASSERT_TRUE(client.ok()) << client.status().ToString();
    client_ = std::move(*client);
    TableSpec spec;
    spec.name = "wide";
    spec.dim = kDim;
    spec.optimizer.kind = OptimizerKind::kAdd;
    const auto table = client_->CreateTable(spec);
    ASSERT_TRUE(table.ok()) << table.status().ToString();
    table_ = table->id;
    const auto producer = client_->NewProducer();
    ASSERT_TRUE(producer.ok()) << producer.status().ToString();
    producer_ = *producer;
  }
  void StartServer(const std::map<std::string, std::string>& environment = {},
                   const std::vector<std::string>& set = {}) {
    ASSERT_TRUE(cluster_->StartOne("server-0", environment, set).ok());
    ASSERT_TRUE(cluster_->WaitServing().ok()) << cluster_->Output("server-0");
  }

  // So many MiB of rows, from that MiB of the table on; in the log when it is answered.
  Status Push(uint64_t first, uint64_t mib, uint64_t deadline_ms = 0) {
    std::vector<Key> keys(mib * kRowsOfMiB);
    std::iota(keys.begin(), keys.end(), first * kRowsOfMiB);
    return client_
        ->Push(*producer_, {{table_, keys, std::vector<float>(keys.size() * kDim, 1)}},
               {.deadline_ms = deadline_ms})
        .get()
        .status();
  }
  double Metric(const std::string& name) const {
    return cluster_->Metric("server-0", "penstock_server_" + name);
  }
  double FoldAt() const { return Metric("fold_at_bytes"); }
  bool WaitForFoldAt(const std::function<double()>& expected) const {
    return WaitFor(kWaitMs, [&] {
      const double at = FoldAt();
      return at > 0 && at == expected();
    });
  }
  std::string folder() const { return cluster_->dir() + "/server-0"; }

  struct LogFiles {
    uint64_t spares = 0;
    uint64_t largest_spare = 0;  // bytes
    uint64_t bytes = 0;
    uint64_t disk_bytes = 0;  // with what is reserved
  };
  LogFiles LookAtLog() const {
    LogFiles files;
    for (const auto& entry : std::filesystem::directory_iterator(folder() + "/log")) {
      const uint64_t bytes = entry.file_size();
      files.bytes += bytes;
      files.disk_bytes += DiskBytesOf(entry.path().string());
      if (!ParseSpareFileName(entry.path().filename().string())) continue;
      ++files.spares;
      files.largest_spare = std::max(files.largest_spare, bytes);
    }
    return files;
  }
  void EndAndLookAtLog() {
    EXPECT_EQ(cluster_->Terminate("server-0"), 0) << cluster_->Output("server-0");
    const LogFiles left = LookAtLog();
    EXPECT_EQ(left.spares, 0u);
    EXPECT_LT(left.disk_bytes, left.bytes + kMiB / 4) << "nothing is reserved";
  }
  void SetReplaySpeed(uint64_t bytes_a_second) {
    NodeFile file(folder() + "/node");
    auto state = file.Load();
    ASSERT_TRUE(state.ok()) << state.status().ToString();
    state->replay_speed = bytes_a_second;
    ASSERT_TRUE(file.Save(*state).ok());
  }
  uint64_t ReplaySpeed() const {
    const auto state = NodeFile(folder() + "/node").Load();
    EXPECT_TRUE(state.ok()) << state.status().ToString();
    return state.ok() ? state->replay_speed : 0;
  }

  std::unique_ptr<TestCluster> cluster_;
  std::unique_ptr<Client> client_;
  TableId table_ = 0;
  std::shared_ptr<Producer> producer_;
};

TEST_F(LogLengthTest, FollowsMemoryAndReplay) {
  constexpr uint64_t kBudget = 80 * kMiB, kPushed = 24 * kMiB;
  Make({"server.memory_budget_bytes=" + std::to_string(kBudget)});
  ASSERT_NO_FATAL_FAILURE(Start());
  EXPECT_TRUE(WaitForFoldAt([] { return 64.0 * kMiB; })) << FoldAt();
  for (uint64_t first = 0; first < kPushed / kMiB; first += 4) {
    const Status pushed = Push(first, 4);
    ASSERT_TRUE(pushed.ok()) << pushed.ToString();
  }
  const auto free_of_budget = [&] {
    const double resident = Metric("resident_bytes");
    return resident < kPushed ? -1 : kBudget - resident;
  };
  EXPECT_TRUE(WaitForFoldAt(free_of_budget)) << FoldAt() << " " << free_of_budget();

  // A log that is long enough to tell takes the place of what an earlier start has shown.
  ASSERT_GE(Metric("log_bytes"), kPushed);
  cluster_->Kill("server-0");
  ASSERT_NO_FATAL_FAILURE(SetReplaySpeed(1));
  ASSERT_NO_FATAL_FAILURE(StartServer());
  EXPECT_TRUE(WaitForFoldAt([&] { return std::min(free_of_budget(), 10.0 * ReplaySpeed()); }))
      << FoldAt() << " " << free_of_budget() << " " << ReplaySpeed();
  EXPECT_GT(ReplaySpeed(), 1u);

  // What such a start has shown counts where the log is short: at an orderly end it was folded.
  ASSERT_NO_FATAL_FAILURE(EndAndLookAtLog());
  EXPECT_LT(LookAtLog().bytes, kMiB);
  ASSERT_NO_FATAL_FAILURE(SetReplaySpeed(2 * kMiB));
  ASSERT_NO_FATAL_FAILURE(StartServer());
  EXPECT_TRUE(WaitForFoldAt([] { return 20.0 * kMiB; })) << FoldAt();
}

TEST_F(LogLengthTest, FollowsTheDisk) {
  Make({"server.segment_bytes=" + std::to_string(kMiB)});
  SmallDisk disk(folder(), "160m");
  if (!disk.error().empty()) GTEST_SKIP() << "no tmpfs can be mounted here: " << disk.error();
  ASSERT_NO_FATAL_FAILURE(Start());
  const auto an_eighth = [&] {
    return std::floor(
        (static_cast<double>(std::filesystem::space(folder()).available) + Metric("log_bytes")) / 8);
  };
  EXPECT_TRUE(WaitForFoldAt(an_eighth)) << FoldAt() << " " << an_eighth();
  EXPECT_GT(FoldAt(), 10 * kMiB);
  disk.Fill();
  EXPECT_TRUE(WaitForFoldAt([] { return 1.0 * kMiB; })) << FoldAt() << ": at least a segment";
  disk.Free();
  EXPECT_TRUE(WaitForFoldAt(an_eighth)) << FoldAt() << " " << an_eighth();
}

TEST_F(LogLengthTest, ASmallJobHasAShortLogAndFewSpares) {
  Make({});
  ASSERT_NO_FATAL_FAILURE(Start());
  const auto push_again = [&](uint64_t mib) {
    const Status pushed = Push(0, mib);
    ASSERT_TRUE(pushed.ok()) << pushed.ToString();
  };
  for (int i = 0; i < 15; ++i) ASSERT_NO_FATAL_FAILURE(push_again(4));
  EXPECT_EQ(FoldAt(), 64 * kMiB);
  EXPECT_EQ(Metric("folds_total"), 0) << "60 MiB";
  for (int i = 0; i < 2; ++i) ASSERT_NO_FATAL_FAILURE(push_again(4));
  EXPECT_TRUE(WaitFor(kWaitMs, [&] { return Metric("folds_total") >= 1; }));
  EXPECT_EQ(Metric("folds_total"), 1);
  EXPECT_TRUE(WaitFor(kWaitMs, [&] { return Metric("log_bytes") < 16 * kMiB; })) << Metric("log_bytes");
  const LogFiles log = LookAtLog();
  EXPECT_GE(log.spares, 2u) << "files of what was folded";
  EXPECT_LE(log.spares, 5u);
  EXPECT_GT(log.largest_spare, 8 * kMiB);
  EXPECT_LE(log.largest_spare, 16 * kMiB) << "a segment";
  ASSERT_NO_FATAL_FAILURE(EndAndLookAtLog());

  constexpr uint64_t kFoldBytes = 2 * kMiB;
  ASSERT_NO_FATAL_FAILURE(StartServer({}, {"server.segment_bytes=" + std::to_string(kMiB),
                                           "server.fold_bytes=" + std::to_string(kFoldBytes)}));
  const auto stays_short = [&] {
    return WaitFor(kWaitMs, [&] {
      const double bytes = Metric("log_bytes");
      return bytes >= 0 && bytes < kFoldBytes;
    });
  };
  ASSERT_TRUE(WaitForFoldAt([] { return kFoldBytes; })) << FoldAt();
  ASSERT_TRUE(stays_short());
  const double before = Metric("folds_total");
  for (int i = 0; i < 12; ++i) {
    ASSERT_NO_FATAL_FAILURE(push_again(1));
    ASSERT_TRUE(stays_short());
  }
  EXPECT_GE(Metric("folds_total"), before + 3);
  EXPECT_LE(Metric("folds_total"), before + 6) << "none before the log has that length";
  EXPECT_LE(LookAtLog().spares, kFoldBytes / kMiB + 1);
  ASSERT_NO_FATAL_FAILURE(EndAndLookAtLog());
}

TEST_F(LogLengthTest, BeyondItsLimitPushesAreRefusedUntilAFoldSucceeds) {
  Make(
      {"server.segment_bytes=" + std::to_string(kMiB), "server.log_limit_bytes=" + std::to_string(2 * kMiB)});
  ASSERT_NO_FATAL_FAILURE(Start({{"PENSTOCK_FAULT_POINTS", "fold.sst.before=error:EIO"}}));
  EXPECT_TRUE(WaitForFoldAt([] { return 1.0 * kMiB; })) << FoldAt() << ": half of the limit";
  const auto problems = [&] {
    const auto status = Admin(*client_).Inspect("status");
    return status.ok() ? status->at("problems").dump() : status.status().ToString();
  };
  const auto told = [&](const std::string& words) {
    return WaitFor(kWaitMs, [&] { return problems().find(words) != std::string::npos; });
  };
  const auto ready = [&] { return HttpGet(folder(), "/readyz").find("HTTP/1.1 200") == 0; };
  ASSERT_TRUE(Push(0, 1).ok());
  EXPECT_TRUE(told("server-0: the log cannot be folded: ")) << problems();
  EXPECT_TRUE(WaitFor(kWaitMs, ready)) << "pushes are taken still";
  EXPECT_EQ(Metric("trouble"), 1);

  ASSERT_TRUE(Push(0, 1).ok());
  Status refused;
  EXPECT_TRUE(WaitFor(kWaitMs, [&] {
    refused = Push(0, 1, 500);
    return !refused.ok();
  }));
  EXPECT_THAT(refused.message(), HasSubstr("server-0: the log has reached its limit of 2097152 bytes"));
  EXPECT_TRUE(told("pushes are refused until a fold has shortened the log: it has ")) << problems();
  EXPECT_TRUE(WaitFor(kWaitMs, [&] { return !ready(); }));
  EXPECT_THAT(HttpGet(folder(), "/readyz"), HasSubstr("server.log_limit_bytes allows 2097152"));
  const auto pulled = client_->Pull({{table_, {1}}}, {.deadline_ms = 5000}).get();
  EXPECT_TRUE(pulled.ok()) << pulled.status().ToString();

  EXPECT_EQ(cluster_->Terminate("server-0"), 0) << cluster_->Output("server-0");
  ASSERT_NO_FATAL_FAILURE(StartServer());
  const Status pushed = Push(0, 1);
  EXPECT_TRUE(pushed.ok()) << pushed.ToString();
  EXPECT_TRUE(WaitFor(kWaitMs, [&] { return problems() == "[]"; })) << problems();
  EXPECT_TRUE(WaitFor(kWaitMs, ready)) << HttpGet(folder(), "/readyz");
  EXPECT_EQ(Metric("trouble"), 0);
}

}  // namespace
}  // namespace penstock
