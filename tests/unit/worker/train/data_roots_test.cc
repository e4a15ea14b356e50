// Which files the jobs of clients may name.
#include "worker/train/data_roots.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <stdlib.h>

#include <filesystem>
#include <fstream>

namespace penstock {
namespace {

using ::testing::HasSubstr;
namespace fs = std::filesystem;

class DataRootsTest : public ::testing::Test {
 protected:
  DataRootsTest() {
    std::string pattern = (fs::temp_directory_path() / "penstock-roots-XXXXXX").string();
    dir_ = mkdtemp(pattern.data());
    fs::create_directories(dir_ + "/data/sub");
    fs::create_directories(dir_ + "/database");
    for (const char* name : {"/data/a.csv", "/data/sub/b.csv", "/secret", "/database/c.csv"})
      std::ofstream(dir_ + name) << "x\n";
    fs::create_symlink(dir_ + "/secret", dir_ + "/data/link");
    fs::create_symlink(dir_ + "/data", dir_ + "/alias");
  }
  ~DataRootsTest() override { fs::remove_all(dir_); }

  void ExpectRefused(const DataRoots& roots, const std::string& files) {
    const Status status = roots.Check(files);
    EXPECT_EQ(status.code(), Code::kPermissionDenied) << files << ": " << status.ToString();
    EXPECT_THAT(status.message(), HasSubstr("worker.data_roots"));
  }

  std::string dir_;
};

TEST_F(DataRootsTest, BelowARoot) {
  for (const auto& root : {dir_ + "/data", dir_ + "/data/", dir_ + "/alias"}) {
    const DataRoots roots({"/nowhere", root});
    const std::string base = root.back() == '/' ? root : root + "/";
    for (const auto& files :
         {base + "a.csv", base + "a.csv," + base + "sub/b.csv", base + "a*", std::string()})
      EXPECT_TRUE(roots.Check(files).ok()) << files << ": " << roots.Check(files).ToString();
    EXPECT_EQ(roots.Check(base + "none.csv").code(), Code::kNotFound);
  }
}

TEST_F(DataRootsTest, Elsewhere) {
  const DataRoots roots({dir_ + "/data"});
  ExpectRefused(roots, dir_ + "/secret");
  ExpectRefused(roots, dir_ + "/missing");
  ExpectRefused(roots, dir_ + "/data/../secret");
  ExpectRefused(roots, dir_ + "/database/c.csv");
  ExpectRefused(roots, dir_ + "/data/a.csv," + dir_ + "/secret");
  ExpectRefused(roots, dir_ + "/*");
  ExpectRefused(roots, dir_ + "/data/link");
  ExpectRefused(roots, dir_ + "/data/l*");
  ExpectRefused(roots, "relative.csv");
}

TEST_F(DataRootsTest, OfAllFilesOfAJob) {
  const DataRoots roots({dir_ + "/data"});
  JobData data;
  data.train = dir_ + "/data/a.csv";
  EXPECT_TRUE(roots.CheckJob(data).ok()) << roots.CheckJob(data).ToString();
  data.test = dir_ + "/secret";
  EXPECT_EQ(roots.CheckJob(data).code(), Code::kPermissionDenied);
  EXPECT_THAT(roots.CheckJob(data).message(), HasSubstr("data.test: "));
  // The labels' name follows from that of the images.
  data.test = "";
  data.format = "idx";
  data.train = dir_ + "/data/images-idx3";
  std::ofstream(data.train) << "x";
  fs::create_symlink(dir_ + "/secret", dir_ + "/data/labels-idx1");
  EXPECT_EQ(roots.CheckJob(data).code(), Code::kPermissionDenied) << roots.CheckJob(data).ToString();
  EXPECT_THAT(roots.CheckJob(data).message(), HasSubstr("labels-idx1"));
  fs::remove(dir_ + "/data/labels-idx1");
  EXPECT_EQ(roots.CheckJob(data).code(), Code::kNotFound);
  std::ofstream(dir_ + "/data/labels-idx1") << "x";
  EXPECT_TRUE(roots.CheckJob(data).ok()) << roots.CheckJob(data).ToString();
}

TEST_F(DataRootsTest, WithoutRootsNothingIsAllowed) { ExpectRefused(DataRoots({}), dir_ + "/data/a.csv"); }

}  // namespace
}  // namespace penstock
