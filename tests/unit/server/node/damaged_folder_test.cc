// What is put aside: in which order, within which limit, and what is said of it.
#include "server/node/damaged_folder.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>

namespace penstock {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

class DamagedFolderTest : public ::testing::Test {
 protected:
  DamagedFolderTest() {
    std::string pattern = testing::TempDir() + "penstock-damaged-XXXXXX";
    dir_ = mkdtemp(pattern.data());
  }
  ~DamagedFolderTest() override { std::filesystem::remove_all(dir_); }

  static void Put(const std::string& folder, const std::string& name, size_t bytes) {
    std::filesystem::create_directories(std::filesystem::path(folder + "/" + name).parent_path());
    std::ofstream(folder + "/" + name) << std::string(bytes, 'x');
  }

  std::string dir_;
};

TEST_F(DamagedFolderTest, NothingIsSaidOfNothing) {
  DamagedFolder damaged(dir_, 1000);
  EXPECT_EQ(damaged.Next(), dir_ + "/damaged/1");
  EXPECT_TRUE(damaged.Trim().ok());
  EXPECT_EQ(damaged.Note(), "");
  EXPECT_FALSE(std::filesystem::exists(dir_ + "/damaged"));
}

TEST_F(DamagedFolderTest, TheOldestGoBeyondTheLimitAndTheLatestStays) {
  DamagedFolder damaged(dir_, 1000);
  for (int i = 0; i < 3; ++i) {
    const std::string next = damaged.Next();
    EXPECT_EQ(next, dir_ + "/damaged/" + std::to_string(i + 1));
    Put(next, "base/000001.sst", 400);
    ASSERT_TRUE(damaged.Trim().ok());
  }
  EXPECT_FALSE(std::filesystem::exists(dir_ + "/damaged/1"));
  EXPECT_TRUE(std::filesystem::exists(dir_ + "/damaged/2/base/000001.sst"));
  EXPECT_EQ(damaged.bytes(), 800u);
  EXPECT_THAT(damaged.Note(), HasSubstr("put aside 2 times, 800 bytes in " + dir_ + "/damaged"));
  EXPECT_THAT(damaged.Note(), HasSubstr("1 older ones, 400 bytes, were removed"));
  EXPECT_THAT(damaged.Note(), HasSubstr("server.damaged_limit_bytes = 1000"));
  Put(damaged.Next(), "log-1.seg.from-88", 5000);
  ASSERT_TRUE(damaged.Trim().ok());
  EXPECT_EQ(damaged.bytes(), 5000u);
  EXPECT_THAT(damaged.Note(), HasSubstr("the latest: log-1.seg.from-88"));
  EXPECT_EQ(damaged.Next(), dir_ + "/damaged/5") << "numbers go on";
}

TEST_F(DamagedFolderTest, WhatTheOperatorRemovesIsNotSaidAnyMore) {
  DamagedFolder damaged(dir_, 1000);
  Put(damaged.Next(), "log-1.seg", 10);
  ASSERT_TRUE(damaged.Trim().ok());
  EXPECT_NE(damaged.Note(), "");
  std::filesystem::remove_all(damaged.path());
  damaged.Look();
  EXPECT_EQ(damaged.Note(), "");
  EXPECT_EQ(damaged.bytes(), 0u);
}

// Earlier versions put base and log there themselves.
TEST_F(DamagedFolderTest, WhatHasNoNumberIsTheOldest) {
  DamagedFolder damaged(dir_, 100);
  Put(damaged.path(), "base/000001.sst", 80);
  Put(damaged.path(), "log/log-1.seg", 40);
  ASSERT_TRUE(damaged.Trim().ok());
  EXPECT_THAT(damaged.Note(), HasSubstr("1 time, 120 bytes"));
  EXPECT_THAT(damaged.Note(), HasSubstr("the latest: base, log"));
  EXPECT_THAT(damaged.Note(), Not(HasSubstr("removed")));
  EXPECT_EQ(damaged.Next(), dir_ + "/damaged/1");
  Put(damaged.Next(), "base/000001.sst", 1);
  ASSERT_TRUE(damaged.Trim().ok());
  EXPECT_EQ(damaged.bytes(), 1u);
  EXPECT_FALSE(std::filesystem::exists(damaged.path() + "/log"));
}

}  // namespace
}  // namespace penstock
