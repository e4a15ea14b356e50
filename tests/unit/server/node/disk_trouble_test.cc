// What a server says of itself when it cannot write or fold, and when it says it no longer.
#include "server/node/disk_trouble.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cerrno>
#include <filesystem>

#include "tests/unit/server/node/folding_node.h"

namespace penstock {
namespace {

using ::testing::HasSubstr;

constexpr uint64_t kNoLimit = UINT64_MAX;

class DiskTroubleTest : public FoldingNode {
 protected:
  DiskTrouble Look(uint64_t limit_bytes = kNoLimit) {
    return LookForDiskTrouble(log(), *folds_, node_file_, limit_bytes, metrics_);
  }
  void ExpectNothing(uint64_t limit_bytes = kNoLimit) {
    const DiskTrouble trouble = Look(limit_bytes);
    EXPECT_EQ(trouble.text, "");
    EXPECT_FALSE(trouble.refuses);
    EXPECT_EQ(metrics_.trouble, 0u);
  }
  void ExpectTrouble(const DiskTrouble& trouble, const std::string& text, bool refuses) {
    EXPECT_EQ(trouble.text, text);
    EXPECT_EQ(trouble.refuses, refuses);
    EXPECT_EQ(metrics_.trouble, 1u);
  }
  static void FillDisk(const std::string& point) {
    ArmFault(point, [](uint64_t) { return ErrnoStatus(ENOSPC, "write"); });
  }
  std::string Unfolded() const { return "the log cannot be folded: " + folds_->failure().message(); }
  std::string Unwritten() {
    return "pushes are refused until the log can be written: " + log().failure().message();
  }
  std::string Unsaved() const {
    return "new tables and terms are not taken until they can be written down: " +
           node_file_.failure().message();
  }
  std::string Long(uint64_t limit_bytes) {
    return StrCat("pushes are refused until a fold has shortened the log: it has ", log().Bytes(),
                  " bytes, server.log_limit_bytes allows ", limit_bytes);
  }

  const std::string node_folder_ = folder_.path() + "/later";
  NodeFile node_file_{node_folder_ + "/node"};
};

TEST_F(DiskTroubleTest, ALogThatCannotBeWrittenUntilItHasAFreshSegment) {
  ASSERT_NO_FATAL_FAILURE(Open());
  StartFolds();
  ExpectNothing();
  FillDisk("log.append.before");
  EXPECT_FALSE(Write(1).ok());
  EXPECT_THAT(log().failure().message(), HasSubstr("No space left on device"));
  ExpectTrouble(Look(), Unwritten(), true);
  DisarmAll();
  ExpectTrouble(Look(), Unwritten(), true);
  ASSERT_STATUS_OK(log().StartFreshSegment());
  ExpectNothing();
}

TEST_F(DiskTroubleTest, AFoldThatFailsRefusesNothingAndIsTriedAgainByItself) {
  ASSERT_NO_FATAL_FAILURE(Open());
  ASSERT_STATUS_OK(Write(20));
  StartFolds();
  ExpectNothing();
  FillDisk("fold.sst.before");
  wanted_ = true;
  ASSERT_TRUE(WaitFor(kFoldMs, [&] { return !folds_->failure().ok(); }));
  EXPECT_THAT(folds_->failure().message(), HasSubstr("No space left on device"));
  ExpectTrouble(Look(), Unfolded(), false);
  EXPECT_EQ(metrics_.folds, 0u);
  DisarmAll();
  ASSERT_TRUE(WaitForFolds(1));
  ExpectNothing();
}

TEST_F(DiskTroubleTest, ALogBeyondItsLimitUntilAFoldHasShortenedIt) {
  ASSERT_NO_FATAL_FAILURE(Open());
  ASSERT_STATUS_OK(Write(20));
  const uint64_t bytes = log().Bytes();
  StartFolds();
  ASSERT_TRUE(WaitFor(kFoldMs, [&] { return metrics_.log_bytes == bytes; }));
  ExpectNothing(bytes);
  ExpectTrouble(Look(bytes - 1), Long(bytes - 1), true);
  wanted_ = true;
  ASSERT_TRUE(WaitFor(kFoldMs, [&] { return metrics_.log_bytes < bytes; }));
  ExpectNothing(bytes - 1);
}

TEST_F(DiskTroubleTest, ANodeFileThatCannotBeWrittenUntilItIs) {
  ASSERT_NO_FATAL_FAILURE(Open());
  StartFolds();
  EXPECT_FALSE(node_file_.Save({}).ok());
  ExpectTrouble(Look(), Unsaved(), true);
  std::filesystem::create_directory(node_folder_);
  ASSERT_STATUS_OK(node_file_.Save({}));
  ExpectNothing();
}

TEST_F(DiskTroubleTest, AllAtOnceWritingFirst) {
  ASSERT_NO_FATAL_FAILURE(Open());
  ASSERT_STATUS_OK(Write(20));
  FillDisk("log.append.before");
  EXPECT_FALSE(Write(1).ok());
  EXPECT_FALSE(node_file_.Save({}).ok());
  StartFolds();
  wanted_ = true;
  ASSERT_TRUE(WaitFor(kFoldMs, [&] { return !folds_->failure().ok(); }));
  ExpectTrouble(Look(1), Unwritten() + "; " + Unfolded() + "; " + Unsaved() + "; " + Long(1), true);
}

}  // namespace
}  // namespace penstock
