// Marks against a plain model of sets, its encoding, the window, and what it costs in memory.
#include "server/marks.h"

#include <capnp/message.h>
#include <gtest/gtest.h>

#include <map>
#include <random>
#include <set>

namespace penstock {
namespace {

// What Marks must be equal to.
struct Model {
  std::map<ProducerId, std::set<Sequence>> applied;
  std::map<ProducerId, Sequence> low;
  std::set<ProducerId> finished;

  bool Contains(ProducerId p, Sequence s) const {
    const auto l = low.find(p);
    if (l != low.end() && s < l->second) return true;
    const auto a = applied.find(p);
    return a != applied.end() && a->second.contains(s);
  }
  void Add(ProducerId p, Sequence s) {
    if (!finished.contains(p)) applied[p].insert(s);
  }
  void AdvanceLow(ProducerId p, Sequence l) {
    if (!finished.contains(p)) low[p] = std::max(low[p], l);
  }
  void Finish(ProducerId p) {
    applied.erase(p);
    low.erase(p);
    finished.insert(p);
  }
  void Forget(ProducerId floor) {
    applied.erase(applied.begin(), applied.lower_bound(floor));
    low.erase(low.begin(), low.lower_bound(floor));
    finished.erase(finished.begin(), finished.lower_bound(floor));
  }
};

constexpr ProducerId kProducers = 24;
constexpr Sequence kSequences = 90;

void ExpectEqual(const Marks& marks, const Model& model, uint64_t seed, const char* what) {
  for (ProducerId p = 1; p <= kProducers; ++p) {
    ASSERT_EQ(marks.Finished(p), model.finished.contains(p))
        << what << ", producer " << p << ", seed " << seed;
    for (Sequence s = 0; s <= kSequences; ++s) {
      ASSERT_EQ(marks.Contains(p, s), model.Contains(p, s))
          << what << ", producer " << p << " sequence " << s << ", seed " << seed;
    }
  }
}

class Harness {
 public:
  explicit Harness(uint64_t seed) : seed_(seed), random_(seed) {}

  void Step() {
    const ProducerId p = 1 + random_() % kProducers;
    if (p < floor_) return;  // the shard refuses it
    const unsigned what = random_() % 100;
    if (what < 70) {
      const Sequence s = random_() % kSequences;
      marks_.Add(p, s);
      model_.Add(p, s);
    } else if (what < 90) {
      const Sequence low = random_() % (kSequences / 2);
      marks_.AdvanceLow(p, low);
      model_.AdvanceLow(p, low);
    } else if (what < 92) {
      const ProducerId last = std::min(kProducers, p + random_() % 3);
      marks_.FinishProducers(p, last);
      for (ProducerId i = p; i <= last; ++i) model_.Finish(i);
    } else if (what < 93) {
      floor_ = std::max<ProducerId>(floor_, random_() % (kProducers / 2));
      marks_.Forget(floor_);
      model_.Forget(floor_);
    } else if (what < 98) {
      LogChanges(random_() % 8 == 0);
    } else {
      Reload();
    }
  }
  void LogChanges(bool full) {
    capnp::MallocMessageBuilder message;
    auto out = message.initRoot<proto::TableDelta>();
    const size_t words = full ? marks_.FullWords() : marks_.ChangesWords();
    if (full) marks_.WriteFull(out);
    if (!full) marks_.WriteChanges(out);
    EXPECT_LE(out.totalSize().wordCount, words + capnp::sizeInWords<proto::TableDelta>() + 1)
        << "seed " << seed_;
    marks_.ClearChanges();
    ASSERT_FALSE(marks_.HasChanges());
    replica_.Merge(out.asReader());
    // Merging the same again changes nothing.
    replica_.Merge(out.asReader());
    replica_.Forget(floor_);
  }
  // The set goes through its full encoding and goes on from there; what was not logged stays noted in
  // `marks_` only.
  void Reload() {
    LogChanges(false);
    capnp::MallocMessageBuilder message;
    auto out = message.initRoot<proto::TableDelta>();
    marks_.WriteFull(out);
    marks_ = Marks();
    marks_.Merge(out.asReader());
    ASSERT_FALSE(marks_.HasChanges());
  }
  void Check() {
    ExpectEqual(marks_, model_, seed_, "set");
    LogChanges(false);
    ExpectEqual(replica_, model_, seed_, "replica of the changes");
  }

 private:
  const uint64_t seed_;
  std::mt19937_64 random_;
  Marks marks_, replica_;
  Model model_;
  ProducerId floor_ = 0;
};

TEST(MarksTest, EqualsModelOfSets) {
  for (uint64_t seed = 1; seed <= 60; ++seed) {
    Harness harness(seed);
    for (int step = 0; step < 1500; ++step) {
      harness.Step();
      if (step % 100 == 99) harness.Check();
      if (HasFatalFailure()) return;
    }
  }
}

TEST(MarksTest, WindowRefusesFarSequencesButNeverTheOneAtLow) {
  Marks marks;
  EXPECT_TRUE(marks.CheckWindow(7, 5'000'000, 5'000'000).ok());
  EXPECT_TRUE(marks.CheckWindow(7, Marks::kWindow - 1, 0).ok());
  EXPECT_EQ(marks.CheckWindow(7, Marks::kWindow, 0).code(), Code::kOverloaded);
  marks.AdvanceLow(7, 1000);
  EXPECT_TRUE(marks.CheckWindow(7, Marks::kWindow + 999, 10).ok()) << "the low known here counts";
  EXPECT_EQ(marks.CheckWindow(7, Marks::kWindow + 1000, 10).code(), Code::kOverloaded);
  EXPECT_TRUE(marks.CheckWindow(7, 10, 10).ok());
}

TEST(MarksTest, HalfOfTheWindowPressesUntilLogged) {
  Marks marks;
  marks.Add(3, 1'000'000);
  marks.AdvanceLow(3, 1'000'000);
  EXPECT_FALSE(marks.NearWindowHalf()) << "a producer may begin anywhere";
  marks.Add(3, 1'000'000 + Marks::kWindow / 2 - 1);
  marks.AdvanceLow(3, 1'000'000);
  EXPECT_FALSE(marks.NearWindowHalf());
  marks.Add(3, 1'000'000 + Marks::kWindow / 2);
  marks.AdvanceLow(3, 1'000'000);
  EXPECT_TRUE(marks.NearWindowHalf());
  EXPECT_TRUE(marks.NearWindowHalf(3));
  EXPECT_FALSE(marks.NearWindowHalf(4));
  marks.ClearChanges();
  EXPECT_FALSE(marks.NearWindowHalf());
  EXPECT_FALSE(marks.NearWindowHalf(3));
  marks.Add(5, Marks::kWindow / 2);
  marks.AdvanceLow(5, 0);
  EXPECT_TRUE(marks.NearWindowHalf()) << "a low of 0 counts too";
}

TEST(MarksTest, RepeatingIsNoChange) {
  Marks marks;
  marks.Add(1, 4);
  marks.AdvanceLow(1, 2);
  marks.FinishProducers(10, 20);
  EXPECT_TRUE(marks.HasChanges());
  marks.ClearChanges();
  marks.Add(1, 4);
  marks.Add(1, 1);
  marks.AdvanceLow(1, 2);
  marks.AdvanceLow(1, 1);
  marks.AdvanceLow(2, 0);
  marks.FinishProducers(12, 20);
  marks.Add(15, 3);
  marks.AdvanceLow(15, 3);
  EXPECT_FALSE(marks.HasChanges());
  EXPECT_TRUE(marks.Finished(15));
  EXPECT_FALSE(marks.Finished(21));
}

TEST(MarksTest, ExtremeSequencesAreKept) {
  Marks marks;
  constexpr Sequence kTop = ~uint64_t{0};
  for (const Sequence s : {kTop, kTop - 1, Sequence{0}, kTop - 3}) marks.Add(1, s);
  for (const Sequence s : {kTop, kTop - 1, Sequence{0}, kTop - 3}) EXPECT_TRUE(marks.Contains(1, s)) << s;
  EXPECT_FALSE(marks.Contains(1, kTop - 2));
  EXPECT_FALSE(marks.Contains(1, 1));
  marks.FinishProducers(kTop, kTop);
  EXPECT_TRUE(marks.Finished(kTop));
}

// 10,000 partitions and a million minibatches over 128 shards: under 16 MB a server once they are finished.
TEST(MarksTest, FinishedProducersCostNextToNothing) {
  constexpr int kPartitions = 10'000, kMinibatches = 100, kShards = 128;
  Marks marks;
  size_t most = 0;
  for (ProducerId p = 1; p <= kPartitions; ++p) {
    for (Sequence s = 0; s < kMinibatches; ++s) {
      if ((s + p) % 3 == 0) continue;  // a minibatch need not touch every shard
      marks.Add(p, s);
      marks.AdvanceLow(p, s < 4 ? 0 : s - 4);
    }
    marks.AdvanceLow(p, kMinibatches);
    marks.ClearChanges();
    if (p > 100 && p % 2 == 0)
      marks.FinishProducers(p - 100, p - 99);  // fifty leases at a time, finished in pairs
    marks.ClearChanges();
    most = std::max(most, marks.ResidentBytes());
  }
  marks.FinishProducers(1, kPartitions);
  marks.ClearChanges();
  RecordProperty("bytes_finished", static_cast<int>(marks.ResidentBytes()));
  std::printf("marks of one table of one shard: %zu bytes at most, %zu when finished\n", most,
              marks.ResidentBytes());
  EXPECT_LT(marks.ResidentBytes() * kShards, size_t{16} << 20);

  // With all low watermarks kept and nobody finished, one entry each.
  Marks unfinished;
  for (ProducerId p = 1; p <= kPartitions; ++p) {
    unfinished.Add(p, kMinibatches - 1);
    unfinished.AdvanceLow(p, kMinibatches);
    unfinished.ClearChanges();
  }
  std::printf("the same with nobody finished: %zu bytes\n", unfinished.ResidentBytes());
  EXPECT_LT(unfinished.ResidentBytes(), size_t{kPartitions} * 48);
}

}  // namespace
}  // namespace penstock
