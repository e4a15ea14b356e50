// Which partitions are kept, which are read again, and what reading ahead saves.
#include "data/partition_store.h"

#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <map>
#include <mutex>
#include <thread>

namespace penstock {
namespace {

constexpr uint64_t kRecords = 100;

// A partition is told by where it begins. Counts who reads what.
class CountingDataset final : public Dataset {
 public:
  CountingDataset() : Dataset({"counted"}) {}
  bool dense() const override { return false; }
  uint64_t features() const override { return 0; }
  uint64_t size_bytes() const override { return 0; }
  Result<DataIndex> Index() const override { return DataIndex(Holdout{}); }
  Result<Examples> Read(PartitionRange range) const override {
    {
      std::lock_guard lock(mutex_);
      ++reads_[range.begin];
      readers_.push_back(std::this_thread::get_id());
    }
    if (range.begin == failing) return InvalidArgument("damaged");
    Examples examples;
    examples.labels.assign(kRecords, static_cast<float>(range.begin));
    return examples;
  }

  int Reads(uint64_t begin) const {
    std::lock_guard lock(mutex_);
    return reads_[begin];
  }
  std::thread::id LastReader() const {
    std::lock_guard lock(mutex_);
    return readers_.back();
  }

  std::atomic<uint64_t> failing{UINT64_MAX};

 private:
  mutable std::mutex mutex_;
  mutable std::map<uint64_t, int> reads_;
  mutable std::vector<std::thread::id> readers_;
};

PartitionRange Partition(uint64_t begin) { return {.begin = begin, .end = begin + kRecords}; }

class PartitionStoreTest : public testing::Test {
 protected:
  // So many partitions have room.
  static uint64_t RoomFor(uint64_t partitions) {
    Examples examples;
    examples.labels.resize(kRecords);
    return partitions * examples.MemoryBytes();
  }
  static void Get(PartitionStore& store, const std::shared_ptr<CountingDataset>& dataset, uint64_t begin) {
    const auto examples = store.Get(dataset, Partition(begin));
    ASSERT_TRUE(examples.ok()) << examples.status().ToString();
    ASSERT_EQ((*examples)->labels.at(0), static_cast<float>(begin));
  }

  const std::shared_ptr<CountingDataset> data_ = std::make_shared<CountingDataset>();
  const std::shared_ptr<CountingDataset> other_ = std::make_shared<CountingDataset>();
};

TEST_F(PartitionStoreTest, KeepsWhatIsReadFirstOfDataThatGoRound) {
  PartitionStore store(RoomFor(2));
  for (int pass = 0; pass < 3; ++pass) {
    for (const uint64_t partition : {0, 1, 2}) Get(store, data_, partition);
  }
  EXPECT_EQ(data_->Reads(0), 1);
  EXPECT_EQ(data_->Reads(1), 1);
  EXPECT_EQ(data_->Reads(2), 3);
  EXPECT_EQ(store.kept_bytes(), RoomFor(2));
}

TEST_F(PartitionStoreTest, DataOfOthersMakeRoomLeastRecentlyUsedFirst) {
  PartitionStore store(RoomFor(2));
  Get(store, other_, 0);
  Get(store, other_, 1);
  Get(store, other_, 0);
  Get(store, data_, 5);
  Get(store, other_, 0);
  EXPECT_EQ(other_->Reads(0), 1);
  EXPECT_EQ(store.kept_bytes(), RoomFor(2));
  Get(store, other_, 1);
  EXPECT_EQ(other_->Reads(1), 2);
}

TEST_F(PartitionStoreTest, KeepsNothingWithoutRoom) {
  PartitionStore store(RoomFor(1) - 1);
  Get(store, data_, 0);
  Get(store, data_, 0);
  EXPECT_EQ(data_->Reads(0), 2);
  EXPECT_EQ(store.kept_bytes(), 0u);
}

TEST_F(PartitionStoreTest, DoesNotKeepAnError) {
  PartitionStore store(RoomFor(2));
  data_->failing = 3;
  EXPECT_EQ(store.Get(data_, Partition(3)).status().code(), Code::kInvalidArgument);
  store.ReadAhead(data_, Partition(3));
  EXPECT_EQ(store.Get(data_, Partition(3)).status().code(), Code::kInvalidArgument);
  data_->failing = UINT64_MAX;
  Get(store, data_, 3);
}

TEST_F(PartitionStoreTest, ReadsAheadOnAnotherThreadAndOnce) {
  PartitionStore store(0);
  store.ReadAhead(data_, Partition(7));
  store.ReadAhead(data_, Partition(7));
  Get(store, data_, 7);
  EXPECT_EQ(data_->Reads(7), 1);
  EXPECT_NE(data_->LastReader(), std::this_thread::get_id());
}

TEST_F(PartitionStoreTest, DoesNotReadAheadWhatItHas) {
  PartitionStore store(RoomFor(1));
  Get(store, data_, 7);
  store.ReadAhead(data_, Partition(7));
  Get(store, data_, 7);
  EXPECT_EQ(data_->Reads(7), 1);
}

TEST_F(PartitionStoreTest, KeepsWhatWasReadAheadInVain) {
  PartitionStore store(RoomFor(2));
  store.ReadAhead(data_, Partition(1));
  // Nothing else is begun until that is read.
  const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(20);
  while (data_->Reads(2) == 0) {
    ASSERT_LT(std::chrono::steady_clock::now(), deadline);
    store.ReadAhead(data_, Partition(2));
  }
  Get(store, data_, 1);
  Get(store, data_, 2);
  EXPECT_EQ(data_->Reads(1), 1);
  EXPECT_EQ(data_->Reads(2), 1);
}

}  // namespace
}  // namespace penstock
