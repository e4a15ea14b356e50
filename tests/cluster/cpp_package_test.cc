// A C++ program outside of the tree: Penstock is installed into a folder, examples/cpp is configured and
// built against the package there, and trains over a running cluster. docs/cpp.md shows that program as it
// is.
#include <gtest/gtest.h>

#include <cstdlib>
#include <regex>

#include "common/base/atomic_file.h"
#include "tests/cluster/test_cluster.h"

namespace penstock {
namespace {

constexpr const char* kSource = PENSTOCK_SOURCE_DIR "/examples/cpp";

std::string TextOf(const std::string& path) {
  const auto text = ReadWholeFile(path);
  EXPECT_TRUE(text.ok()) << text.status().ToString();
  return text.ok() ? *text : "";
}

// By the shell; what it prints is shown when it fails.
void Shell(const std::string& command, const std::string& output) {
  ASSERT_EQ(std::system((command + " > " + output + " 2>&1").c_str()), 0) << command << "\n"
                                                                          << TextOf(output);
}

TEST(CppPackage, ExampleBuildsOutsideOfTheTreeAndTrains) {
  if (*PENSTOCK_SANITIZE != 0) GTEST_SKIP() << "the installed library needs the flags of the sanitizer";
  TestCluster cluster({.servers = 2});
  ASSERT_TRUE(cluster.Start().ok()) << cluster.Output("scheduler") << cluster.Output("server-0");
  const std::string prefix = cluster.dir() + "/prefix", build = cluster.dir() + "/example",
                    output = cluster.dir() + "/output";
  ASSERT_NO_FATAL_FAILURE(Shell("cmake --install " PENSTOCK_BINARY_DIR " --prefix " + prefix, output));
  ASSERT_NO_FATAL_FAILURE(Shell(std::string("cmake -G Ninja -S ") + kSource + " -B " + build +
                                    " -DCMAKE_CXX_COMPILER=" PENSTOCK_CXX " -DCMAKE_PREFIX_PATH=" + prefix,
                                output));
  ASSERT_NO_FATAL_FAILURE(Shell("cmake --build " + build + " -j 1", output));
  ASSERT_NO_FATAL_FAILURE(Shell(prefix + "/bin/penstock version", output));

  ASSERT_NO_FATAL_FAILURE(
      Shell(build + "/train " + cluster.scheduler_address() + " " + cluster.token_file(), output));
  const std::string text = TextOf(output);
  std::vector<double> losses;
  const std::regex line("pass \\d+: loss ([0-9.]+)\n");
  for (std::sregex_iterator at(text.begin(), text.end(), line), end; at != end; ++at)
    losses.push_back(std::stod((*at)[1]));
  ASSERT_EQ(losses.size(), 5u) << text;
  std::printf("%s", text.c_str());
  EXPECT_LT(losses.front(), 0.6) << "the loss of a model that knows nothing is 0.69";
  EXPECT_LT(losses.back(), losses.front() / 2);
}

TEST(CppPackage, PageShowsTheExample) {
  EXPECT_NE(TextOf(PENSTOCK_SOURCE_DIR "/docs/cpp.md")
                .find("```cpp\n" + TextOf(std::string(kSource) + "/train.cc") + "```\n"),
            std::string::npos)
      << "the code of docs/cpp.md is not that of examples/cpp/train.cc";
}

}  // namespace
}  // namespace penstock
