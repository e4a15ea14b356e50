// The launcher's folder: its lock, its record, what is launched in it and with which arguments.
#include "tools/launch/data_dir.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <nlohmann/json.hpp>

#include "tests/unit/tools/temp_folder.h"
#include "tools/launch/cluster_launcher.h"
#include "tools/launch/launch_plan.h"

namespace penstock {
namespace {

using testing::Contains;
using testing::HasSubstr;
using testing::Not;

TEST(DataDirLock, IsHeldOnceAndNamesItsHolder) {
  TempFolder folder;
  const DataDirPaths paths(folder.path() + "/cluster");
  EXPECT_EQ(LockHolder(paths), std::nullopt);
  {
    auto lock = DataDirLock::Acquire(paths);
    ASSERT_TRUE(lock.ok()) << lock.status().ToString();
    EXPECT_EQ(LockHolder(paths), ::getpid());
    const auto second = DataDirLock::Acquire(paths);
    ASSERT_FALSE(second.ok());
    EXPECT_EQ(second.status().code(), Code::kFailedPrecondition);
    EXPECT_THAT(second.status().message(), HasSubstr("(process " + std::to_string(::getpid()) + ")"));
    EXPECT_THAT(second.status().message(), HasSubstr(paths.root));
  }
  EXPECT_EQ(LockHolder(paths), std::nullopt);
  EXPECT_TRUE(DataDirLock::Acquire(paths).ok());
}

TEST(DataDirLock, GoesWithAKilledProcess) {
  TempFolder folder;
  const DataDirPaths paths(folder.path());
  const pid_t child = ::fork();
  if (child == 0) {
    auto lock = DataDirLock::Acquire(paths);
    ::_exit(lock.ok() ? 0 : 1);  // without destructors
  }
  int status = 0;
  ::waitpid(child, &status, 0);
  ASSERT_EQ(status, 0);
  EXPECT_TRUE(DataDirLock::Acquire(paths).ok());
}

TEST(DataDirLock, AFolderThatCannotBeMadeIsNamed) {
  TempFolder folder;
  const std::string file = folder.Write("file", "");
  const auto lock = DataDirLock::Acquire(DataDirPaths(file + "/cluster"));
  ASSERT_FALSE(lock.ok());
  EXPECT_EQ(lock.status().code(), Code::kFailedPrecondition);
  EXPECT_THAT(lock.status().message(), HasSubstr("data directory " + file + "/cluster cannot be used"));
}

TEST(LaunchRecord, IsReadBackAsWritten) {
  TempFolder folder;
  const DataDirPaths paths(folder.path());
  EXPECT_EQ(ReadLaunchRecord(paths).status().code(), Code::kNotFound);
  ASSERT_TRUE(WriteLaunchRecord(paths, {.servers = 3,
                                        .workers = 0,
                                        .least_servers = 2,
                                        .config = "/c.toml",
                                        .assignments = {"log.level=error"}})
                  .ok());
  const auto read = ReadLaunchRecord(paths);
  ASSERT_TRUE(read.ok()) << read.status().ToString();
  EXPECT_EQ(read->servers, 3u);
  EXPECT_EQ(read->workers, 0u);
  EXPECT_EQ(read->least_servers, 2u);
  EXPECT_EQ(read->config, "/c.toml");
  EXPECT_EQ(read->assignments, std::vector<std::string>{"log.level=error"});
  folder.Write("launcher.json", "{\"servers\": 1");
  EXPECT_EQ(ReadLaunchRecord(paths).status().code(), Code::kDataLoss);
}

TEST(DecideLaunch, TakesWhatWasLast) {
  const auto fresh = DecideLaunch(std::nullopt, std::nullopt, std::nullopt);
  ASSERT_TRUE(fresh.ok());
  EXPECT_EQ(fresh->servers, 1u);
  EXPECT_EQ(fresh->workers, 1u);
  const auto first = DecideLaunch(2, 3, std::nullopt);
  ASSERT_TRUE(first.ok());
  EXPECT_EQ(first->least_servers, 2u);
  const auto again = DecideLaunch(std::nullopt, 1, *first);
  ASSERT_TRUE(again.ok());
  EXPECT_EQ(again->servers, 2u);
  EXPECT_EQ(again->workers, 1u);
}

TEST(DecideLaunch, RefusesFewerServersThanHoldShards) {
  const auto more = DecideLaunch(3, std::nullopt, LaunchRecord{.servers = 2, .least_servers = 2});
  ASSERT_TRUE(more.ok());
  EXPECT_TRUE(DecideLaunch(2, std::nullopt, *more).ok());
  const auto fewer = DecideLaunch(1, std::nullopt, *more);
  ASSERT_FALSE(fewer.ok());
  EXPECT_EQ(fewer.status().code(), Code::kInvalidArgument);
  EXPECT_THAT(fewer.status().message(), HasSubstr("--servers 1: this cluster was made with 2 servers"));
}

class LaunchPlanTest : public testing::Test {
 protected:
  std::vector<ChildSpec> Plan(const LaunchRecord& record) {
    auto options = LoadClusterOptions(record.config, record.assignments);
    EXPECT_TRUE(options.ok()) << options.status().ToString();
    return PlanLaunch(DataDirPaths("/d"), "/bin", record, *options);
  }
};

TEST_F(LaunchPlanTest, NamesProcessesFoldersAndPrograms) {
  const auto children = Plan({.servers = 2, .workers = 1});
  ASSERT_EQ(children.size(), 4u);
  EXPECT_EQ(children[0].argv[0], "/bin/penstock-scheduler");
  EXPECT_THAT(children[0].argv, Contains("cluster.data_dir=/d/scheduler"));
  EXPECT_THAT(children[0].argv, Contains("scheduler.servers=2"));
  EXPECT_THAT(children[0].argv, Not(Contains("cluster.scheduler=/d/scheduler/address")));
  EXPECT_EQ(children[2].name, "server-2");
  EXPECT_EQ(children[2].argv[0], "/bin/penstock-server");
  EXPECT_THAT(children[2].argv, Contains("cluster.data_dir=/d/server-2"));
  EXPECT_THAT(children[2].argv, Contains("cluster.scheduler=/d/scheduler/address"));
  EXPECT_THAT(children[2].argv, Contains("security.token_file=/d/node.token"));
  EXPECT_THAT(children[2].argv, Contains("security.operator_token_file=/d/operator.token"));
  EXPECT_THAT(children[2].argv, Contains("security.client_token_file=/d/client.token"));
  EXPECT_THAT(children[3].argv, Contains("security.token_file=/d/node.token"));
  EXPECT_THAT(children[3].argv, Not(Contains("security.operator_token_file=/d/operator.token")));
  EXPECT_THAT(children[2].argv, Contains("log.dir=/d/logs"));
  EXPECT_EQ(children[2].output, "/d/logs/server-2.out");
  EXPECT_EQ(children[3].argv[0], "/bin/penstock-worker");
  EXPECT_LT(children[3].stop_order, children[2].stop_order);
  EXPECT_LT(children[2].stop_order, children[0].stop_order);
}

TEST_F(LaunchPlanTest, PassesOptionsOnAndSpreadsFixedPorts) {
  const auto children = Plan({.servers = 2,
                              .workers = 0,
                              .assignments = {"server.port=7100", "server.cores=2", "log.dir=/var/log/p",
                                              "security.token_file=/t"}});
  EXPECT_THAT(children[1].argv, Contains("server.port=7100"));
  EXPECT_THAT(children[2].argv, Contains("server.port=7102"));
  EXPECT_THAT(children[1].argv, Not(Contains("server.port=7102")));
  EXPECT_THAT(children[1].argv, Contains("log.dir=/var/log/p"));
  EXPECT_THAT(children[1].argv, Not(Contains("log.dir=/d/logs")));
  EXPECT_THAT(children[1].argv, Not(Contains("security.token_file=/d/node.token")));
}

TEST_F(LaunchPlanTest, WhatJoinsHasNoSchedulerOfItsOwn) {
  const auto children = Plan({.servers = 1,
                              .workers = 1,
                              .assignments = {"server.zone=west"},
                              .address = "10.0.0.2",
                              .join = "10.0.0.1:7000",
                              .token_file = "/t/one.token",
                              .name = "beta"});
  ASSERT_EQ(children.size(), 2u);
  EXPECT_EQ(children[0].name, "beta-server-1");
  EXPECT_THAT(children[0].argv, Contains("cluster.data_dir=/d/beta-server-1"));
  EXPECT_THAT(children[0].argv, Contains("cluster.scheduler=10.0.0.1:7000"));
  EXPECT_THAT(children[0].argv, Contains("server.listen=10.0.0.2"));
  EXPECT_THAT(children[0].argv, Contains("security.token_file=/t/one.token"));
  EXPECT_THAT(children[0].argv, Contains("server.zone=west"));
  EXPECT_EQ(children[1].name, "beta-worker-1");
  EXPECT_THAT(children[1].argv, Contains("worker.listen=10.0.0.2"));
}

TEST(LoadClusterOptions, NamesWhatIsWrong) {
  const auto unknown = LoadClusterOptions("", {"server.coers=2"});
  ASSERT_FALSE(unknown.ok());
  EXPECT_EQ(unknown.status().code(), Code::kInvalidArgument);
  EXPECT_THAT(unknown.status().message(), HasSubstr("'coers'"));
  EXPECT_THAT(unknown.status().message(), HasSubstr("'cores'"));
  EXPECT_EQ(LoadClusterOptions("/no/such.toml", {}).status().code(), Code::kInvalidArgument);
}

TEST(ClusterLauncher, AMissingProgramIsNamedAndNothingIsMade) {
  TempFolder folder;
  const auto launched = ClusterLauncher::Start({.data_dir = folder.path() + "/d", .programs = folder.path()});
  ASSERT_FALSE(launched.ok());
  EXPECT_THAT(launched.status().message(), HasSubstr(folder.path() + "/penstock-scheduler is missing"));
  EXPECT_FALSE(std::filesystem::exists(folder.path() + "/d"));
}

// Programs that cannot run are told with what they printed, within the deadline, and none of them is left.
TEST(ClusterLauncher, AChildThatCannotRunIsToldWithItsLastWords) {
  TempFolder folder;
  for (const char* name : {"penstock-server", "penstock-worker"})
    folder.Write(name, "#!/bin/sh\nexec sleep 1000\n", true);
  folder.Write("penstock-scheduler", "#!/bin/sh\necho 'port 7070 is taken'\nexit 1\n", true);
  LaunchOptions options{.data_dir = folder.path() + "/d",
                        .programs = folder.path(),
                        .policy = {.first_delay_ms = 1, .max_delay_ms = 1}};
  auto launched = ClusterLauncher::Start(std::move(options));
  ASSERT_TRUE(launched.ok()) << launched.status().ToString();
  const Status status = (*launched)->WaitUntilReady(60000, nullptr);
  EXPECT_EQ(status.code(), Code::kFailedPrecondition);
  EXPECT_THAT(status.message(), HasSubstr("scheduler does not start (exit code 1)"));
  EXPECT_THAT(status.message(), HasSubstr("port 7070 is taken"));
  std::vector<pid_t> pids;
  for (const auto& child : (*launched)->supervisor().Children()) {
    if (child.pid > 0) pids.push_back(child.pid);
  }
  EXPECT_GE(pids.size(), 2u);
  (*launched)->Stop();
  for (const pid_t pid : pids) EXPECT_NE(::kill(pid, 0), 0);
}

// Trying again does not help: the first word counts.
TEST(ClusterLauncher, AChildThatRefusesItsOptionsIsStartedOnce) {
  TempFolder folder;
  for (const char* name : {"penstock-scheduler", "penstock-worker"})
    folder.Write(name, "#!/bin/sh\nexec sleep 1000\n", true);
  folder.Write("penstock-server", "#!/bin/sh\necho 'penstock-server: set advertise_host'\nexit 2\n", true);
  LaunchOptions options{.data_dir = folder.path() + "/d",
                        .programs = folder.path(),
                        .policy = {.first_delay_ms = 1, .max_delay_ms = 100000}};
  auto launched = ClusterLauncher::Start(std::move(options));
  ASSERT_TRUE(launched.ok()) << launched.status().ToString();
  const Status status = (*launched)->WaitUntilReady(60000, nullptr);
  EXPECT_EQ(status.code(), Code::kInvalidArgument) << status.ToString();
  EXPECT_THAT(status.message(), HasSubstr("server-1 does not start (exit code 2)"));
  EXPECT_THAT(status.message(), HasSubstr("penstock-server: set advertise_host"));
  for (const auto& child : (*launched)->supervisor().Children()) EXPECT_EQ(child.starts, 1u) << child.name;
}

LaunchRecord Record(uint32_t servers, uint32_t workers) { return {.servers = servers, .workers = workers}; }

TEST(MissingForReady, CountsWhatHasRegistered) {
  nlohmann::json status = {
      {"ready", false},
      {"problems", {"shard 3 is not placed"}},
      {"shards", {{"total", 128}, {"serving", 127}}},
      {"nodes", {{{"role", "server"}, {"state", "alive"}}, {{"role", "server"}, {"state", "dead"}}}}};
  EXPECT_EQ(MissingForReady(status, Record(2, 0)), "1 of 2 servers have registered");
  EXPECT_EQ(MissingForReady(status, Record(1, 1)), "0 of 1 workers have registered");
  EXPECT_EQ(MissingForReady(status, Record(1, 0)), "shard 3 is not placed");
  status["problems"] = nlohmann::json::array();
  EXPECT_EQ(MissingForReady(status, Record(1, 0)), "127 of 128 shards are served");
  status["shards"]["quarantined"] = 1;
  EXPECT_EQ(MissingForReady(status, Record(1, 0)), "") << "which waits for an operator";
  status["shards"]["serving"] = 126;
  EXPECT_EQ(MissingForReady(status, Record(1, 0)), "126 of 128 shards are served");
  status["ready"] = true;
  EXPECT_EQ(MissingForReady(status, Record(1, 0)), "");
}

}  // namespace
}  // namespace penstock
