// Whether a file could be written is known before there is anything to write.
#include "common/base/atomic_file.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>

#include "tests/unit/common/temp_dir.h"

namespace penstock {
namespace {

using testing::HasSubstr;

TEST(AtomicFile, WhatCanBeReplaced) {
  TempDir dir;
  const std::string path = dir.path("report.json");
  EXPECT_TRUE(CheckReplaceable(path).ok());
  EXPECT_TRUE(std::filesystem::is_empty(dir.path())) << "it leaves nothing";
  ASSERT_TRUE(WriteFileAtomically(path, "old").ok());
  EXPECT_TRUE(CheckReplaceable(path).ok());
  EXPECT_EQ(*ReadWholeFile(path), "old");
}

TEST(AtomicFile, WhatCannot) {
  TempDir dir;
  EXPECT_THAT(CheckReplaceable(dir.path()).message(), HasSubstr(dir.path() + " is a folder"));
  EXPECT_THAT(CheckReplaceable("/dev/null").message(), HasSubstr("/dev/null is no regular file"));
  EXPECT_THAT(CheckReplaceable(dir.path("none/report.json")).message(), HasSubstr("none/report.json"));
  EXPECT_THAT(CheckReplaceable(dir.path(std::string(300, 'n'))).message(), HasSubstr("nnn"));
}

}  // namespace
}  // namespace penstock
