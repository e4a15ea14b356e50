// A client that somebody else wrote, in Python with pycapnp, from the schemas alone. The environment that it
// runs in is made from the package registry, once a build folder; where that cannot be had the test says why
// it is skipped.
#include <gtest/gtest.h>
#include <stdlib.h>

#include <filesystem>

#include "common/base/atomic_file.h"
#include "tests/cluster/penstock_command.h"
#include "tests/cluster/test_cluster.h"

namespace penstock {
namespace {

constexpr const char* kPycapnp = "pycapnp==2.2.4";
constexpr const char* kEnvironment = PENSTOCK_BINARY_DIR "/foreign-python";

// What the command prints; `code` is its exit code.
std::string Output(const std::string& command, const std::string& output, int* code) {
  *code = std::system((command + " > " + output + " 2>&1").c_str());
  const auto text = ReadWholeFile(output);
  return text.ok() ? *text : "";
}

TEST(ForeignClient, FindsAllThatItNeedsInTheSchemas) {
  TemporaryFolder folder;
  const std::string output = folder.path() + "/output";
  const std::string python = std::string(kEnvironment) + "/bin/python";
  int code = 0;
  if (Output(python + " -c 'import capnp'", output, &code); code != 0) {
    // Without a network, or without a wheel for this Python, it is known within seconds that there is none.
    const std::string said = Output(
        "timeout 120 sh -c 'python3 -m venv " + std::string(kEnvironment) + " && " + python +
            " -m pip install --disable-pip-version-check --no-cache-dir --no-input --only-binary :all: "
            "--retries 0 --timeout 5 " +
            kPycapnp + "'",
        output, &code);
    if (code != 0) GTEST_SKIP() << kPycapnp << " cannot be had for Python here:\n" << said;
  }
  TestCluster cluster({.servers = 2, .dir = {}});
  ASSERT_TRUE(cluster.Start().ok()) << cluster.Output("scheduler");
  const std::string address = *ReadWholeFile(cluster.scheduler_address());
  const std::string said =
      Output("timeout 120 " + python + " " PENSTOCK_SOURCE_DIR "/tests/foreign/foreign_client.py " +
                 PENSTOCK_SOURCE_DIR "/proto " + address.substr(0, address.find('\n')) + " " +
                 cluster.client_token_file(),
             output, &code);
  EXPECT_EQ(code, 0) << said;
  for (const auto& name : cluster.names()) EXPECT_TRUE(cluster.Running(name)) << cluster.Output(name);
}

}  // namespace
}  // namespace penstock
