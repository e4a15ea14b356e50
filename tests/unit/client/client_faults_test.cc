// Client against servers that refuse, hang, disconnect and restart: deadlines, exactly once, what a job may
// count as progress.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <chrono>
#include <random>
#include <thread>

#include "client/admin.h"
#include "client/client.h"
#include "client/dense_tensor.h"
#include "client/loop_call.h"
#include "common/cluster/scheduler_link.h"
#include "tests/unit/client/client_fixture.h"

namespace penstock {
namespace {

using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

// --- Refusals, lost answers, deadlines ---

TEST_F(ClientTest, BacksOffWhenTheServerIsOverloaded) {
  Connect();
  const TableId table = Table("user", 1).id;
  auto left = std::make_shared<int>(3);
  cluster_.Run([&] {
    cluster_.on_group = [left](const SeenCall&, const SeenGroup& group) -> std::optional<FakeFault> {
      if (group.shard != 0 || (*left)-- <= 0) return std::nullopt;
      return FakeFault{Code::kOverloaded, 30, 0, "log limit"};
    };
  });
  const auto begin = std::chrono::steady_clock::now();
  const auto pushed = client_->Push(*producer_, {{table, {KeyIn(0, table), KeyIn(2, table)}, {1, 1}}}).get();
  EXPECT_TRUE(pushed.ok()) << pushed.status().ToString();
  EXPECT_GE(std::chrono::steady_clock::now() - begin, std::chrono::milliseconds(90));
  const auto calls = cluster_.Run([&] { return cluster_.pushes(); });
  ASSERT_EQ(calls.size(), 4u);
  for (size_t i = 1; i < 4; ++i) EXPECT_THAT(calls[i].groups, ElementsAre(SeenGroup{table, 0, 1, 1}));
}

TEST_F(ClientTest, FinalErrorsAreNotRetried) {
  Connect();
  const TableId table = Table("user", 1).id;
  for (Code code : {Code::kUnknownProducer, Code::kInvalidArgument, Code::kDataLoss, Code::kNotFound}) {
    cluster_.Run([&] {
      cluster_.on_group = [code](const SeenCall&, const SeenGroup&) {
        return FakeFault{code, 0, 0, "because"};
      };
    });
    const size_t before = cluster_.Run([&] { return cluster_.pushes().size(); });
    const auto pushed = client_->Push(*producer_, {One(table, KeyIn(1, table))}).get();
    EXPECT_EQ(pushed.status().code(), code) << pushed.status().ToString();
    EXPECT_THAT(pushed.status().message(),
                AllOf(HasSubstr("'user', shard 1"), HasSubstr("node 2 at 127.0.0.1:"), HasSubstr("because"),
                      HasSubstr("0 of 1 units")));
    EXPECT_EQ(cluster_.Run([&] { return cluster_.pushes().size(); }), before + 1);
  }
}

TEST_F(ClientTest, SendsAgainUnderTheSameIdentityAfterADisconnect) {
  Connect();
  const TableId table = Table("user", 1).id;
  for (CallFault fault : {CallFault::kApplyAndDisconnect, CallFault::kDisconnect}) {
    auto armed = std::make_shared<bool>(true);
    cluster_.Run([&] {
      cluster_.on_call = [armed, fault](const SeenCall&) {
        return std::exchange(*armed, false) ? fault : CallFault::kNone;
      };
    });
    const size_t before = cluster_.Run([&] { return cluster_.pushes().size(); });
    const auto pushed = client_->Push(*producer_, {One(table, KeyIn(0, table))}).get();
    ASSERT_TRUE(pushed.ok()) << pushed.status().ToString();
    const auto calls = cluster_.Run([&] { return cluster_.pushes(); });
    ASSERT_EQ(calls.size(), before + 2);
    EXPECT_EQ(calls[before].producer, calls[before + 1].producer);
    EXPECT_EQ(calls[before].sequence, calls[before + 1].sequence);
  }
  EXPECT_EQ(cluster_.Run([&] { return cluster_.units(); }), 2u);
  EXPECT_EQ(cluster_.Run([&] { return cluster_.duplicates(); }), 1u);
  EXPECT_EQ(cluster_.Run([&] { return cluster_.rows().begin()->second[0]; }), 2);
}

TEST_F(ClientTest, SurvivesServersThatAreRestartedAllTheTime) {
  ClientOptions options = Options(cluster_);
  options.piece_bytes = 4096;
  Connect(options);
  const TableId table = Table("count", 3).id;
  const uint64_t seed = std::random_device{}();
  SCOPED_TRACE("seed " + std::to_string(seed));
  auto random = std::make_shared<std::mt19937_64>(seed);
  cluster_.Run([&] {
    cluster_.on_call = [random](const SeenCall& call) {
      switch (call.push ? (*random)() % 12 : 99) {
        case 0:
          return CallFault::kDisconnect;
        case 1:
          return CallFault::kApplyAndDisconnect;
        default:
          return CallFault::kNone;
      }
    };
  });
  std::vector<Key> keys;
  for (Key key = 0; key < 2000; ++key) keys.push_back(key);
  std::vector<std::future<Result<PushResult>>> pushes;
  for (int i = 0; i < 20; ++i)
    pushes.push_back(client_->Push(*producer_, {{table, keys, std::vector<float>(keys.size() * 3, 1)}}));
  for (auto& push : pushes) {
    const auto pushed = push.get();
    EXPECT_TRUE(pushed.ok()) << pushed.status().ToString();
  }
  for (const auto& [key, row] : cluster_.Run([&] { return cluster_.rows(); }))
    EXPECT_THAT(row, ElementsAre(20, 20, 20));
}

TEST_F(ClientTest, APushThatIsSentAgainBringsItsRowsBackOnce) {
  Connect();
  const TableId table = Table("user", 1).id;
  const Key key = KeyIn(0, table);
  float expected = 0;
  for (CallFault fault : {CallFault::kApplyAndDisconnect, CallFault::kDisconnect}) {
    auto armed = std::make_shared<bool>(true);
    cluster_.Run([&] {
      cluster_.on_call = [armed, fault](const SeenCall&) {
        return std::exchange(*armed, false) ? fault : CallFault::kNone;
      };
    });
    const std::vector<float> value = {3};
    std::vector<float> pulled(1);
    const TablePushPullView view{table, std::span(&key, 1), value, pulled};
    const auto pushed = client_->PushPull(*producer_, std::span(&view, 1)).get();
    ASSERT_TRUE(pushed.ok()) << pushed.status().ToString();
    EXPECT_EQ(pulled[0], expected += 3);
  }
}

TEST_F(ClientTest, NoticesAServerThatHangs) {
  ClientOptions options = Options(cluster_);
  options.attempt_timeout_ms = 100;
  Connect(options);
  const TableId table = Table("user", 1).id;
  auto armed = std::make_shared<int>(2);
  cluster_.Run([&] {
    cluster_.on_call = [armed](const SeenCall&) {
      return (*armed)-- > 0 ? CallFault::kApplyAndSwallow : CallFault::kNone;
    };
  });
  const auto pushed = client_->Push(*producer_, {One(table, 5)}).get();
  EXPECT_TRUE(pushed.ok()) << pushed.status().ToString();
  EXPECT_EQ(cluster_.Run([&] { return cluster_.duplicates(); }), 2u);
  cluster_.Run([&] { *armed = 1; });
  EXPECT_TRUE(client_->Pull({{table, {5}}}).get().ok());
}

TEST_F(ClientTest, AServerThatScansAllOfItsRowsIsNotTakenForHung) {
  ClientOptions options = Options(cluster_);
  options.attempt_timeout_ms = 100;
  Connect(options);
  const TableId table = Table("user", 1).id;
  cluster_.Run([&] { cluster_.answer_after_ms = 500; });
  const auto stats = Admin(*client_).Stats({table});
  ASSERT_TRUE(stats.ok()) << stats.status().ToString();
  EXPECT_EQ(stats->front().rows, 80u);
}

TEST_F(ClientTest, LeavesASilentServerWhenItsShardHasMoved) {
  ClientOptions options = Options(cluster_);
  options.attempt_timeout_ms = 60000;
  Connect(options);
  const TableId table = Table("user", 1).id;
  cluster_.Run([&] {
    cluster_.on_call = [](const SeenCall& call) {
      return call.server == 0 ? CallFault::kSwallow : CallFault::kNone;
    };
  });
  auto pushed = client_->Push(*producer_, {One(table, KeyIn(0, table))}, {.deadline_ms = 20000});
  auto other = client_->Push(*producer_, {One(table, KeyIn(2, table))}, {.deadline_ms = 1500});
  ASSERT_TRUE(Until([&] { return cluster_.pushes().size() == 2; }));
  cluster_.Run([&] {
    ++cluster_.map().version;
    cluster_.map().shards[0].epoch = cluster_.epochs()[0] = 2;
    cluster_.PlaceShard(0, 1);
  });
  EXPECT_TRUE(pushed.get().ok());
  // What stays where it is waits for the silent server.
  EXPECT_EQ(other.get().status().code(), Code::kOutcomeUnknown);
}

TEST_F(ClientTest, APushWithoutAnswerEndsAsOutcomeUnknown) {
  Connect();
  const TableId table = Table("user", 1).id;
  const std::string endpoint = cluster_.Run([&] { return cluster_.endpoint(0); });
  cluster_.Run([&] {
    cluster_.on_call = [](const SeenCall& call) {
      return call.server == 0 ? CallFault::kSwallow : CallFault::kNone;
    };
  });
  const auto pushed =
      client_->Push(*producer_, {{table, {KeyIn(0, table), KeyIn(1, table)}, {1, 1}}}, {.deadline_ms = 200})
          .get();
  EXPECT_EQ(pushed.status().code(), Code::kOutcomeUnknown) << pushed.status().ToString();
  EXPECT_THAT(pushed.status().message(), AllOf(HasSubstr(endpoint), HasSubstr("shard 0"),
                                               HasSubstr("1 of 2 units"), HasSubstr("200 ms")));
  EXPECT_EQ(producer_->low(), 1u) << "given up";
  const auto pulled = client_->Pull({{table, {KeyIn(0, table)}}}, {.deadline_ms = 200}).get();
  EXPECT_EQ(pulled.status().code(), Code::kDeadlineExceeded) << pulled.status().ToString();
  EXPECT_THAT(pulled.status().message(), HasSubstr(endpoint));
}

TEST_F(ClientTest, APushThatReachedNobodyHadNoEffect) {
  Connect();
  const TableId table = Table("user", 1).id;
  const std::string endpoint = cluster_.Run([&] {
    cluster_.StopServer(0);
    return cluster_.endpoint(0);
  });
  const auto pushed = client_->Push(*producer_, {One(table, KeyIn(0, table))}, {.deadline_ms = 300}).get();
  EXPECT_EQ(pushed.status().code(), Code::kDeadlineExceeded) << pushed.status().ToString();
  EXPECT_THAT(pushed.status().message(), AllOf(HasSubstr(endpoint), HasSubstr("0 of 1 units")));
  const auto pulled = client_->Pull({{table, {KeyIn(0, table)}}}, {.deadline_ms = 300}).get();
  EXPECT_EQ(pulled.status().code(), Code::kUnavailable) << pulled.status().ToString();
  EXPECT_THAT(pulled.status().message(), HasSubstr(endpoint));
}

TEST_F(ClientTest, APushThatWasRefusedUntilTheDeadlineHadNoEffect) {
  Connect();
  const TableId table = Table("user", 1).id;
  cluster_.Run([&] {
    cluster_.on_group = [](const SeenCall&, const SeenGroup&) {
      return FakeFault{Code::kNotEnoughCopies, 1000, 0, "1 of 2 copies"};
    };
  });
  // The deadline falls between two attempts; during one the outcome would be unknown.
  const auto pushed = client_->Push(*producer_, {One(table, 1)}, {.deadline_ms = 700}).get();
  EXPECT_EQ(pushed.status().code(), Code::kDeadlineExceeded) << pushed.status().ToString();
  EXPECT_THAT(pushed.status().message(), HasSubstr("1 of 2 copies"));
}

TEST_F(ClientTest, GoesOnWithoutTheScheduler) {
  Connect();
  const TableId table = Table("user", 1).id;
  auto armed = std::make_shared<bool>(true);
  cluster_.Run([&] {
    cluster_.StopScheduler();
    cluster_.on_call = [armed](const SeenCall&) {
      return std::exchange(*armed, false) ? CallFault::kDisconnect : CallFault::kNone;
    };
  });
  const auto pushed = client_->Push(*producer_, {One(table, 1)}).get();
  EXPECT_TRUE(pushed.ok()) << pushed.status().ToString();
}

TEST_F(ClientTest, PendingCallsAreCancelledWithTheClient) {
  Connect();
  const TableId table = Table("user", 1).id;
  cluster_.Run([&] { cluster_.on_call = [](const SeenCall&) { return CallFault::kSwallow; }; });
  auto push = client_->Push(*producer_, {One(table, 1)});
  auto pull = client_->Pull({{table, {1}}});
  ASSERT_TRUE(Until([&] { return cluster_.pushes().size() + cluster_.pulls().size() == 2; }));
  auto late = client_->Pull({{table, {2}}});  // perhaps not even begun
  client_.reset();
  EXPECT_EQ(push.get().status().code(), Code::kCancelled);
  EXPECT_EQ(pull.get().status().code(), Code::kCancelled);
  EXPECT_EQ(late.get().status().code(), Code::kCancelled);
  EXPECT_EQ(producer_->in_flight(), 0u);
}

TEST_F(ClientTest, CallbacksMayNotBlockAndMayGoOn) {
  Connect();
  const TableId table = Table("user", 1).id;
  std::promise<Code> blocked;
  std::promise<bool> second;
  client_->PushAsync(*producer_, {One(table, 1)}, [&](Result<PushResult>) {
    blocked.set_value(client_->Flush().code());
    client_->PushAsync(*producer_, {One(table, 2)},
                       [&](Result<PushResult> pushed) { second.set_value(pushed.ok()); });
  });
  EXPECT_EQ(blocked.get_future().get(), Code::kFailedPrecondition);
  EXPECT_TRUE(second.get_future().get());
}

// --- Jobs: what is logged ---

TEST_F(ClientTest, AJobsProgressIsWhatIsLogged) {
  Connect();
  const TableId table = Table("user", 1).id;
  cluster_.Run([&] { cluster_.log_at_once = false; });
  auto job = client_->AttachProducer(50, 3);
  const Key key = KeyIn(0, table);
  for (Sequence s : {3, 4}) {
    const auto pushed = client_->PushAt(*job, s, {One(table, key)}).get();
    ASSERT_TRUE(pushed.ok()) << pushed.status().ToString();
    EXPECT_FALSE(pushed->logged());
  }
  EXPECT_EQ(job->recorded(), 3u);
  EXPECT_EQ(client_->PushAt(*job, 4, {One(table, key)}).get().status().code(), Code::kInvalidArgument)
      << "it was answered";
  // The lag advances by itself, and an answer to somebody else tells.
  cluster_.Run([&] { cluster_.logged()[0] = 1; });
  ASSERT_TRUE(client_->Pull({{table, {key}}}).get().ok());
  EXPECT_EQ(job->recorded(), 4u);
  EXPECT_TRUE(client_->Flush().ok());
  EXPECT_EQ(job->recorded(), 5u);
  ASSERT_TRUE(client_->PushAt(*job, 5, {One(table, key)}).get().ok());
  const auto calls = cluster_.Run([&] { return cluster_.pushes(); });
  EXPECT_EQ(calls.back().low, 5u);
  EXPECT_EQ(calls.back().sequence, 5u);
}

TEST_F(ClientTest, AJobGoesOnWhenAnEpochBeginsWithoutLoss) {
  Connect();
  const TableId table = Table("user", 1).id;
  auto job = client_->AttachProducer(50, 0);
  const Key key = KeyIn(0, table);
  cluster_.Run([&] { cluster_.log_at_once = false; });
  for (Sequence k = 0; k < 4; ++k) {
    // The same primary, in a later epoch each time; the client hears of it by the map or by the server.
    cluster_.Run([&] {
      cluster_.epochs()[0] = 2 + k;
      if (k % 2 == 0) return;
      cluster_.map().shards[0].epoch = 2 + k;
      ++cluster_.map().version;
    });
    ASSERT_TRUE(client_->PushAt(*job, k, {One(table, key)}).get().ok());
  }
  EXPECT_FALSE(job->rewound());
  EXPECT_EQ(job->recorded(), 0u);
  EXPECT_TRUE(client_->Flush().ok());
  EXPECT_EQ(job->recorded(), 4u);
  EXPECT_EQ(cluster_.Run([&] { return cluster_.duplicates(); }), 0u);
}

TEST_F(ClientTest, AJobIsRewoundWhenAShardComesBackBeforeItLogged) {
  Connect();
  const TableId table = Table("user", 1).id;
  auto job = client_->AttachProducer(50, 0);
  const Key key = KeyIn(0, table);
  ASSERT_TRUE(client_->PushAt(*job, 0, {One(table, key)}).get().ok());
  cluster_.Run([&] { cluster_.log_at_once = false; });
  ASSERT_TRUE(client_->PushAt(*job, 1, {One(table, key)}).get().ok());
  EXPECT_FALSE(job->rewound());
  cluster_.Run([&] {
    cluster_.epochs()[0] = 2;
    cluster_.held()[0] = {.since = 2, .from = 1, .to = 1, .up_to = 1};
  });
  ASSERT_TRUE(client_->Pull({{table, {key}}}).get().ok());
  EXPECT_TRUE(job->rewound());
  EXPECT_EQ(client_->PushAt(*job, 2, {One(table, key)}).get().status().code(), Code::kFailedPrecondition);
  EXPECT_EQ(client_->Flush().code(), Code::kOutcomeUnknown);
  EXPECT_EQ(*job->Rewind(), 1u);
  ASSERT_TRUE(client_->PushAt(*job, 1, {One(table, key)}).get().ok());
  EXPECT_EQ(cluster_.Run([&] { return cluster_.duplicates(); }), 1u) << "it had survived";
  EXPECT_TRUE(client_->Flush().ok());
  EXPECT_EQ(job->recorded(), 2u);
}

TEST_F(ClientTest, AJobsSequenceMayBePushedAgainAfterAnUnknownOutcome) {
  Connect();
  const TableId table = Table("user", 1).id;
  auto job = client_->AttachProducer(50, 0);
  auto lost = std::make_shared<bool>(true);
  cluster_.Run([&] {
    cluster_.on_call = [lost](const SeenCall&) {
      return *lost ? CallFault::kApplyAndSwallow : CallFault::kNone;
    };
  });
  EXPECT_EQ(client_->PushAt(*job, 0, {One(table, 1)}, {.deadline_ms = 100}).get().status().code(),
            Code::kOutcomeUnknown);
  EXPECT_EQ(job->low(), 0u) << "not given up";
  cluster_.Run([&] { *lost = false; });
  EXPECT_TRUE(client_->PushAt(*job, 0, {One(table, 1)}).get().ok());
  EXPECT_EQ(job->recorded(), 1u);
  EXPECT_EQ(cluster_.Run([&] { return cluster_.units(); }), 1u);
}

TEST_F(ClientTest, FlushWaitsForThePushesBeforeIt) {
  Connect();
  const TableId table = Table("user", 1).id;
  cluster_.Run([&] {
    cluster_.log_at_once = false;
    cluster_.answer_after_ms = 50;
  });
  auto push = client_->Push(*producer_, {One(table, KeyIn(0, table))});
  EXPECT_TRUE(client_->Flush().ok());
  EXPECT_EQ(push.wait_for(std::chrono::seconds(0)), std::future_status::ready);
  EXPECT_EQ(cluster_.Run([&] { return cluster_.logged()[0]; }), 1u);
  cluster_.Run([&] { cluster_.on_call = [](const SeenCall&) { return CallFault::kSwallow; }; });
  push = client_->Push(*producer_, {One(table, KeyIn(0, table))}, {.deadline_ms = 1000});
  EXPECT_EQ(client_->Flush(50).code(), Code::kDeadlineExceeded);
}

TEST_F(ClientTest, SumsStatsOverAllShards) {
  Connect();
  const TableId a = Table("a", 1).id, b = Table("b", 1).id;
  cluster_.Run([&] { cluster_.epochs()[5] = 3; });  // one has to be asked again
  const auto stats = Admin(*client_).Stats({b, a});
  ASSERT_TRUE(stats.ok()) << stats.status().ToString();
  EXPECT_EQ((*stats)[0].table, b);
  EXPECT_EQ((*stats)[1].rows, 80u);
  EXPECT_DOUBLE_EQ((*stats)[0].sum_squares, 4.0);
}

// --- Dense ---

TEST_F(ClientTest, ADenseTensorIsAnAddressComputation) {
  Connect();
  TableSpec spec;
  spec.name = "w";
  spec.dim = 4;
  spec.dense_size = 10;
  const auto tensor = DenseTensor::Of(*client_->CreateTable(spec));
  ASSERT_TRUE(tensor.ok());
  EXPECT_EQ(tensor->rows(), 3u);
  const auto at = [](uint64_t i) { return FakeValue(i / 4, i % 4); };
  const auto whole = tensor->Pull(*client_).get();
  ASSERT_TRUE(whole.ok()) << whole.status().ToString();
  ASSERT_EQ(whole->size(), 10u);
  for (uint64_t i = 0; i < 10; ++i) EXPECT_EQ((*whole)[i], at(i));
  EXPECT_THAT(*tensor->Pull(*client_, 3, 6).get(), ElementsAre(at(3), at(4), at(5)));
  EXPECT_TRUE(tensor->Pull(*client_, 5, 5).get()->empty());

  std::vector<float> rows(8);
  ASSERT_TRUE(tensor->PullInto(*client_, rows).get().ok());
  for (uint64_t i = 0; i < 8; ++i) EXPECT_EQ(rows[i], at(i));
  EXPECT_EQ(tensor->PullInto(*client_, rows, 2).get().code(), Code::kInvalidArgument) << "half a row";

  const std::vector<float> tail = {1, 2, 3, 4, 5, 6};
  EXPECT_TRUE(tensor->Push(*client_, *producer_, tail, 4).get().ok());
  EXPECT_THAT(cluster_.Run([&] {
    return cluster_.rows().at({tensor->table(), 2});
  }),
              ElementsAre(5, 6, 0, 0));
  EXPECT_EQ(tensor->Push(*client_, *producer_, tail, 2).get().status().code(), Code::kInvalidArgument)
      << "half a row";
  EXPECT_EQ(tensor->Push(*client_, *producer_, tail, 8).get().status().code(), Code::kInvalidArgument)
      << "past the end";
  EXPECT_EQ(tensor->Pull(*client_, 8, 7).get().status().code(), Code::kInvalidArgument);
  spec.dense_size = 0;
  EXPECT_EQ(DenseTensor::Of(spec).status().code(), Code::kInvalidArgument);
}

TEST_F(ClientTest, OtherCodeMayUseTheLoop) {
  Connect();
  auto tables = CallOnLoop<uint64_t>(client_->loop(), "ask", [this] {
    return client_->scheduler()
        .Call("ask", 1000,
              [](proto::Scheduler::Client& scheduler) {
                auto request = scheduler.newProducersRequest();
                request.setCount(2);
                return request;
              })
        .then([](auto&& answer) -> Result<uint64_t> {
          if (!answer.ok()) return answer.status();
          return answer->getFirst();
        });
  });
  ASSERT_TRUE(tables.ok()) << tables.status().ToString();
  EXPECT_GT(*tables, producer_->id());
}

}  // namespace
}  // namespace penstock
