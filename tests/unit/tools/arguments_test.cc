// The command line: what is understood, what is refused and with which code.
#include "tools/cli/arguments.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <sstream>

#include "tools/cli/exit_code.h"

namespace penstock {
namespace {

using testing::HasSubstr;
using testing::Not;

struct Parsed {
  std::optional<int> code;
  Arguments arguments;
  std::string out, err;
};

Parsed Parse(std::vector<const char*> words) {
  Parsed parsed;
  std::ostringstream out, err;
  words.insert(words.begin(), "penstock");
  parsed.code = ParseArguments(static_cast<int>(words.size()), words.data(), &parsed.arguments, out, err);
  parsed.out = out.str();
  parsed.err = err.str();
  return parsed;
}

TEST(Arguments, Up) {
  const auto p = Parse({"up", "--data-dir", "d", "--servers", "2", "--workers", "3", "--detach", "--set",
                        "log.level=error", "--set", "server.cores=2"});
  ASSERT_EQ(p.code, std::nullopt) << p.err;
  EXPECT_EQ(p.arguments.command, "up");
  EXPECT_EQ(p.arguments.target.data_dir, "d");
  EXPECT_EQ(p.arguments.servers, 2u);
  EXPECT_EQ(p.arguments.workers, 3u);
  EXPECT_TRUE(p.arguments.detach);
  EXPECT_EQ(p.arguments.assignments, (std::vector<std::string>{"log.level=error", "server.cores=2"}));
  EXPECT_EQ(p.arguments.config, std::nullopt);
}

TEST(Arguments, NumbersThatWereNotGivenAreNothing) {
  const auto p = Parse({"up"});
  ASSERT_EQ(p.code, std::nullopt);
  EXPECT_EQ(p.arguments.servers, std::nullopt);
  EXPECT_EQ(p.arguments.workers, std::nullopt);
}

TEST(Arguments, NestedCommandsAndOutput) {
  const auto nodes = Parse({"node", "ls", "-o", "json", "--scheduler", "h:1", "--token-file", "t"});
  ASSERT_EQ(nodes.code, std::nullopt) << nodes.err;
  EXPECT_EQ(nodes.arguments.command, "node ls");
  EXPECT_EQ(nodes.arguments.output, OutputFormat::kJson);
  EXPECT_EQ(nodes.arguments.target.scheduler, "h:1");
  EXPECT_EQ(nodes.arguments.target.token_file, "t");
  const auto rows = Parse({"table", "get", "user", "17", "4711"});
  ASSERT_EQ(rows.code, std::nullopt) << rows.err;
  EXPECT_EQ(rows.arguments.command, "table get");
  EXPECT_EQ(rows.arguments.name, "user");
  EXPECT_EQ(rows.arguments.keys, (std::vector<uint64_t>{17, 4711}));
  EXPECT_EQ(Parse({"shard", "accept-loss", "5", "7"}).arguments.ids, (std::vector<uint32_t>{5, 7}));
  EXPECT_TRUE(Parse({"shard", "accept-loss", "--all"}).arguments.all);
  EXPECT_EQ(Parse({"job", "show", "010"}).arguments.id, 10u) << "not eight";
  const auto force = Parse({"shard", "force", "5", "2"});
  ASSERT_EQ(force.code, std::nullopt) << force.err;
  EXPECT_EQ(force.arguments.command, "shard force");
  EXPECT_EQ(force.arguments.id, 5u);
  EXPECT_EQ(force.arguments.node, 2u);
  EXPECT_EQ(Parse({"shard", "force", "5"}).code, 2) << "which copy is for the operator to say";
  const auto move = Parse({"shard", "move", "5", "7", "--to", "server-2", "--from", "1"});
  ASSERT_EQ(move.code, std::nullopt) << move.err;
  EXPECT_EQ(move.arguments.command, "shard move");
  EXPECT_EQ(move.arguments.ids, (std::vector<uint32_t>{5, 7}));
  EXPECT_EQ(move.arguments.to, "server-2");
  EXPECT_EQ(move.arguments.from, "1");
  EXPECT_TRUE(Parse({"shard", "move", "5", "--cancel"}).arguments.cancel);
  EXPECT_EQ(Parse({"shard", "move", "5", "--cancel", "--to", "2"}).code, 2);
  const auto drain = Parse({"node", "drain", "server-2", "--wait", "--timeout", "1.5"});
  ASSERT_EQ(drain.code, std::nullopt) << drain.err;
  EXPECT_EQ(drain.arguments.wanted, "server-2");
  EXPECT_TRUE(drain.arguments.wait);
  EXPECT_EQ(drain.arguments.timeout_seconds, 1.5);
  EXPECT_EQ(Parse({"node", "drain", "server-2", "--timeout", "1"}).code, 2) << "without --wait";
  EXPECT_EQ(Parse({"node", "undrain", "3"}).arguments.wanted, "3");
  const auto plan = Parse({"cluster", "rebalance", "--dry-run", "--explain"});
  ASSERT_EQ(plan.code, std::nullopt) << plan.err;
  EXPECT_TRUE(plan.arguments.dry_run);
  EXPECT_TRUE(plan.arguments.explain);
  EXPECT_EQ(Parse({"cluster", "rebalance", "off"}).arguments.word, "off");
  EXPECT_EQ(Parse({"cluster", "rebalance", "of"}).code, 2);
  EXPECT_EQ(Parse({"cluster", "rebalance", "on", "--dry-run"}).code, 2);
  const auto remove = Parse({"node", "remove", "4"});
  ASSERT_EQ(remove.code, std::nullopt) << remove.err;
  EXPECT_EQ(remove.arguments.command, "node remove");
  EXPECT_EQ(remove.arguments.id, 4u);
  EXPECT_TRUE(Parse({"job", "rm", "4", "--tables"}).arguments.drop_tables);
  EXPECT_EQ(Parse({"table", "drop", "w"}).arguments.name, "w");
  for (const char* verb : {"pause", "resume", "partitions", "rm"}) {
    const auto job = Parse({"job", verb, "7"});
    ASSERT_EQ(job.code, std::nullopt) << job.err;
    EXPECT_EQ(job.arguments.command, std::string("job ") + verb);
    EXPECT_EQ(job.arguments.id, 7u);
  }
}

TEST(Arguments, Copies) {
  const auto p = Parse({"cluster", "copies", "3", "--min", "2"});
  ASSERT_EQ(p.code, std::nullopt) << p.err;
  EXPECT_EQ(p.arguments.command, "cluster copies");
  EXPECT_EQ(p.arguments.wanted_copies, 3u);
  EXPECT_EQ(p.arguments.min_copies, 2u);
  EXPECT_EQ(Parse({"cluster", "copies", "2"}).arguments.min_copies, 1u);
  EXPECT_EQ(Parse({"cluster", "copies", "4"}).code, 2);
  const auto read = Parse({"cluster", "copies", "-o", "json"});
  ASSERT_EQ(read.code, std::nullopt) << read.err;
  EXPECT_EQ(read.arguments.wanted_copies, std::nullopt) << "then it only says how many there are";
  EXPECT_EQ(Parse({"cluster", "copies", "--min", "2"}).code, 2);
}

TEST(Arguments, ConfigHasTwoKinds) {
  for (const char* verb : {"sample", "docs"}) {
    EXPECT_EQ(Parse({"config", verb}).arguments.name, "cluster") << verb;
    const auto job = Parse({"config", verb, "job"});
    ASSERT_EQ(job.code, std::nullopt) << job.err;
    EXPECT_EQ(job.arguments.command, std::string("config ") + verb);
    EXPECT_EQ(job.arguments.name, "job");
  }
}

TEST(Arguments, TrainLocally) {
  const auto p = Parse({"train", "job.toml", "--local", "--servers", "2", "--workers", "2", "--set",
                        "train.passes=5", "--report", "r.json"});
  ASSERT_EQ(p.code, std::nullopt) << p.err;
  EXPECT_EQ(p.arguments.job_file, "job.toml");
  EXPECT_TRUE(p.arguments.local);
  EXPECT_EQ(p.arguments.report, "r.json");
  EXPECT_EQ(p.arguments.assignments, std::vector<std::string>{"train.passes=5"});
}

TEST(Arguments, BenchStep) {
  const auto p = Parse({"bench", "step", "--dim", "64", "--keys", "100", "--rows", "1000", "--optimizer",
                        "add", "--inflight", "4", "--workers", "2", "--skew", "zipf:1.05", "--pin"});
  ASSERT_EQ(p.code, std::nullopt) << p.err;
  EXPECT_EQ(p.arguments.command, "bench step");
  const WorkloadOptions& o = p.arguments.workload;
  EXPECT_EQ(o.work, Work::kStep);
  EXPECT_EQ(o.dim, 64u);
  EXPECT_EQ(o.keys, 100u);
  EXPECT_EQ(o.rows, 1000u);
  EXPECT_EQ(o.optimizer, "add");
  EXPECT_EQ(o.inflight, 4u);
  EXPECT_EQ(o.workers, 2u);
  EXPECT_EQ(o.skew, "zipf:1.05");
  EXPECT_EQ(o.batches, 500u);
  EXPECT_TRUE(p.arguments.pin);
}

TEST(Arguments, BenchPullPushAndLatency) {
  EXPECT_EQ(Parse({"bench", "pull"}).arguments.workload.work, Work::kPull);
  EXPECT_EQ(Parse({"bench", "push"}).arguments.workload.work, Work::kPush);
  const auto latency = Parse({"bench", "latency", "--seconds", "3"});
  ASSERT_EQ(latency.code, std::nullopt) << latency.err;
  EXPECT_EQ(latency.arguments.workload.keys, 1u);
  EXPECT_EQ(latency.arguments.workload.inflight, 1u);
  EXPECT_EQ(latency.arguments.workload.seconds, 3);
  EXPECT_EQ(latency.arguments.workload.spin_us, 1000u);
  EXPECT_EQ(Parse({"bench", "pull"}).arguments.workload.spin_us, 0u);
  EXPECT_EQ(Parse({"bench", "step", "--spin-us", "200"}).arguments.workload.spin_us, 200u);
}

TEST(Arguments, BenchDense) {
  const auto p = Parse({"bench", "dense", "--mib", "16", "--inflight", "8", "--skip-log-off"});
  ASSERT_EQ(p.code, std::nullopt) << p.err;
  EXPECT_EQ(p.arguments.dense.mib, 16u);
  EXPECT_EQ(p.arguments.dense.inflight, 8u);
  EXPECT_TRUE(p.arguments.skip_log_off);
}

TEST(Arguments, BenchWorkerIsHidden) {
  EXPECT_EQ(Parse({"bench", "worker"}).code, std::nullopt);
  EXPECT_THAT(Parse({"bench", "--help"}).out, Not(HasSubstr("worker")));
  EXPECT_THAT(Parse({"bench", "nothing"}).err, Not(HasSubstr("worker")));
}

TEST(Arguments, BenchMemory) {
  const auto p = Parse({"bench", "memory", "--budget-bytes", "33554432", "--rows", "1000", "--zipf", "1.2"});
  ASSERT_EQ(p.code, std::nullopt) << p.err;
  EXPECT_EQ(p.arguments.memory.budget_bytes, 33554432u);
  EXPECT_EQ(p.arguments.memory.rows, 1000u);
  EXPECT_EQ(p.arguments.memory.zipf, 1.2);
  EXPECT_EQ(p.arguments.memory.dim, 64u);
}

TEST(Arguments, HelpAndVersionEndWithZero) {
  const auto help = Parse({"--help"});
  EXPECT_EQ(help.code, kExitOk);
  for (const char* command :
       {"up", "down", "status", "train", "evaluate", "table", "shard", "node", "job", "bench", "config"}) {
    EXPECT_THAT(help.out, HasSubstr(std::string("\n  ") + command + " ")) << command;
  }
  EXPECT_EQ(Parse({"train", "--help"}).code, kExitOk);
  const auto version = Parse({"--version"});
  EXPECT_EQ(version.code, kExitOk);
  EXPECT_THAT(version.out, HasSubstr("penstock "));
}

struct Mistake {
  std::vector<const char*> words;
  const char* named;
};
class Mistakes : public testing::TestWithParam<Mistake> {};

TEST_P(Mistakes, EndWithTwoAndNameTheWord) {
  const auto p = Parse(GetParam().words);
  EXPECT_EQ(p.code, kExitUsage);
  EXPECT_THAT(p.err, HasSubstr(GetParam().named));
}

INSTANTIATE_TEST_SUITE_P(
    All, Mistakes,
    testing::Values(
        Mistake{{}, "subcommand"}, Mistake{{"frobnicate"}, "frobnicate"},
        Mistake{{"up", "--servrs", "2"}, "--servrs"}, Mistake{{"up", "--servers", "0"}, "--servers"},
        Mistake{{"up", "--servers", "two"}, "--servers"}, Mistake{{"up", "--workers", "-1"}, "--workers"},
        Mistake{{"node"}, "subcommand"}, Mistake{{"train"}, "job_file"},
        Mistake{{"train", "j", "--servers", "2"}, "--local"},
        Mistake{{"train", "j", "--local", "--data-dir", "d"}, "--data-dir"},
        Mistake{{"status", "-o", "xml"}, "output"}, Mistake{{"status", "--token-file", "t"}, "--scheduler"},
        Mistake{{"status", "--scheduler", "h:1", "--data-dir", "d"}, "--data-dir"},
        Mistake{{"table", "get", "t"}, "keys"}, Mistake{{"table", "get", "t", "x"}, "keys"},
        Mistake{{"job", "show", "one"}, "job"}, Mistake{{"evaluate", "1", "--labels", "l"}, "--data"},
        Mistake{{"bench", "step", "--scheduler", "h:1", "--servers", "2"}, "--servers"},
        Mistake{{"bench", "step", "--scheduler", "h:1", "--pin"}, "--pin"},
        Mistake{{"bench", "dense", "--data-dir", "d", "--skip-log-off"}, "--skip-log-off"},
        Mistake{{"config", "sample", "server"}, "server"}));

struct Hint {
  std::vector<const char*> words;
  std::vector<const char*> said;
};
class Hints : public testing::TestWithParam<Hint> {};

TEST_P(Hints, SayWhatIsAllowedOrWasMeant) {
  const auto p = Parse(GetParam().words);
  EXPECT_EQ(p.code, kExitUsage);
  for (const char* said : GetParam().said) EXPECT_THAT(p.err, HasSubstr(said));
}

INSTANTIATE_TEST_SUITE_P(
    All, Hints,
    testing::Values(
        Hint{{"statsu"}, {"'statsu' is no command of penstock: did you mean 'status'?"}},
        Hint{{"job", "shwo", "1"}, {"'shwo' is no command of penstock job: did you mean 'show'?"}},
        Hint{{"job", "list"}, {"'list' is no command of penstock job: there are ls, show, "}},
        Hint{{"up", "--servrs", "2"}, {"'--servrs' is no option of penstock up: did you mean '--servers'?"}},
        Hint{{"up", "--quickly"},
             {"'--quickly' is no option of penstock up: there are ", "--data-dir, --servers"}},
        Hint{{"job", "show", "--outptu", "json"}, {"'--outptu'", "did you mean '--output'?"}},
        Hint{{"train", "j.toml", "--repot=r.json"}, {"'--repot'", "did you mean '--report'?"}},
        Hint{{"status", "-o", "jsno"},
             {"'jsno' is not allowed, there are table, json: did you mean 'json'?"}},
        Hint{{"config", "sample", "server"}, {"'server' is not allowed, there are cluster, job"}},
        Hint{{"bench", "train", "--model", "tree"}, {"'tree' is not allowed, there are linear, fm, deep"}},
        Hint{{"table", "get", "t", "x"},
             {"'x' is not allowed, it is a whole number from 0 to 18446744073709551615"}},
        Hint{{"table", "get", "t", "18446744073709551616"},
             {"keys", "'18446744073709551616' is not allowed"}},
        Hint{{"job", "show", "-1"}, {"-1"}}, Hint{{"job", "show", "4294967296"}, {"from 0 to 4294967295"}},
        Hint{{"status", "--scheduler", "here"}, {"'here' is not allowed, it is host:port"}},
        Hint{{"status", "--scheduler", "127.0.0.1:99999"}, {"--scheduler", "it is host:port"}},
        Hint{{"shard", "accept-loss"}, {"--all"}}, Hint{{"shard", "accept-loss", "--all", "3"}, {"--all"}},
        Hint{{"cluster", "copies", "4"}, {"from 1 to 3"}}));

TEST(ExitCodes, FollowWhatTheCallerCanDo) {
  EXPECT_EQ(ExitCodeOf(Status::Ok()), 0);
  EXPECT_EQ(ExitCodeOf(NotFound("x")), 1);
  EXPECT_EQ(ExitCodeOf(FailedPrecondition("x")), 1);
  EXPECT_EQ(ExitCodeOf(DataLoss("x")), 1);
  EXPECT_EQ(ExitCodeOf(Overloaded("x")), 1);
  EXPECT_EQ(ExitCodeOf(InvalidArgument("x")), 2);
  EXPECT_EQ(ExitCodeOf(Unavailable("x")), 3);
  EXPECT_EQ(ExitCodeOf(PermissionDenied("x")), 4);
  EXPECT_EQ(ExitCodeOf(DeadlineExceeded("x")), 5);
  EXPECT_EQ(ExitCodeOf(OutcomeUnknown("x")), 5);
  EXPECT_EQ(ExitCodeOf(Cancelled("x")), 130);
  EXPECT_EQ(kExitUnhealthy, 10);
}

}  // namespace
}  // namespace penstock
