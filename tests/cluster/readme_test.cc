// The tour in README.md, word by word: its blocks are taken out and run as a reader types them.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>

#include "common/base/atomic_file.h"
#include "common/base/strings.h"
#include "tests/cluster/penstock_command.h"

namespace penstock {
namespace {

constexpr const char* kImages = "/usr/share/datasets/fashion-mnist/train-images-idx3-ubyte.gz";

// The blocks of shell of a section, each with its commands, and whether they go on in a terminal of their
// own.
struct Block {
  std::string commands;
  bool own_terminal = false;
};

std::vector<Block> BlocksOf(const std::string& text, const std::string& heading) {
  std::vector<Block> blocks;
  bool in_section = false, in_block = false;
  std::string prose;
  for (const std::string_view line : StrSplit(text, '\n')) {
    if (line.starts_with("## ")) in_section = line == "## " + heading;
    if (!in_section) continue;
    if (line == "```sh") {
      in_block = true;
      blocks.push_back({.commands = "", .own_terminal = prose.find("in one terminal") != std::string::npos});
      prose.clear();
    } else if (line == "```") {
      in_block = false;
    } else if (in_block) {
      StrAppend(&blocks.back().commands, line, "\n");
    } else {
      StrAppend(&prose, line, "\n");
    }
  }
  return blocks;
}

TEST(Readme, TheTourRuns) {
  if (!std::filesystem::exists(kImages)) GTEST_SKIP() << "no data: " << kImages << " is not there";
  const auto readme = ReadWholeFile(PENSTOCK_SOURCE_DIR "/README.md");
  ASSERT_TRUE(readme.ok()) << readme.status().ToString();
  const auto blocks = BlocksOf(*readme, "A tour of five minutes");
  ASSERT_GE(blocks.size(), 5u);

  // A reader stands in the root of the repository; what the tour writes goes to a folder of the test.
  TemporaryFolder folder;
  std::filesystem::create_directories(folder.path() + "/build/release");
  std::filesystem::create_directory_symlink(ProgramFolder(), folder.path() + "/build/release/bin");
  std::filesystem::create_directory_symlink(PENSTOCK_SOURCE_DIR "/conf", folder.path() + "/conf");
  std::string script =
      "set -eu\ncd " + folder.path() + "\ntrap 'penstock down >/dev/null 2>&1 || true' EXIT\n";
  bool waits = false;
  for (const Block& block : blocks) {
    if (block.own_terminal) {
      // Whoever goes on in another terminal sees that the job has begun.
      StrAppend(&script, "(\n", block.commands, ") & job=$!\n",
                "until penstock job show 2 2>/dev/null | grep -q '^pass '; do sleep 0.1; done\n");
      waits = true;
      continue;
    }
    // The cluster ends when the job is done.
    if (waits && block.commands.find("penstock down") != std::string::npos) StrAppend(&script, "wait $job\n");
    StrAppend(&script, block.commands);
  }
  ASSERT_TRUE(waits) << "the tour kills what trains";
  auto shell = ChildProgram::Start({.argv = {"/bin/bash", folder.Write("tour.sh", script)},
                                    .output = folder.path() + "/said",
                                    .errors = "",
                                    .environment = {}});
  ASSERT_TRUE(shell.ok()) << shell.status().ToString();
  const int code = shell->WaitExit(400000);
  const auto said = ReadWholeFile(folder.path() + "/said");
  EXPECT_EQ(code, 0) << script << "\n" << (said.ok() ? *said : "");
  ASSERT_TRUE(said.ok());
  EXPECT_THAT(*said, testing::HasSubstr("the cluster in " + folder.path() + "/penstock-data/tour has ended"));
}

}  // namespace
}  // namespace penstock
