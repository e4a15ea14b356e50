// The command line as an operator has it: output that is lost, schedulers that do not answer, what is listed,
// and what is removed.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>

#include <algorithm>
#include <chrono>
#include <filesystem>
#include <map>
#include <nlohmann/json.hpp>
#include <set>
#include <sstream>

#include "common/base/atomic_file.h"
#include "tests/cluster/penstock_command.h"
#include "tests/cluster/training_data.h"

namespace penstock {
namespace {

using nlohmann::json;
using testing::ContainsRegex;
using testing::HasSubstr;
using testing::Not;

constexpr const char* kLinearJob = PENSTOCK_SOURCE_DIR "/conf/jobs/a9a_logistic.toml";

bool ContainsLine(const std::string& text, const std::vector<std::string>& parts) {
  std::istringstream lines(text);
  for (std::string line; std::getline(lines, line);) {
    if (std::ranges::all_of(parts, [&](const auto& part) { return line.find(part) != std::string::npos; }))
      return true;
  }
  return false;
}

// A shell's exit code for `command`; what it says on standard error is in `errors`.
int Shell(const std::string& command, const std::string& errors) {
  auto program =
      ChildProgram::Start({.argv = {"/bin/sh", "-c", "cd " + ProgramFolder() + "; exec ./" + command},
                           .output = "/dev/null",
                           .errors = errors,
                           .environment = {}});
  return program.ok() ? program->WaitExit(20000) : -1;
}

TEST(LostOutput, IsAFailure) {
  TemporaryFolder folder;
  int runs = 0;
  for (const std::string command : {"penstock config sample", "penstock --help", "penstock train --help",
                                    "penstock version", "penstock-server --help"}) {
    for (const std::string stream : {">/dev/full", ">&-"}) {
      const std::string errors = folder.path() + "/" + std::to_string(++runs);
      EXPECT_EQ(Shell(command + " " + stream, errors), 1) << command << stream;
      EXPECT_THAT(*ReadWholeFile(errors), HasSubstr("standard output could not be written"))
          << command << stream;
    }
    EXPECT_EQ(Shell(command, folder.path() + "/well"), 0) << command;
  }
  EXPECT_EQ(Shell("penstock frobnicate >/dev/full", folder.path() + "/usage"), 2);
}

TEST(NoScheduler, NamesThatCannotBeResolvedAreUnreachable) {
  for (const std::string address : {"no-such-host.invalid:7000", "127.0.0.1:1"}) {
    const CommandResult status = RunPenstock({"status", "--scheduler", address});
    EXPECT_EQ(status.code, 3) << address << ": " << status.err;
    EXPECT_THAT(status.err, HasSubstr(address));
  }
}

class CommandLine : public testing::Test {
 protected:
  static void SetUpTestSuite() {
    cluster_ = new CommandCluster({.servers = 1, .workers = 1, .set = {}});
    const Status up = cluster_->Up();
    ASSERT_TRUE(up.ok()) << up.ToString();
  }
  static void TearDownTestSuite() {
    EXPECT_EQ(cluster_->Down(), 0);
    delete cluster_;
  }
  static CommandResult Run(std::vector<std::string> arguments) {
    arguments.insert(arguments.end(), {"--data-dir", cluster_->data_dir()});
    return RunPenstock(arguments);
  }
  static json Json(std::vector<std::string> arguments) {
    arguments.insert(arguments.end(), {"-o", "json"});
    return json::parse(Run(arguments).out);
  }
  static inline CommandCluster* cluster_ = nullptr;
};

TEST_F(CommandLine, ProcessesAreFoundByTheirIdsAndLogs) {
  std::set<int> children, listed;
  for (const auto& [name, pid] : cluster_->Children()) children.insert(pid);
  std::istringstream pids(Run({"node", "ls", "--pids"}).out);
  for (int pid; pids >> pid;) listed.insert(pid);
  EXPECT_EQ(listed, children) << "scheduler, server and worker";
  EXPECT_EQ(Json({"node", "ls", "--pids"}).get<std::set<int>>(), children);
  for (const json& node : Json({"node", "ls"})) {
    EXPECT_EQ(node.at("pid"), cluster_->Children().at(node.at("name"))) << node.dump();
    EXPECT_TRUE(std::filesystem::exists(node.at("log").get<std::string>())) << node.dump();
  }
  EXPECT_THAT(Run({"node", "ls"}).out, HasSubstr("/logs/server-1.INFO"));
  EXPECT_THAT(Run({"status"}).out, HasSubstr("/logs/scheduler.INFO"));
}

TEST_F(CommandLine, AFrozenSchedulerIsToldFromAMissingOne) {
  const pid_t scheduler = cluster_->Children().at("scheduler");
  ::kill(scheduler, SIGSTOP);
  const CommandResult frozen = Run({"status"});
  ::kill(scheduler, SIGCONT);
  EXPECT_EQ(frozen.code, 5) << frozen.err;
  EXPECT_THAT(frozen.err,
              HasSubstr("(process " + std::to_string(scheduler) + ") is there, but does not answer"));
  EXPECT_THAT(frozen.err, Not(HasSubstr("penstock up")));
  EXPECT_TRUE(WaitFor(10000, [] { return Run({"status"}).code == 0; })) << Run({"status"}).out;
}

TEST_F(CommandLine, LogsAreFoldedWhenAskedFor) {
  const CommandResult fold = Run({"fold"});
  EXPECT_EQ(fold.code, 0) << fold.err;
  EXPECT_THAT(fold.out, HasSubstr("all servers fold their logs now"));
}

TEST_F(CommandLine, HealthyShardsAreSummarised) {
  const CommandResult shards = Run({"shard", "ls"});
  EXPECT_THAT(shards.out, HasSubstr("128 of 128 shards are served, with all their copies in sync"));
  EXPECT_LT(std::count(shards.out.begin(), shards.out.end(), '\n'), 10) << shards.out;
  EXPECT_EQ(Json({"shard", "ls"}).size(), 128u);
  const CommandResult copies = Run({"cluster", "copies"});
  EXPECT_EQ(copies.out, "copies of each shard: 1, at least 1 in sync; 128 of 128 shards have all now\n");
  const CommandResult accepted = Run({"shard", "accept-loss", "--all"});
  EXPECT_EQ(accepted.code, 0) << accepted.err;
  EXPECT_EQ(accepted.out, "no shard is quarantined: there is no loss to accept\n");
  EXPECT_EQ(Run({"shard", "accept-loss", "3"}).code, 1);
}

TEST_F(CommandLine, RowsSayWhetherTheyAreStored) {
  auto client = cluster_->Connect();
  ASSERT_TRUE(client.ok()) << client.status().ToString();
  TableSpec spec{.name = "tensor", .dim = 4, .dense_size = 10};
  spec.optimizer.kind = OptimizerKind::kAdd;
  const auto table = (*client)->CreateTable(spec);
  ASSERT_TRUE(table.ok()) << table.status().ToString();
  ASSERT_TRUE((*client)->Push(table->id, std::vector<Key>{1}, std::vector<float>{0.1f, 1, 2, 3}).ok());
  EXPECT_EQ(Run({"table", "get", "tensor", "0", "1"}).out,
            "KEY  ROW      VALUES\n"
            "  0  initial  0 0 0 0\n"
            "  1  stored   0.1 1 2 3\n");
  EXPECT_EQ(Run({"table", "get", "tensor", "2"}).out,
            "KEY  ROW      VALUES\n"
            "  2  initial  0 0\n");
  const CommandResult beyond = Run({"table", "get", "tensor", "1", "3"});
  EXPECT_EQ(beyond.code, 2);
  EXPECT_THAT(beyond.err,
              HasSubstr("a tensor of 10 floats in rows of 4: it has no row 3, allowed are 0 to 2"));

  // Whoever has a dropped table in mind hears of it at once.
  ASSERT_EQ(Run({"table", "drop", "tensor"}).code, 0);
  EXPECT_EQ(Run({"table", "drop", "tensor"}).code, 1);
  const auto begin = std::chrono::steady_clock::now();
  Status pulled, pushed;
  EXPECT_TRUE(WaitFor(5000, [&] {  // until the server has heard of it
    pulled = (*client)->Pull(table->id, std::vector<Key>{1}).status();
    return !pulled.ok();
  }));
  pushed = (*client)->Push(table->id, std::vector<Key>{1}, std::vector<float>{1, 1, 2, 3}).status();
  EXPECT_EQ(pulled.code(), Code::kNotFound) << pulled.ToString();
  EXPECT_EQ(pushed.code(), Code::kNotFound) << pushed.ToString();
  EXPECT_LT(std::chrono::steady_clock::now() - begin, std::chrono::seconds(6)) << "not after the deadline";
}

TEST_F(CommandLine, AJobFromItsReportToItsRemoval) {
  const std::string data = cluster_->folder().Write("data.libsvm", GenerateLibsvm(500, 1)),
                    test = cluster_->folder().Write("test.libsvm", GenerateLibsvm(100, 2));
  const std::vector<std::string> train{"train", kLinearJob,          "--set", "data.train=" + data,
                                       "--set", "data.test=" + test, "--set", "train.passes=2"};
  const auto with_report = [&](const std::string& path) {
    std::vector<std::string> arguments = train;
    arguments.insert(arguments.end(), {"--report", path});
    return Run(arguments);
  };
  const std::string link = cluster_->folder().path() + "/link.json";
  std::filesystem::create_symlink(cluster_->folder().path() + "/target.json", link);
  const std::vector<std::string> wrong = {cluster_->folder().path(), "/dev/null", link,
                                          cluster_->folder().path() + "/none/report.json"};
  for (const std::string& path : wrong) {
    const CommandResult refused = with_report(path);
    EXPECT_EQ(refused.code, 1) << refused.err;
    EXPECT_THAT(refused.err, HasSubstr("--report " + path));
  }
  EXPECT_EQ(Json({"job", "ls"}).size(), 0u) << "nothing was trained for it";

  // A table that somebody has made under the name of the job's does not keep the job from running.
  auto client = cluster_->Connect();
  ASSERT_TRUE(client.ok());
  const std::string name =
      json::parse(Run(train).code == 0 ? Run({"job", "show", "1", "-o", "json"}).out : "{}")
          .value("name", "?");
  TableSpec taken{.name = name + ".2/weights", .dim = 1};
  ASSERT_TRUE((*client)->CreateTable(taken).ok());
  const CommandResult done = with_report(cluster_->report());
  ASSERT_EQ(done.code, 0) << done.err;
  const auto report = json::parse(*ReadWholeFile(cluster_->report()));
  EXPECT_EQ(report.at("skipped_records"), 0);
  EXPECT_EQ(report.at("options").at("train").at("passes"), 2);

  EXPECT_THAT(Run({"job", "ls"}).out, ContainsRegex("\n +3  [^ ]+ +done +- "));
  const json job = Json({"job", "show", "3"});
  EXPECT_EQ(job.at("pass"), 2) << "passes are counted from 1 on";
  EXPECT_THAT(Run({"job", "show", "3"}).out, HasSubstr("\n  train.passes = 2\n"));
  EXPECT_THAT(Run({"job", "show", "3"}).out, HasSubstr("skipped records    0\n"));
  EXPECT_THAT(Run({"job", "show", "3"}).out, ContainsRegex("held-out data: +loss 0\\.[0-9]+"));
  EXPECT_THAT(Run({"job", "resume", "3"}).err, HasSubstr("only a paused job can be resumed"));
  const CommandResult kept = Run({"job", "rm", "1"});
  EXPECT_EQ(kept.code, 0) << kept.err;
  EXPECT_THAT(kept.out, HasSubstr("job 1 is removed; its tables stay: " + name + ".1/"));
  EXPECT_EQ(Run({"job", "show", "1"}).code, 1);
  const std::string table = job.at("tables").at(0);
  EXPECT_EQ(Run({"table", "describe", table}).code, 0);
  EXPECT_THAT(Run({"job", "rm", "3", "--tables"}).out, HasSubstr("and its tables: " + table));
  EXPECT_EQ(Run({"table", "describe", table}).code, 1);
}

// Its server stands still, then the scheduler: the reason is in the line of `train`, in `job show` and in the
// status.
TEST(StandingStill, SaysWhy) {
  CommandCluster cluster({.servers = 1, .workers = 1, .set = {}});
  ASSERT_TRUE(cluster.Up().ok()) << cluster.Output();
  const std::string data = cluster.folder().Write("data.libsvm", GenerateLibsvm(500, 1));
  auto train = cluster.Train(kLinearJob, {"data.train=" + data, "data.test=", "train.passes=100000"});
  ASSERT_TRUE(train.ok()) << train.status().ToString();
  const auto run = [&](std::vector<std::string> arguments) {
    arguments.insert(arguments.end(), {"--data-dir", cluster.data_dir()});
    return RunPenstock(arguments);
  };
  const auto says = [](const std::string& text, const std::string& part) {
    return text.find(part) != std::string::npos;
  };
  ASSERT_TRUE(WaitFor(30000, [&] { return says(run({"job", "show", "1"}).out, "running"); }));
  ASSERT_TRUE(WaitFor(30000, [&] { return says(cluster.TrainOutput(), " examples ("); }))
      << cluster.TrainOutput();
  const std::string why = "server-1 is dead";
  const pid_t server = cluster.Children().at("server-1"), scheduler = cluster.Children().at("scheduler");
  ::kill(server, SIGSTOP);
  EXPECT_TRUE(WaitFor(30000, [&] { return run({"status"}).code == 10 && says(run({"status"}).out, why); }))
      << run({"status"}).out;
  EXPECT_TRUE(WaitFor(30000, [&] {
    return says(run({"job", "show", "1"}).out, "cluster:  " + why);
  })) << run({"job", "show", "1"}).out;
  const CommandResult row = run({"table", "get", "a9a_logistic.1/weights", "1"});
  EXPECT_EQ(row.code, 3) << row.err;
  EXPECT_THAT(row.err, HasSubstr("the shard is unavailable: server-1 "));
  EXPECT_TRUE(WaitFor(30000, [&] {
    return ContainsLine(cluster.TrainOutput(), {"stands still for ", why});
  })) << cluster.TrainOutput();
  ::kill(server, SIGCONT);
  ::kill(scheduler, SIGSTOP);
  EXPECT_TRUE(WaitFor(60000, [&] { return says(cluster.TrainOutput(), "the scheduler does not answer ("); }))
      << cluster.TrainOutput();
  ::kill(scheduler, SIGCONT);
  EXPECT_TRUE(WaitFor(30000, [&] { return says(cluster.TrainOutput(), "the scheduler answers again"); }))
      << cluster.TrainOutput();
  EXPECT_TRUE(WaitFor(30000, [&] { return run({"job", "cancel", "1"}).code == 0; }));
  EXPECT_NE(train->WaitExit(30000), -1);
  EXPECT_EQ(cluster.Down(), 0);
}

TEST(PrivateClusters, OneThatWasKilledLeavesNothing) {
  TemporaryFolder folder;
  const std::string data = folder.Write("data.libsvm", GenerateLibsvm(500, 1));
  const std::string log = folder.path() + "/train.out";
  const std::vector<std::string> train{
      ProgramFolder() + "/penstock", "train", kLinearJob,   "--local", "--set",
      "data.train=" + data,          "--set", "data.test=", "--set",   "train.passes=100000"};
  const auto environment = std::map<std::string, std::string>{{"TMPDIR", folder.path()}};
  auto killed = ChildProgram::Start({.argv = train, .output = log, .environment = environment});
  ASSERT_TRUE(killed.ok()) << killed.status().ToString();
  ASSERT_TRUE(WaitFor(30000, [&] {
    const auto said = ReadWholeFile(log);
    return said.ok() && said->find(" examples (") != std::string::npos;
  }));
  killed->Kill();
  std::vector<std::string> next = train;
  next.back() = "train.passes=1";
  auto second = ChildProgram::Start({.argv = next, .output = log + "2", .environment = environment});
  ASSERT_TRUE(second.ok());
  EXPECT_EQ(second->WaitExit(60000), 0);
  EXPECT_THAT(*ReadWholeFile(log + "2"), HasSubstr("which a private cluster that was killed had left"));
  int left = 0;
  for (const auto& entry : std::filesystem::directory_iterator(folder.path())) left += entry.is_directory();
  EXPECT_EQ(left, 0);
}

TEST(LauncherLines, CarryTimesAndAServerFewerIsSaid) {
  TemporaryFolder folder;
  const std::string data = folder.path() + "/data";
  const auto up = [&](const std::string& servers, std::vector<std::string> set = {}) {
    set.insert(set.begin(), {"up", "--data-dir", data, "--servers", servers, "--workers", "1", "--detach"});
    return RunPenstock(set);
  };
  const auto run = [&](std::vector<std::string> arguments) {
    arguments.insert(arguments.end(), {"--data-dir", data});
    return RunPenstock(arguments);
  };
  ASSERT_EQ(up("1").code, 0);
  ASSERT_EQ(run({"down"}).code, 0);
  const CommandResult copies = up("2", {"--set", "scheduler.copies=2"});
  ASSERT_EQ(copies.code, 0);
  EXPECT_THAT(copies.out, HasSubstr("without effect: scheduler.copies = 2"));
  ASSERT_EQ(run({"down"}).code, 0);
  // Settings that are given take the place of all: what goes is said.
  const CommandResult other = up("2", {"--set", "server.memory_lag_ms=50"});
  ASSERT_EQ(other.code, 0) << other.err;
  EXPECT_THAT(other.out + other.err, HasSubstr("not set any more: scheduler.copies=2"));
  ASSERT_EQ(run({"down"}).code, 0);
  const CommandResult fewer = up("1");
  ASSERT_EQ(fewer.code, 0) << fewer.err;
  const std::string lines = data + "/logs/launcher.out";
  EXPECT_THAT(fewer.out, HasSubstr("what it has to say goes to " + lines));
  EXPECT_THAT(fewer.out, ContainsRegex("not started: server-2, .*`penstock node remove [0-9]*`"));
  CommandResult status;
  ASSERT_TRUE(WaitFor(20000, [&] {
    status = run({"status"});
    return status.code == 10 && status.out.find("server-2 is dead; it holds no shard") != std::string::npos;
  })) << status.out;
  std::string second;
  for (const json& node : json::parse(run({"node", "ls", "-o", "json"}).out)) {
    if (node.at("name") == "server-2") second = node.at("id").dump();
    if (node.at("name") == "server-1") {
      EXPECT_EQ(run({"node", "remove", node.at("id").dump()}).code, 1) << "it lives";
    }
    if (node.at("name") == "worker-1") ::kill(node.at("pid").get<pid_t>(), SIGKILL);
  }
  const CommandResult removed = run({"node", "remove", second});
  EXPECT_EQ(removed.code, 0) << removed.err;
  EXPECT_TRUE(WaitFor(20000, [&] { return run({"status"}).code == 0; })) << run({"status"}).out;
  std::string said;
  EXPECT_TRUE(WaitFor(10000, [&] {
    const auto text = ReadWholeFile(lines);
    said = text.ok() ? *text : "";
    return said.find("worker-1 ended") != std::string::npos;
  }));
  EXPECT_THAT(said, ContainsRegex("penstock: 20[0-9T:-]*Z worker-1 ended with signal 9"));
  // It is taken up again.
  ASSERT_EQ(run({"down"}).code, 0);
  const CommandResult again = up("2");
  EXPECT_EQ(again.code, 0) << again.err;
  EXPECT_EQ(run({"status"}).code, 0);
  EXPECT_EQ(run({"down"}).code, 0);
}

}  // namespace
}  // namespace penstock
