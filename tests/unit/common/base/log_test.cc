// Logging: the form of a line, one rotating file, old files deleted, clear errors for bad places.
#include "common/base/log.h"

#include <glog/logging.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>
#include <utime.h>

#include <chrono>
#include <cstdlib>
#include <ctime>
#include <filesystem>
#include <fstream>
#include <sstream>
#include <thread>

#include "tests/unit/common/temp_dir.h"

namespace penstock {
namespace {

using testing::ContainsRegex;
using testing::HasSubstr;
using testing::Not;

std::string ReadAll(const std::string& path) {
  std::ifstream file(path);
  std::stringstream text;
  text << file.rdbuf();
  return text.str();
}

size_t LogFiles(const TempDir& dir) {
  size_t count = 0;
  for (const auto& entry : std::filesystem::directory_iterator(dir.path())) count += !entry.is_symlink();
  return count;
}

TEST(LogTest, LinesNameNodeAndPlaceAndSurviveWithoutAFlush) {
  TempDir dir;
  auto logging = Logging::Start({.program = "log-test", .node = "server-2", .dir = dir.path("logs/deep")});
  ASSERT_TRUE(logging.ok()) << logging.status().ToString();
  EXPECT_EQ(LogFile(), dir.path("logs/deep/log-test.INFO"));
  LOG(INFO) << "first";
  (*logging)->SetNode("server-3");
  LOG(WARNING) << "second";
  const std::string text = ReadAll(dir.path("logs/deep/log-test.INFO"));
  EXPECT_THAT(text, ContainsRegex("\nI [0-9-]*T[0-9:.]*Z server-2 [0-9]* log_test.cc:[0-9]*] first\n"));
  EXPECT_THAT(text, ContainsRegex("\nW [0-9-]*T[0-9:.]*Z server-3 [0-9]* log_test.cc:[0-9]*] second\n"));
}

TEST(LogTest, LevelFiltersAndErrorsAlsoGoToStandardError) {
  TempDir dir;
  auto logging = Logging::Start({.program = "log-test", .level = "warning", .dir = dir.path()});
  ASSERT_TRUE(logging.ok());
  testing::internal::CaptureStderr();
  LOG(INFO) << "quiet";
  LOG(WARNING) << "careful";
  LOG(ERROR) << "broken";
  const std::string err = testing::internal::GetCapturedStderr();
  const std::string text = ReadAll(dir.path("log-test.INFO"));
  EXPECT_THAT(text, Not(HasSubstr("quiet")));
  EXPECT_THAT(text, HasSubstr("careful"));
  EXPECT_THAT(text, HasSubstr("broken"));
  EXPECT_THAT(err, Not(HasSubstr("careful")));
  EXPECT_THAT(err, HasSubstr("broken"));
}

TEST(LogTest, WithoutADirectoryAllGoesToStandardError) {
  auto logging = Logging::Start({.program = "log-test"});
  ASSERT_TRUE(logging.ok());
  testing::internal::CaptureStderr();
  LOG(INFO) << "hello";
  EXPECT_THAT(testing::internal::GetCapturedStderr(), HasSubstr(" log-test "));
}

TEST(LogTest, BeginsANewFileAtTheSizeLimit) {
  TempDir dir;
  auto logging = Logging::Start({.program = "log-test", .dir = dir.path(), .max_mib = 1});
  ASSERT_TRUE(logging.ok());
  const std::string line(8000, 'x');
  const time_t begin = std::time(nullptr);
  for (int i = 0; i < 100; ++i) LOG(INFO) << line;
  // Files are named by the second: let the next one come before the limit is passed.
  while (std::time(nullptr) <= begin + 1) std::this_thread::sleep_for(std::chrono::milliseconds(10));
  for (int i = 0; i < 100; ++i) LOG(INFO) << line;
  EXPECT_EQ(LogFiles(dir), 2u);
}

// In a process of its own: glog looks for old files with the first message and then every few minutes.
bool OldFileGoesAndOtherStays() {
  TempDir dir;
  const std::string old = dir.Write("log-test.20200101-120000.1", "old");
  const std::string other = dir.Write("other.20200101-120000.1", "old");
  const utimbuf times{.actime = 1577880000, .modtime = 1577880000};
  if (utime(old.c_str(), &times) != 0 || utime(other.c_str(), &times) != 0) return false;
  auto logging = Logging::Start({.program = "log-test", .dir = dir.path(), .keep_days = 3});
  if (!logging.ok()) return false;
  LOG(INFO) << "now";
  return !std::filesystem::exists(old) && std::filesystem::exists(other);
}

TEST(LogDeathTest, DeletesOldFilesOfThisProgramOnly) {
  testing::FLAGS_gtest_death_test_style = "threadsafe";
  EXPECT_EXIT(std::_Exit(OldFileGoesAndOtherStays() ? 0 : 1), testing::ExitedWithCode(0), "");
}

TEST(LogTest, BadPlacesAndLevelsAreNamed) {
  TempDir dir;
  const std::string file = dir.Write("file", "");
  const auto not_a_directory = Logging::Start({.program = "log-test", .dir = file + "/logs"});
  ASSERT_FALSE(not_a_directory.ok());
  EXPECT_THAT(not_a_directory.status().message(), HasSubstr(file));
  const auto level = Logging::Start({.program = "log-test", .level = "loud"});
  EXPECT_THAT(level.status().message(), HasSubstr("'loud': must be one of 'info', 'warning', 'error'"));
  if (geteuid() != 0) {  // root may write anywhere
    ASSERT_EQ(chmod(dir.path().c_str(), 0500), 0);
    EXPECT_EQ(Logging::Start({.program = "log-test", .dir = dir.path()}).status().code(),
              Code::kPermissionDenied);
    ASSERT_EQ(chmod(dir.path().c_str(), 0700), 0);
  }
  EXPECT_FALSE(Logging::Start({.program = "log-test", .dir = "/proc/penstock"}).ok());
  // None of them is in the way of a good one.
  auto good = Logging::Start({.program = "log-test", .dir = dir.path()});
  ASSERT_TRUE(good.ok()) << good.status().ToString();
  EXPECT_EQ(Logging::Start({.program = "log-test"}).status().code(), Code::kFailedPrecondition);
}

}  // namespace
}  // namespace penstock
