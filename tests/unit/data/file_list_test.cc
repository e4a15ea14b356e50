// Which files a list of names and patterns means.
#include "data/file_list.h"

#include "tests/unit/data/temp_file.h"

namespace penstock {
namespace {

class FileList : public testing::Test {
 protected:
  std::vector<std::string> Expand(const std::string& list) {
    const auto files = ExpandFiles(list);
    EXPECT_TRUE(files.ok()) << files.status().ToString();
    std::vector<std::string> names;
    for (const auto& file : *files) names.push_back(std::filesystem::path(file).filename());
    return names;
  }
  std::string Path(const std::string& name) { return folder_.Path(name); }

  TempFolder folder_;
};

TEST_F(FileList, IsSortedAndHasEveryFileOnce) {
  for (const char* name : {"part-2", "part-10", "part-1", "other"}) folder_.Write(name, "");
  EXPECT_EQ(Expand(Path("part-2")), (std::vector<std::string>{"part-2"}));
  EXPECT_EQ(Expand(Path("part-*")), (std::vector<std::string>{"part-1", "part-10", "part-2"}));
  EXPECT_EQ(Expand(Path("part-?") + "," + Path("other") + "," + Path("part-1")),
            (std::vector<std::string>{"other", "part-1", "part-2"}));
  EXPECT_EQ(Expand(Path("part-[12]")), (std::vector<std::string>{"part-1", "part-2"}));
}

TEST_F(FileList, AFileOfSeveralNamesCountsOnce) {
  for (const char* name : {"a", "d"}) folder_.Write(name, "");
  std::filesystem::create_hard_link(Path("a"), Path("b"));
  std::filesystem::create_symlink(Path("a"), Path("c"));
  EXPECT_EQ(Expand(Path("?") + "," + Path("b")), (std::vector<std::string>{"a", "d"}));
}

TEST_F(FileList, TakesAnExistingNameAsItIs) {
  folder_.Write("data[1]", "");
  folder_.Write("data1", "");
  EXPECT_EQ(Expand(Path("data[1]")), (std::vector<std::string>{"data[1]"}));
}

TEST_F(FileList, SaysWhatIsMissing) {
  const auto none = ExpandFiles(Path("part-*"));
  EXPECT_EQ(none.status().code(), Code::kNotFound);
  EXPECT_EQ(none.status().message(), "no file matches '" + Path("part-*") + "'");
  EXPECT_EQ(ExpandFiles("a,,b").status().message(), "'a,,b' has an empty name between its commas");
}

}  // namespace
}  // namespace penstock
