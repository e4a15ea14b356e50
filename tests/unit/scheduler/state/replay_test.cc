// Replaying the journal gives the equal state, from the beginning and from any snapshot.
#include <random>

#include "tests/unit/scheduler/fake_cluster.h"

namespace penstock {
namespace {

class RandomRun {
 public:
  explicit RandomRun(uint64_t seed) : random_(seed) {}

  void Run(int steps) {
    for (int i = 0; i < steps; ++i) Step();
  }
  FakeCluster& cluster() { return c_; }

 private:
  uint64_t Pick(uint64_t below) { return std::uniform_int_distribution<uint64_t>(0, below - 1)(random_); }
  FakeNode& Any() {
    FakeNode* nodes[] = {&c_.s1, &c_.s2, &c_.w1, &c_.w2};
    return *nodes[Pick(4)];
  }
  FakeNode& Worker() { return Pick(2) ? c_.w1 : c_.w2; }

  // Whatever is refused is as good: refused commands must leave no trace.
  void Step() {
    switch (Pick(16)) {
      case 0:
        (void)c_.Register(Any());
        break;
      case 1:
      case 2:
        Serve();
        break;
      case 3:
        Tables();
        break;
      case 4:
        (void)c_.plane->NewProducers(static_cast<uint32_t>(Pick(5)));
        (void)c_.plane->RemoveNode(static_cast<NodeId>(1 + Pick(5)), c_.now);
        break;
      case 5:
        (void)c_.plane->Submit(
            FakeCluster::JobText(static_cast<uint32_t>(Pick(3)), 1 + static_cast<uint32_t>(Pick(4)),
                                 static_cast<uint32_t>(Pick(2))),
            c_.now);
        break;
      case 11:
        (void)c_.plane->Submit(
            FakeCluster::JobTextWith(Pick(3) == 0 ? "ssp" : "sync", 1 + static_cast<uint32_t>(Pick(2)),
                                     1 + static_cast<uint32_t>(Pick(3))),
            c_.now);
        break;
      case 12:
        for (int i = 0; i < 6; ++i) Round();
        break;
      case 14:
      case 15:
        Copies();
        break;
      case 6:
        Lease();
        break;
      case 7:
      case 8:
        Report();
        break;
      case 9:
        (void)c_.plane->Accept(static_cast<ShardId>(Pick(9)), c_.now);
        break;
      case 10:
        if (Pick(4) == 0) (void)c_.plane->Cancel(static_cast<JobId>(1 + Pick(10)), c_.now);
        if (Pick(2) == 0) (void)c_.plane->Pause(static_cast<JobId>(1 + Pick(10)), c_.now);
        for (JobId job = 1; job < 10; ++job) (void)c_.plane->Resume(job, c_.now);
        if (Pick(2) == 0) (void)c_.plane->RemoveJob(static_cast<JobId>(1 + Pick(10)), Pick(2) == 0);
        break;
      default:
        Time();
    }
  }

  void Serve() {
    FakeNode& server = Pick(2) ? c_.s1 : c_.s2;
    for (auto& [id, line] : server.lines) {
      line.applied += Pick(10);
      line.logged = std::max(line.logged, line.applied - Pick(line.applied + 1));
      line.synced = std::max(line.synced, line.logged / 2);
      if (Pick(200) == 0) line.damage = "a scratch";
      if (Pick(100) == 0)
        line.applied = line.logged = line.synced = line.applied / 2;  // seen at its next register
    }
    (void)c_.Beat(server);
  }
  void Copies() {
    if (Pick(3) == 0)
      (void)c_.plane->SetCopies(static_cast<uint32_t>(Pick(4)), static_cast<uint32_t>(Pick(3)), c_.now);
    if (Pick(3) == 0)
      (void)c_.plane->Force(static_cast<ShardId>(Pick(9)), static_cast<NodeId>(1 + Pick(4)), c_.now);
    for (int i = 0; i < 3; ++i) {
      (void)c_.plane->MoveShard(static_cast<ShardId>(Pick(9)),
                                Pick(2) == 0 ? 0 : static_cast<NodeId>(1 + Pick(4)),
                                static_cast<NodeId>(Pick(5)), c_.now);
    }
    if (Pick(4) == 0) (void)c_.plane->Drain(static_cast<NodeId>(1 + Pick(4)), Pick(3) == 0, c_.now);
    if (Pick(8) == 0) (void)c_.plane->SetBalance(Pick(2) == 0);
    if (Pick(8) == 0) (void)c_.plane->Rebalance(c_.now);
    for (FakeNode* server : {&c_.s1, &c_.s2, &c_.s1, &c_.s2}) {
      if (Pick(8) == 0) server->failed[static_cast<ShardId>(Pick(8))] = "it differs";
      if (Pick(4) == 0) server->failed.clear();
      (void)c_.Beat(*server);
      c_.plane->Tick(c_.now);
    }
  }
  void Tables() {
    TableSpec spec;
    spec.name = "t" + std::to_string(Pick(5));
    spec.dim = static_cast<uint32_t>(Pick(3));
    spec.optimizer.learning_rate = 0.1f * static_cast<float>(Pick(10));
    if (Pick(3)) {
      (void)c_.plane->Create(spec, c_.now);
    } else {
      (void)c_.plane->Drop(spec.name, c_.now);
    }
  }
  void Lease() {
    FakeNode& worker = Worker();
    auto answer = c_.plane->Lease(worker.id, worker.session, 1 + static_cast<uint32_t>(Pick(3)), c_.now);
    if (!answer.ok()) return;
    for (const auto& lease : answer->leases) {
      if (lease.seat != 0) {
        seats_.push_back({.worker = &worker, .job = lease.job->id, .token = lease.seat});
      } else {
        tokens_.emplace_back(lease.job->id, lease.job->partitions[lease.partition].token);
      }
    }
  }
  // A seat says what it has done of what it was last told to, and asks again.
  void Round() {
    if (seats_.empty()) return;
    Seat& seat = seats_[seats_.size() - 1 - Pick(std::min<uint64_t>(seats_.size(), 4))];
    SyncQuestion question{.job = seat.job, .seat = seat.token};
    const bool lost = Pick(10) == 0;
    if (seat.told.kind == SyncAction::Kind::kWork && !lost) {
      question.finished = {.round = seat.told.round,
                           .stream = seat.told.stream,
                           .tally = {.examples = Pick(50), .loss_sum = static_cast<double>(Pick(50)) / 7}};
    }
    if (seat.told.kind == SyncAction::Kind::kCommit && !lost) question.committed = seat.told.round;
    c_.log.full = Pick(10) == 0;
    const auto answer = c_.plane->Minibatch(seat.worker->id, seat.worker->session, question, c_.now);
    c_.log.full = false;
    if (answer.ok()) seat.told = answer->action;
  }
  void Report() {
    if (tokens_.empty()) return;
    FakeNode& worker = Worker();
    const auto [job, token] = tokens_[tokens_.size() - 1 - Pick(std::min<uint64_t>(tokens_.size(), 6))];
    ReportedProgress line{.job = job,
                          .token = token,
                          .recorded = Pick(50),
                          .tally = {.examples = Pick(1000),
                                    .loss_sum = static_cast<double>(Pick(1000)) / 7,
                                    .bad_records = Pick(3)},
                          .done = Pick(2) == 0,
                          .result = R"({"loss":0.1})",
                          .error = {}};
    const uint64_t fate = Pick(20);
    if (fate == 0) line.error = InvalidArgument("malformed line");
    if (fate < 3) line.error = Unavailable("gone");
    (void)c_.plane->Report(worker.id, worker.session, {line}, c_.now);
  }
  void Time() {
    if (Pick(30) == 0) return c_.Start();
    c_.log.full = Pick(10) == 0;
    for (uint64_t i = Pick(20); i > 0; --i) {
      c_.now.ms += 100;
      c_.now.wall_ms += 100;
      c_.plane->Tick(c_.now);
    }
    c_.log.full = false;
  }

  std::mt19937_64 random_;
  FakeCluster c_{2};
  std::vector<std::pair<JobId, LeaseToken>> tokens_;
  struct Seat {
    FakeNode* worker = nullptr;
    JobId job = 0;
    LeaseToken token = 0;
    SyncAction told = {};
  };
  std::vector<Seat> seats_;
};

TEST(ReplayTest, EqualFromTheBeginningAndFromAnySnapshot) {
  std::map<std::string, int> types;
  for (uint64_t seed = 1; seed <= 40; ++seed) {
    SCOPED_TRACE("seed " + std::to_string(seed));
    RandomRun run(seed);
    run.Run(400);
    const MemoryLog& log = run.cluster().log;
    for (const auto& command : log.commands)
      ++types[nlohmann::json::parse(command)["type"].get<std::string>()];
    const std::string expected = run.cluster().plane->state().ToJson().dump();
    ASSERT_EQ(log.Replay().ToJson().dump(), expected);
    std::mt19937_64 random(seed);
    for (int i = 0; i < 5; ++i) {
      const size_t begin = random() % log.commands.size();
      ASSERT_EQ(log.Replay(begin).ToJson().dump(), expected) << "from the snapshot before command " << begin;
    }
  }
  EXPECT_EQ(types.size(), std::variant_size_v<Command>)
      << "a run that never makes some command proves nothing about it";
}

TEST(CommandTest, UnknownVersionsAndTypesAreRefused) {
  auto json = CommandToJson(DropTable{3});
  EXPECT_TRUE(CommandFromJson(json).ok());
  json["v"] = 2;
  EXPECT_EQ(CommandFromJson(json).status().code(), Code::kFailedPrecondition);
  json["v"] = 1;
  json["type"] = "paint_shard";
  EXPECT_EQ(CommandFromJson(json).status().code(), Code::kFailedPrecondition);
  EXPECT_EQ(CommandFromJson({{"v", 1}, {"type", "drop_table"}}).status().code(), Code::kDataLoss);
  EXPECT_EQ(CommandFromJson(nlohmann::json("text")).status().code(), Code::kDataLoss);
}

// What was journaled before there were process ids, log files, limits of files and balancing is read without
// them.
TEST(ClusterStateTest, JournalsOfEarlierVersionsAreRead) {
  auto node = CommandToJson(RegisterNode{
      .node = {.id = 1, .name = "server-1", .session = 1, .pid = 4711, .log = "/l"}, .lsns = {}});
  EXPECT_EQ(node["node"].erase("pid") + node["node"].erase("log"), 2u);
  const auto registered = CommandFromJson(node);
  ASSERT_TRUE(registered.ok()) << registered.status().ToString();
  EXPECT_EQ(std::get<RegisterNode>(*registered).node.pid, 0u);

  auto job = CommandToJson(SubmitJob{
      .job = 1, .name = "x", .spec = "{}", .passes = 1, .train_partitions = 1, .limit_files = true});
  EXPECT_EQ(job.erase("limit_files"), 1u);
  const auto submitted = CommandFromJson(job);
  ASSERT_TRUE(submitted.ok()) << submitted.status().ToString();
  EXPECT_FALSE(std::get<SubmitJob>(*submitted).limit_files);

  ClusterState state;
  for (const Command& command :
       {Command(BeginTerm{.term = 1, .cluster = 0xc1, .shards = 8}), *registered, *submitted}) {
    const Status applied = state.Apply(command);
    ASSERT_TRUE(applied.ok()) << applied.ToString();
  }
  auto snapshot = state.ToJson();
  EXPECT_EQ(snapshot["nodes"][0][1].erase("pid") + snapshot["nodes"][0][1].erase("log"), 2u);
  EXPECT_EQ(snapshot["jobs"][0][1].erase("limit_files"), 1u);
  EXPECT_EQ(snapshot.erase("balance"), 1u);
  const auto read = ClusterState::FromJson(snapshot);
  ASSERT_TRUE(read.ok()) << read.status().ToString();
  EXPECT_EQ(read->ToJson().dump(), state.ToJson().dump());
}

TEST(ClusterStateTest, RefusedCommandsChangeNothing) {
  FakeCluster c;
  c.Up();
  ClusterState state = c.log.Replay();
  const std::string before = state.ToJson().dump();
  TableSpec bad;
  bad.name = "no spaces";
  bad.id = 1;
  const std::vector<Command> refused = {
      BeginTerm{.term = 7, .cluster = 0xc1, .shards = 8},
      BeginTerm{.term = 2, .cluster = 0xc1, .shards = 16},
      RegisterNode{.node = {.id = 9, .session = 100}},
      PlaceShards{{{.shard = 0, .node = 1, .incarnation = 100}}},
      RecordLsns{{{.shard = 8}}},
      GrantShards{{{.shard = 0, .epoch = 1, .min_lsn = 1}}},
      QuarantineShards{{{.shard = 0, .reason = ""}}},
      AcceptLoss{.shard = 0},
      CreateTable{bad},
      DropTable{5},
      AllocateProducers{.first = 99, .count = 1},
      SubmitJob{.job = 1, .name = "x", .spec = "{}", .passes = 1},
      LeasePartitions{.node = 1, .session = 1, .leases = {{.job = 1, .partition = 0, .token = 1}}},
      LeasePartitions{.node = 1, .session = 99},
      RecordProgress{{{.job = 1}}},
      FinishPartition{},
      FreeLeases{{{.job = 1}}},
      AdvanceJob{.job = 1},
      PauseJob{.job = 1},
      EndJob{.job = 1},
      RemoveJobs{.jobs = {1}},
      RemoveNode{.node = 9},
  };
  for (const auto& command : refused) {
    EXPECT_FALSE(state.Apply(command).ok()) << CommandToJson(command).dump();
    EXPECT_EQ(state.ToJson().dump(), before);
  }
}

}  // namespace
}  // namespace penstock
