// When the log is folded, and which of its files stay in reserve.
#include "server/node/fold_runner.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <chrono>
#include <filesystem>
#include <future>
#include <thread>

#include "tests/unit/server/node/folding_node.h"

namespace penstock {
namespace {

class FoldRunnerTest : public FoldingNode {
 protected:
  std::vector<uint64_t> SpareSizes() const {
    std::vector<uint64_t> sizes;
    for (const auto& file : std::filesystem::directory_iterator(node_.log_dir())) {
      if (ParseSpareFileName(file.path().filename().string())) sizes.push_back(file.file_size());
    }
    return sizes;
  }
};

TEST_F(FoldRunnerTest, TheLogIsFoldedAtTheLengthThatItIsTold) {
  ASSERT_NO_FATAL_FAILURE(Open());
  ASSERT_STATUS_OK(Write(50));
  const uint64_t bytes = log().Bytes();
  fold_at_ = bytes + 1;
  StartFolds();
  const auto looks_at = [&](uint64_t length) {
    return WaitFor(kFoldMs, [&] { return metrics_.fold_at_bytes == length; });
  };
  ASSERT_TRUE(looks_at(bytes + 1));
  fold_at_ = bytes + 2;
  ASSERT_TRUE(looks_at(bytes + 2)) << "it has decided on the first length";
  EXPECT_EQ(metrics_.log_bytes, bytes);
  EXPECT_EQ(metrics_.folds, 0u);
  fold_at_ = bytes;
  ASSERT_TRUE(WaitForFolds(1));
  EXPECT_LT(log().Bytes(), bytes);
  const auto base = node_.LoadBase();
  ASSERT_STATUS_OK(base.status());
  EXPECT_EQ(Difference(*base, source_.model()), "");
}

TEST_F(FoldRunnerTest, AsManySparesStayAsAFoldRemoves) {
  ASSERT_NO_FATAL_FAILURE(Open(64 << 10));
  while (log().Sealed().size() < 12) ASSERT_STATUS_OK(Write(1));
  fold_at_ = 4 * segment_bytes_;
  StartFolds();
  ASSERT_TRUE(WaitForFolds(1));
  EXPECT_EQ(log().spares(), 5u);
  const std::vector<uint64_t> sizes = SpareSizes();
  ASSERT_EQ(sizes.size(), 5u);
  for (const uint64_t size : sizes) EXPECT_LE(size, segment_bytes_);
  EXPECT_GT(*std::max_element(sizes.begin(), sizes.end()), segment_bytes_ / 2) << "files of the log";

  fold_at_ = segment_bytes_;
  wanted_ = true;
  ASSERT_TRUE(WaitForFolds(2));
  EXPECT_EQ(log().spares(), 2u) << "the log is to be shorter now";
  EXPECT_EQ(SpareSizes().size(), 2u);
}

TEST_F(FoldRunnerTest, SparesOfALongLogAreBounded) {
  ASSERT_NO_FATAL_FAILURE(Open(64 << 10));
  for (int i = 0; i < 1200; ++i) {
    ASSERT_STATUS_OK(Write(1));
    ASSERT_STATUS_OK(log().Seal());
    if (i % 100 == 99) ASSERT_STATUS_OK(log().Sync());  // closes their files
  }
  fold_at_ = 1100 * segment_bytes_;
  wanted_ = true;
  StartFolds();
  ASSERT_TRUE(WaitForFolds(1));
  EXPECT_EQ(log().spares(), 1024u);
}

// A long one would take its time, and changes nothing until it is whole.
TEST_F(FoldRunnerTest, AFoldThatRunsEndsWithTheServer) {
  ASSERT_NO_FATAL_FAILURE(Open(64 << 10));
  for (int i = 0; i < 200; ++i) {
    ASSERT_STATUS_OK(Write(1));
    ASSERT_STATUS_OK(log().Seal());
  }
  ASSERT_STATUS_OK(log().Sync());
  std::promise<void> begun;
  ArmFault("fold.read", [&](uint64_t hit) {
    if (hit == 1) begun.set_value();
    std::this_thread::sleep_for(std::chrono::milliseconds(20));
    return Status::Ok();
  });
  wanted_ = true;
  StartFolds();
  begun.get_future().wait();
  folds_->FoldRest();
  EXPECT_EQ(metrics_.folds, 0u);
  EXPECT_EQ(metrics_.fold_failures, 0u);
  ASSERT_STATUS_OK(folds_->failure());
  EXPECT_LT(FaultHits("fold.read"), 200u);
}

}  // namespace
}  // namespace penstock
