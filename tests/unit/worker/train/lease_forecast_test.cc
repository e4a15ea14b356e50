// What a worker reads ahead.
#include "worker/train/lease_forecast.h"

#include <gtest/gtest.h>

#include "common/base/shuffle.h"

namespace penstock {
namespace {

constexpr uint32_t kPartitions = 8;

class LeaseForecastTest : public testing::Test {
 protected:
  // Of the lease at `position` of `pass`.
  LeaseInfo Lease(uint32_t pass, uint32_t position) const {
    LeaseInfo lease;
    lease.pass = pass;
    lease.partition = Order(pass)[position];
    lease.partitions = kPartitions;
    lease.position = position;
    return lease;
  }
  std::vector<uint32_t> Order(uint32_t pass) const {
    return PartitionOrder(train_.shuffle, train_.seed, pass, kPartitions);
  }

  JobTrain train_{.passes = 2};
  LeaseForecast forecast_;
};

TEST_F(LeaseForecastTest, OneWorkerGetsThemInOrder) {
  const auto first = Order(0), second = Order(1);
  ASSERT_NE(first, second);
  for (uint32_t i = 0; i + 1 < kPartitions; ++i)
    EXPECT_EQ(forecast_.After(Lease(0, i), train_), first[i + 1]) << i;
  EXPECT_EQ(forecast_.After(Lease(0, kPartitions - 1), train_), second[0]);
  for (uint32_t i = 0; i + 1 < kPartitions; ++i)
    EXPECT_EQ(forecast_.After(Lease(1, i), train_), second[i + 1]) << i;
  EXPECT_EQ(forecast_.After(Lease(1, kPartitions - 1), train_), std::nullopt);
}

TEST_F(LeaseForecastTest, OneOfThreeGetsEveryThird) {
  const auto first = Order(0), second = Order(1);
  forecast_.After(Lease(0, 1), train_);
  EXPECT_EQ(forecast_.After(Lease(0, 4), train_), first[7]);
  EXPECT_EQ(forecast_.After(Lease(0, 7), train_), second[2]);
  EXPECT_EQ(forecast_.After(Lease(1, 2), train_), second[5]);
}

TEST_F(LeaseForecastTest, EvaluationsGoByTheOrderOfTheData) {
  LeaseInfo lease;
  lease.phase = proto::Lease::Phase::EVALUATE_TEST;
  lease.partitions = 3;
  EXPECT_EQ(forecast_.After(lease, train_), 1u);
  lease.partition = lease.position = 2;
  EXPECT_EQ(forecast_.After(lease, train_), std::nullopt);
}

}  // namespace
}  // namespace penstock
