// C++ programs outside of the tree: Penstock is installed into a folder, examples/cpp is configured and built
// against the package there, and trains over a running cluster; each public header compiles alone, beside a
// program's own of the same name. docs/cpp.md shows the example as it is.
#include <gtest/gtest.h>

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <regex>

#include "common/base/atomic_file.h"
#include "tests/cluster/penstock_command.h"
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

// Penstock, installed once for all of these tests.
class CppPackage : public ::testing::Test {
 protected:
  static void SetUpTestSuite() {
    if (*PENSTOCK_SANITIZE != 0) return;
    folder_ = new TemporaryFolder();
    Shell("cmake --install " PENSTOCK_BINARY_DIR " --prefix " + Prefix(), Output());
  }
  static void TearDownTestSuite() { delete folder_; }
  void SetUp() override {
    if (*PENSTOCK_SANITIZE != 0) GTEST_SKIP() << "the installed library needs the flags of the sanitizer";
  }

  static std::string Prefix() { return folder_->path() + "/prefix"; }
  static std::string Output() { return folder_->path() + "/output"; }
  // The public headers as programs name them: "penstock/client/client.h".
  static std::vector<std::string> Headers() {
    std::vector<std::string> headers;
    const std::string include = Prefix() + "/include/";
    for (const auto& file : std::filesystem::recursive_directory_iterator(include)) {
      if (file.is_regular_file()) headers.push_back(file.path().string().substr(include.size()));
    }
    std::sort(headers.begin(), headers.end());
    return headers;
  }
  static void Build(const std::string& source, const std::string& build) {
    ASSERT_NO_FATAL_FAILURE(
        Shell("cmake -G Ninja -S " + source + " -B " + build +
                  " -DCMAKE_CXX_COMPILER=" PENSTOCK_CXX " -DCMAKE_PREFIX_PATH=" + Prefix(),
              Output()));
    ASSERT_NO_FATAL_FAILURE(Shell("cmake --build " + build + " -j 1", Output()));
  }

  static inline TemporaryFolder* folder_ = nullptr;
};

TEST_F(CppPackage, ExampleBuildsOutsideOfTheTreeAndTrains) {
  TestCluster cluster({.servers = 2});
  ASSERT_TRUE(cluster.Start().ok()) << cluster.Output("scheduler") << cluster.Output("server-0");
  const std::string build = folder_->path() + "/example";
  ASSERT_NO_FATAL_FAILURE(Build(kSource, build));
  ASSERT_NO_FATAL_FAILURE(Shell(Prefix() + "/bin/penstock version", Output()));

  ASSERT_NO_FATAL_FAILURE(
      Shell(build + "/train " + cluster.scheduler_address() + " " + cluster.client_token_file(), Output()));
  const std::string text = TextOf(Output());
  std::vector<double> losses;
  const std::regex line("pass \\d+: loss ([0-9.]+)\n");
  for (std::sregex_iterator at(text.begin(), text.end(), line), end; at != end; ++at)
    losses.push_back(std::stod((*at)[1]));
  ASSERT_EQ(losses.size(), 5u) << text;
  std::printf("%s", text.c_str());
  EXPECT_LT(losses.front(), 0.6) << "the loss of a model that knows nothing is 0.69";
  EXPECT_LT(losses.back(), losses.front() / 2);
}

// The program has a common/base/status.h of its own, which would shadow ours.
TEST_F(CppPackage, EachHeaderCompilesAloneAndOnlyByItsPrefix) {
  const std::vector<std::string> headers = Headers();
  ASSERT_GE(headers.size(), 11u);
  const std::string own = "common/base/status.h", source = folder_->path() + "/headers";
  std::filesystem::create_directories(source + "/own/common/base");
  folder_->Write("headers/own/" + own, "#define THE_PROGRAMS_OWN_STATUS\n");
  std::string sources;
  for (const std::string& header : headers) {
    ASSERT_TRUE(header.starts_with("penstock/")) << header;
    const std::string bare = header.substr(9);
    std::string text =
        "#if __has_include(\"" + bare + "\")\n#error " + bare + " is found without a prefix\n#endif\n";
    if (bare == own)
      text = "#include \"" + own + "\"\n#ifndef THE_PROGRAMS_OWN_STATUS\n#error whose is it?\n#endif\n";
    sources += " header" + std::to_string(sources.size()) + ".cc";
    folder_->Write("headers/" + sources.substr(sources.rfind(' ') + 1),
                   text + "#include \"" + header + "\"\n");
  }
  folder_->Write("headers/CMakeLists.txt",
                 "cmake_minimum_required(VERSION 3.25)\nproject(own LANGUAGES CXX)\n"
                 "find_package(penstock CONFIG REQUIRED)\nadd_library(own OBJECT" +
                     sources +
                     ")\ntarget_include_directories(own PRIVATE own)\n"
                     "target_link_libraries(own PRIVATE penstock::client)\n");
  ASSERT_NO_FATAL_FAILURE(Build(source, source + "/build"));
}

TEST_F(CppPackage, MacrosOfHeadersHaveThePrefix) {
  const std::regex define("(^|\n)[ \t]*#[ \t]*define[ \t]+(\\w+)");
  size_t macros = 0;
  for (const std::string& header : Headers()) {
    const std::string text = TextOf(Prefix() + "/include/" + header);
    for (std::sregex_iterator at(text.begin(), text.end(), define), end; at != end; ++at, ++macros)
      EXPECT_TRUE((*at)[2].str().starts_with("PENSTOCK_")) << header << " defines " << (*at)[2];
  }
  EXPECT_GT(macros, 0u) << "nothing was looked at";
}

TEST(CppPackagePage, ShowsTheExample) {
  EXPECT_NE(TextOf(PENSTOCK_SOURCE_DIR "/docs/cpp.md")
                .find("```cpp\n" + TextOf(std::string(kSource) + "/train.cc") + "```\n"),
            std::string::npos)
      << "the code of docs/cpp.md is not that of examples/cpp/train.cc";
}

}  // namespace
}  // namespace penstock
