// docs/training.md: its tables of options are what `penstock config docs job` prints.
#include <gtest/gtest.h>
#include <stdlib.h>

#include <sstream>

#include "common/base/atomic_file.h"
#include "tools/cli/commands.h"

namespace penstock {
namespace {

constexpr const char* kPage = PENSTOCK_SOURCE_DIR "/docs/training.md";
// Ends the part of the page that is written by hand.
constexpr std::string_view kMark = "<!-- What follows is printed by `penstock config docs job`. -->\n\n";

std::string Docs(const std::string& kind) {
  Arguments arguments;
  arguments.command = "config docs";
  arguments.name = kind;
  std::ostringstream out, err;
  Console console{.out = out, .err = err};
  const auto code = RunConfig(arguments, console);
  EXPECT_TRUE(code.ok() && *code == 0);
  return out.str();
}

// After a change of an option: PENSTOCK_UPDATE_SAMPLES=1 build/release/tests/tools_test
// --gtest_filter='ConfigDocs.*'
TEST(ConfigDocs, TrainingPageIsUpToDate) {
  const auto page = ReadWholeFile(kPage);
  ASSERT_TRUE(page.ok()) << page.status().ToString();
  const size_t mark = page->find(kMark);
  ASSERT_NE(mark, std::string::npos) << kPage << " has no line " << kMark;
  const std::string want = page->substr(0, mark + kMark.size()) + Docs("job");
  if (getenv("PENSTOCK_UPDATE_SAMPLES") != nullptr) {
    ASSERT_TRUE(WriteFileAtomically(kPage, want).ok());
    return;
  }
  EXPECT_EQ(*page, want) << "docs/training.md differs from the declarations. Make it anew with\n"
                            "  PENSTOCK_UPDATE_SAMPLES=1 build/release/tests/tools_test "
                            "--gtest_filter='ConfigDocs.*'";
}

TEST(ConfigDocs, HaveBothKinds) {
  EXPECT_NE(Docs("job").find("| `learning_rate` | `0.0` | a number from 0 to 1000000 |"), std::string::npos);
  EXPECT_NE(Docs("cluster").find("| `heartbeat_ms` |"), std::string::npos);
}

}  // namespace
}  // namespace penstock
