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
  std::set<ProducerId> complete, finished;

  bool Contains(ProducerId p, Sequence s) const {
    if (complete.contains(p)) return true;
    const auto l = low.find(p);
    if (l != low.end() && s < l->second) return true;
    const auto a = applied.find(p);
    return a != applied.end() && a->second.contains(s);
  }
  void Add(ProducerId p, Sequence s) {
    if (!Over(p)) applied[p].insert(s);
  }
  void AdvanceLow(ProducerId p, Sequence l) {
    if (!Over(p)) low[p] = std::max(low[p], l);
  }
  bool Over(ProducerId p) const { return complete.contains(p) || finished.contains(p); }
  void Complete(ProducerId p) {
    if (finished.contains(p)) return;
    applied.erase(p);
    low.erase(p);
    complete.insert(p);
  }
  void Finish(ProducerId p) {
    applied.erase(p);
    low.erase(p);
    complete.erase(p);
    finished.insert(p);
  }
  void Forget(ProducerId floor) {
    applied.erase(applied.begin(), applied.lower_bound(floor));
    low.erase(low.begin(), low.lower_bound(floor));
    complete.erase(complete.begin(), complete.lower_bound(floor));
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
    } else if (what < 91) {
      // Said of producers of whom nothing is known as well, if only something is known of one.
      const ProducerId last = std::min(kProducers, p + random_() % 3);
      if (model_.applied.contains(p)) {
        for (ProducerId i = p; i <= last; ++i) model_.Complete(i);
        marks_.CompleteProducers(p, last);
      }
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

TEST(MarksTest, CompleteProducersHaveAppliedEverythingAndAreNotRefused) {
  Marks marks;
  marks.CompleteProducers(3, 9);
  EXPECT_FALSE(marks.HasChanges()) << "they have pushed nothing here";
  EXPECT_FALSE(marks.Contains(4, 0));
  marks.Add(4, 17);
  marks.CompleteProducers(3, 9);
  EXPECT_TRUE(marks.Contains(4, 0));
  EXPECT_TRUE(marks.Contains(9, 1'000'000));
  EXPECT_FALSE(marks.Contains(10, 0));
  EXPECT_FALSE(marks.Finished(4));
  marks.ClearChanges();
  marks.Add(5, 3);
  marks.AdvanceLow(5, 3);
  marks.CompleteProducers(3, 9);
  EXPECT_FALSE(marks.HasChanges());
  marks.FinishProducers(5, 6);
  EXPECT_TRUE(marks.Finished(5));
  EXPECT_FALSE(marks.Contains(5, 3));
  EXPECT_TRUE(marks.Contains(4, 3));
  EXPECT_TRUE(marks.Contains(7, 3));
}

// A job of 10,000 partitions of 100 minibatches, each of which touches 8 of 128 shards; two tables, of which
// one is logged at once and the other, of durability `memory`, once in 5,000 minibatches. 64 partitions run
// at a time, at different speeds. Servers hear of those that are done 64 at a time, so 128 are known in
// detail. All marks are on one server.
class JobMarks {
 public:
  static constexpr int kShards = 128;
  static constexpr ProducerId kPartitions = 10'000;

  void Run() {
    while (leases_.size() < kLeases) leases_.push_back({.producer = next_++});
    while (!leases_.empty()) {
      const size_t at = random_() % leases_.size();
      Lease& lease = leases_[at];
      if (lease.producer % 8 == 0 && random_() % 8 != 0) continue;  // those are slow
      Minibatch(lease.producer, lease.sequence++);
      if (lease.sequence < kMinibatches) continue;
      done_.push_back(lease.producer);
      leases_.erase(leases_.begin() + static_cast<ptrdiff_t>(at));
      if (next_ <= kPartitions) leases_.push_back({.producer = next_++});
      if (done_.size() == kTold || leases_.empty()) Complete();
    }
    for (Table& table : tables_) table.Log(this);
    Look();
  }
  size_t most() const { return most_; }
  size_t at_end() const { return now_; }
  size_t most_of_replica() const { return most_of_replica_; }
  size_t most_ranges() const { return most_ranges_; }

 private:
  static constexpr size_t kLeases = 64, kTold = 64;
  static constexpr Sequence kMinibatches = 100;
  struct Lease {
    ProducerId producer;
    Sequence sequence = 0;
  };
  struct Table {
    int log_every;
    Sequence logged_behind;  // how far low is behind
    std::vector<Marks> shards = std::vector<Marks>(kShards);
    std::vector<Marks> replicas = std::vector<Marks>(kReplicas);
    int minibatches = 0;

    void Log(JobMarks* job) {
      for (int i = 0; i < kReplicas; ++i) {
        capnp::MallocMessageBuilder message;
        auto out = message.initRoot<proto::TableDelta>();
        shards[i].WriteChanges(out);
        replicas[i].Merge(out.asReader());
        job->most_of_replica_ = std::max(job->most_of_replica_, replicas[i].ResidentBytes());
      }
      for (Marks& marks : shards) marks.ClearChanges();
    }
  };

  void Minibatch(ProducerId producer, Sequence sequence) {
    for (Table& table : tables_) {
      for (int i = 0; i < 8; ++i) {
        Marks& marks = table.shards[random_() % kShards];
        marks.Add(producer, sequence);
        marks.AdvanceLow(producer, sequence - std::min(sequence, table.logged_behind));
      }
      if (++table.minibatches % table.log_every != 0) continue;
      if (table.log_every > 1'000) Look();
      table.Log(this);
    }
  }
  void Complete() {
    Look();
    std::sort(done_.begin(), done_.end());
    for (const ProducerId producer : done_) told_.insert(producer);
    done_.clear();
    size_t ranges = 0;
    for (auto first = told_.begin(); first != told_.end(); ++ranges) {
      auto last = first;
      while (std::next(last) != told_.end() && *std::next(last) == *last + 1) ++last;
      for (Table& table : tables_) {
        for (Marks& marks : table.shards) marks.CompleteProducers(*first, *last);
      }
      first = std::next(last);
    }
    most_ranges_ = std::max(most_ranges_, ranges);
    Look();
  }
  void Look() {
    now_ = 0;
    for (const Table& table : tables_) {
      for (const Marks& marks : table.shards) now_ += marks.ResidentBytes();
    }
    most_ = std::max(most_, now_);
  }

  static constexpr int kReplicas = 2;
  std::mt19937_64 random_{17};
  ProducerId next_ = 1;
  std::vector<Lease> leases_;
  std::vector<ProducerId> done_;
  std::set<ProducerId> told_;
  Table tables_[2] = {{.log_every = 50, .logged_behind = 4}, {.log_every = 5'000, .logged_behind = 100}};
  size_t most_ = 0, now_ = 0, most_of_replica_ = 0, most_ranges_ = 0;
};

TEST(MarksTest, AJobOfAMillionMinibatchesKeepsItsMarksBelow16MiB) {
  JobMarks job;
  job.Run();
  std::printf("marks of two tables of 128 shards: %zu bytes at most, %zu at the end; ranges at most: %zu\n",
              job.most(), job.at_end(), job.most_ranges());
  std::printf("what a backup and the base keep of one table of one shard: %zu bytes at most\n",
              job.most_of_replica());
  EXPECT_LT(job.most(), size_t{16} << 20);
  EXPECT_LT(job.at_end(), size_t{1} << 20);
  EXPECT_LT(job.most_of_replica() * 2 * JobMarks::kShards, size_t{16} << 20);
}

}  // namespace
}  // namespace penstock
