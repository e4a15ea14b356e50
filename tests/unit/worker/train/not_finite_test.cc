// What a job is told of numbers that are not finite.
#include "worker/train/not_finite.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <utility>

namespace penstock {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;

class NotFiniteTest : public ::testing::Test {
 protected:
  NotFiniteTest() {
    tables_[0].id = 5, tables_[0].name = "job.1/weights", tables_[0].dim = 1;
    tables_[1].id = 6, tables_[1].name = "job.1/factors", tables_[1].dim = 2;
    prepared_.keys = {{10, 11}, {20, 21, 22}};
  }
  Status Loss(double loss) {
    const TableValues values(rows_.begin(), rows_.end());
    return NotFiniteLoss(loss, {.where = "step 17",
                                .tables = tables_,
                                .prepared = prepared_,
                                .values = values,
                                .gradients = &gradients_});
  }

  static constexpr float kInfinite = std::numeric_limits<float>::infinity();
  std::vector<TableSpec> tables_{2};
  PreparedBatch prepared_;
  std::vector<std::vector<float>> rows_{{0, 1}, {1, 2, 3, 4, 5, 6}};
  TableGradients gradients_ = rows_;
};

TEST_F(NotFiniteTest, ALossNamesTheRowTheStepAndWhatHelps) {
  rows_[1][3] = kInfinite;
  const Status status = Loss(std::nan(""));
  EXPECT_EQ(status.code(), Code::kInvalidArgument);
  EXPECT_THAT(
      status.message(),
      AllOf(HasSubstr("step 17: the loss is nan: key 21 of table 'job.1/factors' is not finite"),
            HasSubstr("optimizer.learning_rate"), HasSubstr("optimizer.clip_norm"), HasSubstr("data.scale")));
}

TEST_F(NotFiniteTest, WhereAllRowsAreFiniteAGradientOrNone) {
  gradients_[0][1] = -kInfinite;
  EXPECT_THAT(Loss(kInfinite).message(),
              HasSubstr("the loss is inf: the gradient of key 11 of table 'job.1/weights' is not finite"));
  gradients_[0][1] = 0;
  EXPECT_THAT(Loss(kInfinite).message(), HasSubstr("the loss is inf, though all of its rows are finite"));
}

TEST_F(NotFiniteTest, LossAndEachGradientCount) {
  using Limits = std::numeric_limits<float>;
  gradients_ = {{Limits::max(), Limits::lowest()}, {Limits::denorm_min(), -0.0f, 1}};
  EXPECT_TRUE(IsFinite(1, gradients_));
  EXPECT_FALSE(IsFinite(std::nan(""), gradients_));
  for (std::vector<float>& table : gradients_) {
    for (float& gradient : table) {
      for (const float bad :
           {kInfinite, -kInfinite, Limits::quiet_NaN(), -Limits::quiet_NaN(), Limits::signaling_NaN()}) {
        const float kept = std::exchange(gradient, bad);
        EXPECT_FALSE(IsFinite(1, gradients_));
        gradient = kept;
      }
    }
  }
  EXPECT_TRUE(IsFinite(1, {}));
}

TEST_F(NotFiniteTest, RowsThatServersHaveFoundAreOfTheModel) {
  PushResult pushed;
  EXPECT_TRUE(CheckRows(pushed, tables_, "step 3").ok());
  pushed.not_finite = {{.table = 9, .rows = 1, .key = 1}};
  EXPECT_TRUE(CheckRows(pushed, tables_, "step 3").ok());
  pushed.not_finite.push_back({.table = 6, .rows = 2, .key = 22});
  const Status status = CheckRows(pushed, tables_, "step 3");
  EXPECT_EQ(status.code(), Code::kInvalidArgument);
  EXPECT_THAT(status.message(), AllOf(HasSubstr("step 3: steps have left rows that are not finite"),
                                      HasSubstr("key 22 of table 'job.1/factors'"), HasSubstr("data.scale")));
}

}  // namespace
}  // namespace penstock
