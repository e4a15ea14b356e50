// What goes wrong around Penstock: each with a message that names the thing, the right exit code, nothing
// half-written, and service again when the cause is gone.
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <chrono>
#include <cstdlib>
#include <filesystem>
#include <nlohmann/json.hpp>

#include "common/base/atomic_file.h"
#include "tests/cluster/counting_load.h"
#include "tests/cluster/penstock_command.h"
#include "tests/cluster/test_cluster.h"
#include "tests/cluster/training_data.h"

namespace penstock {
namespace {

using nlohmann::json;

constexpr const char* kJobFile = PENSTOCK_SOURCE_DIR "/conf/jobs/a9a_logistic.toml";

// Every part is in the message (of standard error), and the exit code is as said.
void ExpectRefusal(const CommandResult& result, int code, const std::vector<std::string>& parts) {
  EXPECT_EQ(result.code, code) << result.err << result.out;
  for (const auto& part : parts)
    EXPECT_NE(result.err.find(part), std::string::npos) << "no '" << part << "' in: " << result.err;
}

// --- What is wrong with a job.

class JobErrors : public ::testing::Test {
 protected:
  static void SetUpTestSuite() {
    cluster_ = new CommandCluster({.servers = 1, .workers = 2, .set = {}});
    const Status up = cluster_->Up();
    ASSERT_TRUE(up.ok()) << up.ToString();
    good_ = cluster_->folder().Write("good.libsvm", GenerateLibsvm(kRecords, 2));
  }
  static void TearDownTestSuite() {
    EXPECT_EQ(cluster_->Down(), 0);
    delete cluster_;
  }
  // The cluster is as healthy as before, and the job without the fault is done.
  void TearDown() override {
    if (HasFailure()) return;
    EXPECT_EQ(RunPenstock({"status", "--data-dir", cluster_->data_dir()}).code, 0);
    const CommandResult good = Train(kJobFile, {"data.train=" + good_});
    EXPECT_EQ(good.code, 0) << good.err;
  }

  static CommandResult Train(const std::string& job_file, const std::vector<std::string>& assignments) {
    std::vector<std::string> arguments{"train", job_file, "--data-dir", cluster_->data_dir()};
    arguments.insert(arguments.end(), {"--report", cluster_->report(), "--set", "data.test=", "--set",
                                       "train.passes=" + std::to_string(kPasses)});
    for (const auto& assignment : assignments) arguments.insert(arguments.end(), {"--set", assignment});
    std::filesystem::remove(cluster_->report());
    return RunPenstock(arguments);
  }
  static size_t Jobs() {
    const CommandResult jobs = RunPenstock({"job", "ls", "--data-dir", cluster_->data_dir(), "-o", "json"});
    return json::parse(jobs.out).size();
  }
  // `good_` with this line in place of the one with this number (from 1 on).
  static std::string WithLine(const std::string& name, size_t number, const std::string& line) {
    std::string text = *ReadWholeFile(good_);
    size_t begin = 0;
    for (size_t i = 1; i < number; ++i) begin = text.find('\n', begin) + 1;
    text.replace(begin, text.find('\n', begin) - begin, line);
    return cluster_->folder().Write(name, text);
  }
  static std::string JobFile(const std::string& name, const std::string& more) {
    return cluster_->folder().Write(
        name, "[data]\ntrain = \"" + good_ + "\"\n[model]\nkind = \"linear\"\nfeatures = 124\n" + more);
  }

  static constexpr uint64_t kRecords = 3000;
  static constexpr uint64_t kPasses = 2;
  static inline CommandCluster* cluster_ = nullptr;
  static inline std::string good_;
};

TEST_F(JobErrors, AMalformedLineIsNamedBeforeAnythingIsSubmitted) {
  const size_t before = Jobs();
  const std::string bad = WithLine("bad.libsvm", 2001, "+1 5:1 seven:1");
  ExpectRefusal(Train(kJobFile, {"data.train=" + bad}), 1, {bad + ":2001", "seven", "max_bad_records"});
  ExpectRefusal(Train(kJobFile, {"data.train=" + good_, "data.test=" + bad}), 1,
                {"data.test: " + bad + ":2001", "seven", "max_bad_records"});
  EXPECT_EQ(Jobs(), before);
}

TEST_F(JobErrors, AMalformedLineIsCountedAndSkippedUpToTheLimit) {
  const std::string bad = WithLine("bad.libsvm", 2001, "+1 5:1 seven:1");
  const CommandResult done = Train(kJobFile, {"data.train=" + bad, "data.max_bad_records=1"});
  ASSERT_EQ(done.code, 0) << done.err;
  const auto report = json::parse(*ReadWholeFile(cluster_->report()));
  EXPECT_EQ(report.at("status"), "done");
  EXPECT_EQ(report.at("examples"), kPasses * (kRecords - 1));
  const std::string id = std::to_string(Jobs());
  const auto job =
      json::parse(RunPenstock({"job", "show", id, "--data-dir", cluster_->data_dir(), "-o", "json"}).out);
  EXPECT_EQ(job.at("bad_records"), kPasses);  // once in each pass
}

TEST_F(JobErrors, AMissingFileIsNamed) {
  const size_t before = Jobs();
  const std::string missing = cluster_->folder().path() + "/missing.libsvm";
  ExpectRefusal(Train(kJobFile, {"data.train=" + missing}), 1, {missing});
  ExpectRefusal(Train(kJobFile, {"data.train=" + good_, "data.test=" + missing}), 1, {missing});
  ExpectRefusal(Train(cluster_->folder().path() + "/missing.toml", {}), 2, {"missing.toml"});
  EXPECT_EQ(Jobs(), before) << "nothing was submitted";
}

TEST_F(JobErrors, AnUnknownOptionComesWithASuggestion) {
  const size_t before = Jobs();
  const std::string file = JobFile("unknown.toml", "[train]\nbatchsize = 10\n");
  ExpectRefusal(Train(file, {}), 2, {"unknown.toml", "batchsize", "batch_size"});
  ExpectRefusal(Train(kJobFile, {"data.train=" + good_, "optimizer.learning_rat=1"}), 2,
                {"learning_rat", "learning_rate"});
  const std::string section = JobFile("section.toml", "[trian]\npasses = 1\n");
  ExpectRefusal(Train(section, {}), 2, {"section.toml", "trian", "train"});
  EXPECT_EQ(Jobs(), before);
}

TEST_F(JobErrors, AWrongTypeSaysWhatIsAllowed) {
  const size_t before = Jobs();
  const std::string file = JobFile("type.toml", "[train]\nbatch_size = \"many\"\n");
  ExpectRefusal(Train(file, {}), 2, {"type.toml", "train.batch_size", "integer"});
  ExpectRefusal(Train(kJobFile, {"data.train=" + good_, "train.passes=few"}), 2, {"train.passes", "few"});
  ExpectRefusal(Train(kJobFile, {"data.train=" + good_, "train.consistency=soon"}), 2, {"soon", "async"});
  const std::string toml = JobFile("syntax.toml", "[train\n");
  ExpectRefusal(Train(toml, {}), 2, {"syntax.toml"});
  EXPECT_EQ(Jobs(), before);
}

// Neither is held in memory: each pass and each evaluation reads them again.
TEST(ChangedData, EndTheJob) {
  constexpr uint64_t kRecords = 3000;
  CommandCluster cluster({.servers = 1, .workers = 1, .set = {"worker.data_memory_bytes=0"}});
  const Status up = cluster.Up();
  ASSERT_TRUE(up.ok()) << up.ToString();
  for (const std::string role : {"train", "test"}) {
    SCOPED_TRACE(role);
    const std::string train = cluster.folder().Write("train.libsvm", GenerateLibsvm(kRecords, 2)),
                      test = cluster.folder().Write("test.libsvm", GenerateLibsvm(kRecords, 3));
    auto training = cluster.Train(kJobFile, {"data.train=" + train, "data.test=" + test,
                                             "train.passes=100000", "train.evaluate_every=1"});
    ASSERT_TRUE(training.ok()) << training.status().ToString();
    const auto job = [&] {
      const auto jobs =
          json::parse(RunPenstock({"job", "ls", "--data-dir", cluster.data_dir(), "-o", "json"}).out);
      return jobs.empty() ? json() : jobs.back();
    };
    const size_t known = role == "train" ? 1 : 2;
    ASSERT_TRUE(WaitFor(30000, [&] {
      const json now = job();
      return now.is_object() && now.at("id") == known && now.value("examples", uint64_t{0}) > 3 * kRecords;
    })) << cluster.TrainOutput();
    const std::string changed = role == "train" ? train : test;
    // Another time, the same contents: it goes on, passes and evaluations.
    std::filesystem::last_write_time(changed,
                                     std::filesystem::file_time_type::clock::now() + std::chrono::hours(1));
    const auto then = job().value("examples", uint64_t{0});
    ASSERT_TRUE(WaitFor(30000, [&] { return job().value("examples", uint64_t{0}) > then + 3 * kRecords; }))
        << cluster.TrainOutput();
    cluster.folder().Write(role + ".libsvm", GenerateLibsvm(kRecords / 2, 2));
    EXPECT_EQ(training->WaitExit(30000), 1) << cluster.TrainOutput();
    EXPECT_NE(cluster.TrainOutput().find("the data changed since the job was submitted: '" + changed + "'"),
              std::string::npos)
        << cluster.TrainOutput();
    EXPECT_EQ(job().at("state"), "failed");
  }
  EXPECT_EQ(cluster.Down(), 0);
}

// --- What is wrong with a cluster.

TEST(ClusterErrors, OptionsOfTheClusterFile) {
  TemporaryFolder folder;
  const std::string data = folder.path() + "/data";
  const auto up = [&](const std::string& text) {
    return RunPenstock({"up", "--data-dir", data, "--config", folder.Write("cluster.toml", text)});
  };
  ExpectRefusal(up("[server]\nfold_byte = 1\n"), 2, {"cluster.toml", "fold_byte", "fold_bytes"});
  ExpectRefusal(up("[server]\ncores = \"two\"\n"), 2, {"cluster.toml", "server.cores", "integer"});
  ExpectRefusal(up("[scheduler]\nshards = 100\n"), 2, {"scheduler.shards", "power of two"});
  ExpectRefusal(RunPenstock({"up", "--data-dir", data, "--set", "server.core=2"}), 2,
                {"[server]", "'core'", "'cores'"});
  ExpectRefusal(RunPenstock({"up", "--data-dir", data, "--servers", "0"}), 2, {"--servers"});
  ExpectRefusal(RunPenstock({"upp"}), 2, {"upp", "up"});
  ExpectRefusal(RunPenstock({"up", "--data-dir", data, "--config", folder.path()}), 2,
                {folder.path(), "is a directory"});
  const std::string missing = folder.path() + "/missing.toml";
  ExpectRefusal(RunPenstock({"up", "--data-dir", data, "--config", missing}), 2, {missing});
  ExpectRefusal(RunPenstock({"up", "--data-dir", data, "--set", "cluster.data_dir=/elsewhere"}), 2,
                {"cluster.data_dir", "/elsewhere", "--data-dir"});
  ExpectRefusal(RunPenstock({"up", "--data-dir", data, "--set", "cluster.scheduler=127.0.0.1:7000"}), 2,
                {"cluster.scheduler", "127.0.0.1:7000"});
  EXPECT_FALSE(std::filesystem::exists(data)) << "nothing was made";
}

// What only the process itself finds wrong, once it runs.
TEST(ClusterErrors, AnOptionThatAProcessRefuses) {
  TemporaryFolder folder;
  const std::string data = folder.path() + "/data";
  const CommandResult up = RunPenstock({"up", "--data-dir", data, "--set", "server.listen=0.0.0.0"});
  ExpectRefusal(up, 2, {"server-1 does not start", "0.0.0.0", "set advertise_host"});
  EXPECT_NE((up.out + up.err).find("started again in 5.0 s"), std::string::npos) << up.out << up.err;
}

TEST(ClusterErrors, NoClusterThere) {
  TemporaryFolder folder;
  const std::string nothing = folder.path() + "/nothing";
  ExpectRefusal(RunPenstock({"status", "--data-dir", nothing}), 3, {nothing, "penstock up"});
  ExpectRefusal(RunPenstock({"status", "--scheduler", "127.0.0.1:1"}), 3, {"127.0.0.1:1"});
  const std::string data = folder.Write("data.libsvm", GenerateLibsvm(10, 1));
  ExpectRefusal(RunPenstock({"train", kJobFile, "--data-dir", nothing, "--set", "data.train=" + data}), 3,
                {nothing});
  ExpectRefusal(RunPenstock({"down", "--data-dir", nothing}), 1, {nothing});
  EXPECT_FALSE(std::filesystem::exists(nothing));
}

TEST(ClusterErrors, AWrongToken) {
  TestCluster cluster({.servers = 1, .dir = {}});
  ASSERT_TRUE(cluster.Start().ok()) << cluster.Output("scheduler");
  TemporaryFolder folder;
  const std::string token = folder.Write("token", std::string(64, 'a') + "\n");
  ExpectRefusal(RunPenstock({"status", "--scheduler", "127.0.0.1:1", "--token-file", token}), 4,
                {token, "mode 0644", "chmod 600"});
  std::filesystem::permissions(token, std::filesystem::perms::owner_read);
  const std::string address = *ReadWholeFile(cluster.scheduler_address());
  const std::string scheduler = address.substr(0, address.find('\n'));
  ExpectRefusal(RunPenstock({"status", "--scheduler", scheduler, "--token-file", token}), 4, {"token"});
  ExpectRefusal(RunPenstock({"status", "--scheduler", scheduler}), 4, {"token"});
  EXPECT_EQ(RunPenstock({"status", "--scheduler", scheduler, "--token-file", cluster.token_file()}).code, 0);
  const std::string missing = folder.path() + "/missing";
  ExpectRefusal(RunPenstock({"status", "--scheduler", scheduler, "--token-file", missing}), 1, {missing});

  for (const std::string name : {"server-9", "worker-9"}) {
    ASSERT_TRUE(cluster.StartOne(name, {}, {"security.token_file=" + token}).ok());
    EXPECT_EQ(cluster.WaitExit(name, 20000), 4) << cluster.Output(name);
    EXPECT_NE(cluster.Output(name).find("wrong token"), std::string::npos) << cluster.Output(name);
  }
  const CommandResult nodes = RunPenstock({"node", "ls", "--data-dir", cluster.dir(), "-o", "json"});
  EXPECT_EQ(json::parse(nodes.out).size(), 1u) << nodes.out;
  // With the right one it is welcome, in the same folder.
  ASSERT_TRUE(cluster.StartOne("worker-9").ok());
  EXPECT_TRUE(WaitFor(20000, [&] {
    return json::parse(RunPenstock({"node", "ls", "--data-dir", cluster.dir(), "-o", "json"}).out).size() ==
           2;
  })) << cluster.Output("worker-9");
}

std::string ClusterId(const TestCluster& cluster) {
  const CommandResult status = RunPenstock({"status", "--data-dir", cluster.dir(), "-o", "json"});
  return json::parse(status.out).at("cluster");
}

TEST(ClusterErrors, AnotherClustersNode) {
  TestCluster a({.servers = 1, .dir = {}}), b({.servers = 1, .dir = {}});
  ASSERT_TRUE(a.Start().ok()) << a.Output("scheduler");
  ASSERT_TRUE(b.Start().ok()) << b.Output("scheduler");
  auto client = a.Connect();
  ASSERT_TRUE(client.ok());
  CountingLoad load(**client, {});
  ASSERT_TRUE(load.Start().ok());
  ASSERT_TRUE(WaitFor(10000, [&] { return load.pushes() > 100; }));
  load.Stop();
  ASSERT_EQ(a.Terminate("server-0"), 0);
  ASSERT_TRUE(
      a.StartOne("server-0", {},
                 {"cluster.scheduler=" + b.scheduler_address(), "security.token_file=" + b.node_token_file()})
          .ok());
  EXPECT_EQ(a.WaitExit("server-0", 20000), 4) << a.Output("server-0");
  const std::string said = a.Output("server-0");
  EXPECT_NE(said.find(ClusterId(a)), std::string::npos) << ClusterId(a) << " in " << said;
  EXPECT_NE(said.find(ClusterId(b)), std::string::npos) << ClusterId(b) << " in " << said;
  // Cluster b never had it; cluster a has it back with all it held.
  EXPECT_EQ(RunPenstock({"status", "--data-dir", b.dir()}).code, 0);
  const CommandResult nodes = RunPenstock({"node", "ls", "--data-dir", b.dir(), "-o", "json"});
  EXPECT_EQ(json::parse(nodes.out).size(), 1u) << nodes.out;
  ASSERT_TRUE(a.StartOne("server-0").ok());
  ASSERT_TRUE(a.WaitServing().ok()) << a.Output("server-0");
  EXPECT_EQ(load.Check(), "");
}

// A port of this machine that somebody else listens on.
class TakenPort {
 public:
  TakenPort() : fd_(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)) {
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socklen_t size = sizeof address;
    auto* plain = reinterpret_cast<sockaddr*>(&address);
    if (::bind(fd_, plain, size) == 0 && ::listen(fd_, 1) == 0 && ::getsockname(fd_, plain, &size) == 0)
      port_ = ntohs(address.sin_port);
  }
  ~TakenPort() { ::close(fd_); }
  TakenPort(const TakenPort&) = delete;
  TakenPort& operator=(const TakenPort&) = delete;
  uint16_t port() const { return port_; }

 private:
  int fd_;
  uint16_t port_ = 0;
};

TEST(ClusterErrors, APortInUse) {
  TakenPort taken;
  ASSERT_NE(taken.port(), 0);
  const std::string port = std::to_string(taken.port());
  for (const std::string option :
       {"scheduler.port", "scheduler.http_port", "server.port", "server.http_port", "worker.http_port"}) {
    SCOPED_TRACE(option);
    TemporaryFolder folder;
    const std::string data = folder.path() + "/data";
    ExpectRefusal(RunPenstock({"up", "--data-dir", data, "--set", option + "=" + port}), 1,
                  {":" + port, "in use"});
    // The same folder serves when any free port will do.
    const CommandResult up = RunPenstock({"up", "--data-dir", data, "--detach", "--set", option + "=0"});
    EXPECT_EQ(up.code, 0) << up.out << up.err;
    EXPECT_EQ(RunPenstock({"status", "--data-dir", data}).code, 0);
    EXPECT_EQ(RunPenstock({"down", "--data-dir", data}).code, 0);
  }
}

TEST(ClusterErrors, AClusterRunsThereAlready) {
  CommandCluster cluster({.servers = 1, .workers = 1, .set = {}});
  ASSERT_TRUE(cluster.Up().ok()) << cluster.Output();
  ExpectRefusal(RunPenstock({"up", "--data-dir", cluster.data_dir()}), 1,
                {cluster.data_dir(), "already", "penstock down"});
  EXPECT_EQ(RunPenstock({"status", "--data-dir", cluster.data_dir()}).code, 0);
  EXPECT_EQ(cluster.Down(), 0);
}

TEST(ClusterErrors, AnUnwritableDataDirectory) {
  TemporaryFolder folder;
  const std::string file = folder.Write("file", "a regular file\n");
  ExpectRefusal(RunPenstock({"up", "--data-dir", file + "/data"}), 1, {file});
  EXPECT_EQ(*ReadWholeFile(file), "a regular file\n");
  if (::geteuid() != 0) {
    const std::string locked = folder.path() + "/locked";
    std::filesystem::create_directory(locked);
    std::filesystem::permissions(locked, std::filesystem::perms::owner_read);
    ExpectRefusal(RunPenstock({"up", "--data-dir", locked + "/data"}), 1, {locked});
    std::filesystem::permissions(locked, std::filesystem::perms::owner_all);
  }
  // A single process says it as well.
  TestCluster cluster({.servers = 1, .dir = {}});
  ASSERT_TRUE(cluster.Start().ok()) << cluster.Output("scheduler");
  ASSERT_TRUE(cluster.StartOne("server-9", {}, {"cluster.data_dir=" + file + "/data"}).ok());
  EXPECT_EQ(cluster.WaitExit("server-9", 20000), 1);
  EXPECT_NE(cluster.Output("server-9").find(file), std::string::npos) << cluster.Output("server-9");
  // And the cluster that it wanted to join.
  const CommandResult status = RunPenstock({"status", "--data-dir", cluster.dir()});
  EXPECT_EQ(status.code, 10);
  EXPECT_NE(status.out.find("data cannot start: "), std::string::npos) << status.out;
}

}  // namespace
}  // namespace penstock
