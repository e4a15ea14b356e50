// A shard whose rows come and go between memory and base, against one that keeps everything.
#include <gtest/gtest.h>

#include <functional>
#include <iterator>
#include <map>
#include <optional>
#include <random>

#include "tests/unit/server/shard/shard_test_util.h"

namespace penstock {
namespace {

using namespace shard_test;  // NOLINT: the helpers of this folder's tests

struct Stored {
  Lsn lsn = 0;
  uint32_t push_count = 0;
  std::vector<float> floats;
};

// A shard, and beside it the base as folds would make it: another shard that replays the deltas.
class Memory {
 public:
  explicit Memory(const std::vector<TableSpec>& specs)
      : specs_(specs), shard_(ServingShard(specs)), base_(MakeShard()) {}

  Shard& shard() { return shard_; }
  // Logs what is dirty; folded later.
  void Log() {
    if (shard_.HasUnlogged()) unfolded_.push_back(Build(shard_));
  }
  void Fold() {
    for (const BuiltDelta& delta : unfolded_) ASSERT_TRUE(Apply(base_, delta).ok());
    unfolded_.clear();
    base_.SetFolded(base_.last_lsn());
    shard_.SetFolded(base_.last_lsn());
    ++folds_;
  }
  int folds() const { return folds_; }
  // What was logged is replayed, and the rows of the base come later.
  void Restart() {
    Log();
    capnp::MallocMessageBuilder message;
    auto meta = message.initRoot<proto::ShardMeta>();
    NameShard(meta);
    meta.setEpoch(base_.epoch());
    meta.setLsn(base_.last_lsn());
    meta.setChecksum(base_.last_checksum());
    auto tables = meta.initTables(static_cast<uint32_t>(specs_.size()));
    for (unsigned i = 0; i < specs_.size(); ++i) {
      tables[i].setTable(specs_[i].id);
      tables[i].setLayout(kRowLayout);
      tables[i].setDim(specs_[i].dim);
      tables[i].setSlots(SlotsOf(specs_[i]));
    }
    const Epoch epoch = shard_.epoch();
    shard_ = MakeShard();
    ASSERT_TRUE(shard_.LoadMeta(meta.asReader()).ok());
    for (const BuiltDelta& delta : unfolded_) ASSERT_TRUE(Apply(shard_, delta).ok());
    for (const TableSpec& spec : specs_) {
      ASSERT_TRUE(shard_.CreateTable(spec).ok());
      shard_.SetUnread(spec.id, 0);
    }
    ASSERT_TRUE(shard_.BeginEpoch(epoch + 1, 0).ok());
  }
  // Rows of the base as they are now.
  std::map<Key, Stored> Scan(TableId table, Key first, size_t count) const {
    std::map<Key, Stored> rows;
    (void)base_.ForEachRow(
        table, [&](const RowHeader& header, std::span<const float> values, std::span<const float> slots) {
          if (header.key < first) return;
          Stored& stored = rows[header.key] = {header.lsn, header.push_count, {values.begin(), values.end()}};
          stored.floats.insert(stored.floats.end(), slots.begin(), slots.end());
          if (rows.size() > count) rows.erase(std::prev(rows.end()));
        });
    return rows;
  }
  // The next rows of the base, as they were read: where the next piece begins.
  std::optional<Key> Load(TableId table, const std::map<Key, Stored>& rows, size_t count, bool resident) {
    for (const auto& [key, row] : rows)
      EXPECT_TRUE(shard_.LoadRow(table, key, row.lsn, {row.push_count, 0}, row.floats, resident).ok());
    const std::optional<Key> next =
        rows.size() < count ? std::nullopt : std::optional(rows.rbegin()->first + 1);
    shard_.SetUnread(table, next);
    return next;
  }
  std::optional<Stored> Read(TableId table, Key key) const {
    std::optional<Stored> found;
    (void)base_.ForEachRow(
        table, [&](const RowHeader& header, std::span<const float> values, std::span<const float> slots) {
          if (header.key != key) return;
          found = Stored{header.lsn, header.push_count, {values.begin(), values.end()}};
          found->floats.insert(found->floats.end(), slots.begin(), slots.end());
        });
    return found;
  }
  void Install(TableId table, RowFetch fetch, const std::optional<Stored>& read) {
    if (!read) return shard_.InstallAbsent(table, fetch);
    ASSERT_TRUE(shard_.InstallRow(table, fetch, read->lsn, {read->push_count, 0}, read->floats).ok());
  }
  void Fetch(TableId table, const std::vector<Key>& keys) {
    for (const RowFetch& fetch : shard_.BeginFetch(table, keys))
      Install(table, fetch, Read(table, fetch.key));
  }
  std::vector<float> PullAll(TableId table, const std::vector<Key>& keys) {
    const uint32_t dim = shard_.FindSpec(table)->dim;
    std::vector<float> values(keys.size() * dim);
    std::vector<uint32_t> cold;
    for (int tries = 0; tries < 3; ++tries) {
      cold.clear();
      EXPECT_TRUE(shard_.PullRows(table, keys, values.data(), &cold).ok());
      std::vector<Key> missing;
      for (const uint32_t i : cold) missing.push_back(keys[i]);
      if (missing.empty()) break;
      Fetch(table, missing);
    }
    EXPECT_TRUE(cold.empty());
    return values;
  }

 private:
  static uint32_t SlotsOf(const TableSpec& spec) {
    return spec.optimizer.kind == OptimizerKind::kAdagrad ? spec.dim : 0;
  }

  const std::vector<TableSpec> specs_;
  Shard shard_, base_;
  std::vector<BuiltDelta> unfolded_;
  int folds_ = 0;
};

std::vector<Key> Range(Key count) {
  std::vector<Key> keys(count);
  for (Key key = 0; key < count; ++key) keys[key] = key;
  return keys;
}

TEST(ShardMemoryTest, OnlyFoldedRowsAreEvicted) {
  Memory memory({Spec(1, 1)});
  Shard& shard = memory.shard();
  ASSERT_TRUE(Push(shard, 1, 0, 1, {1, 2, 3, 4}, {1, 2, 3, 4}).ok());
  EXPECT_EQ(shard.EvictRows(1, 4), 0u) << "dirty";
  memory.Log();
  EXPECT_EQ(shard.EvictRows(1, 4), 0u) << "logged, not folded";
  memory.Fold();
  ASSERT_TRUE(Push(shard, 1, 1, 1, {2}, {20}).ok());
  shard.Pin(1, std::vector<Key>{3, 9});
  EXPECT_EQ(shard.EvictRows(1, 1), 1u);
  EXPECT_EQ(shard.EvictRows(1, 4), 1u);
  EXPECT_EQ(shard.rows_in_memory(1), 2u);
  EXPECT_EQ(shard.cold_rows(1), 2u);
  EXPECT_EQ(shard.live_rows(), 4u) << "to readers nothing happened";
  shard.Unpin(1, std::vector<Key>{3, 9});
  EXPECT_EQ(shard.EvictRows(1, 4), 1u);
  EXPECT_EQ(memory.PullAll(1, {1, 2, 3, 4, 5}), (std::vector<float>{1, 22, 3, 4, 0}));
  EXPECT_EQ(shard.cold_rows(1), 0u);
  EXPECT_EQ(shard.live_rows(), 4u);
}

TEST(ShardMemoryTest, AUsedRowGetsASecondChance) {
  Memory memory({Spec(1, 1)});
  Shard& shard = memory.shard();
  ASSERT_TRUE(Push(shard, 1, 0, 1, Range(8), std::vector<float>(8, 1)).ok());
  memory.Log();
  memory.Fold();
  ASSERT_EQ(shard.EvictRows(1, 1), 1u) << "the hand went round once, and took the references";
  EXPECT_EQ(Pull(shard, 1, {5, 6}), (std::vector<float>{1, 1}));
  EXPECT_EQ(shard.EvictRows(1, 5), 5u);
  EXPECT_EQ(Pull(shard, 1, {5, 6}), (std::vector<float>{1, 1})) << "they were used, the others were not";
}

TEST(ShardMemoryTest, AUnitWithColdRowsWaitsWhole) {
  Memory memory({Spec(1, 1)});
  Shard& shard = memory.shard();
  ASSERT_TRUE(Push(shard, 1, 0, 1, {1, 2}, {1, 2}).ok());
  memory.Log();
  memory.Fold();
  ASSERT_EQ(shard.EvictRows(1, 2), 2u);
  ASSERT_TRUE(Push(shard, 1, 1, 1, {3}, {3}).ok());
  const auto waits = Push(shard, 1, 2, 1, {3, 2, 1}, {10, 10, 10});
  ASSERT_TRUE(waits.ok());
  EXPECT_EQ(waits->cold, (std::vector<Key>{2, 1}));
  EXPECT_EQ(StoredOf(shard, 1, {1, 2, 3, 4}), (std::vector<uint8_t>{7, 7, 1, 0}))
      << "1 and 2 must be fetched first";
  EXPECT_EQ(Pull(shard, 1, {3}), (std::vector<float>{3})) << "nothing of it was applied";
  memory.Fetch(1, waits->cold);
  ASSERT_TRUE(Push(shard, 1, 2, 1, {3, 2, 1}, {10, 10, 10})->applied());
  EXPECT_TRUE(Push(shard, 1, 2, 1, {3, 2, 1}, {10, 10, 10})->duplicate);
  EXPECT_EQ(Pull(shard, 1, {1, 2, 3}), (std::vector<float>{11, 12, 13}));
}

TEST(ShardMemoryTest, OneFetchAtATimeAndADeletionVoidsIt) {
  Memory memory({Spec(1, 1)});
  Shard& shard = memory.shard();
  ASSERT_TRUE(Push(shard, 1, 0, 1, {1, 2}, {1, 2}).ok());
  memory.Log();
  memory.Fold();
  ASSERT_EQ(shard.EvictRows(1, 2), 2u);
  const auto read = memory.Read(1, 1);
  const auto voided = shard.BeginFetch(1, std::vector<Key>{1});
  ASSERT_EQ(voided.size(), 1u);
  EXPECT_TRUE(shard.BeginFetch(1, std::vector<Key>{1}).empty());
  ASSERT_EQ(shard.DeleteRows(1, std::vector<Key>{1}).value(), 1u);
  EXPECT_EQ(shard.live_rows(), 1u);
  memory.Log();
  memory.Fold();  // the tombstone goes, and with it what hid the row from the late image
  const auto second = shard.BeginFetch(1, std::vector<Key>{1});  // the filter still thinks that it is there
  ASSERT_EQ(second.size(), 1u);
  memory.Install(1, voided[0], read);
  memory.Install(1, second[0], memory.Read(1, 1));
  EXPECT_EQ(memory.PullAll(1, {1, 2}), (std::vector<float>{0, 2}));
  EXPECT_EQ(shard.live_rows(), 1u);
  // A fetch that comes back to a table that is gone, and one that could not be read.
  ASSERT_EQ(shard.EvictRows(1, 2), 1u);
  const auto abandoned = shard.BeginFetch(1, std::vector<Key>{2});
  ASSERT_EQ(abandoned.size(), 1u);
  shard.AbandonFetch(1, abandoned[0]);
  const auto third = shard.BeginFetch(1, std::vector<Key>{2});
  ASSERT_EQ(third.size(), 1u);
  const auto late = memory.Read(1, 2);
  ASSERT_TRUE(shard.DropTable(1).ok());
  memory.Install(1, third[0], late);
  EXPECT_EQ(shard.live_rows(), 0u);
}

TEST(ShardMemoryTest, OpenRowsStayAndKeepTheirSums) {
  TableSpec spec = Spec(1, 1, OptimizerKind::kSgd);
  spec.optimizer.learning_rate = 1;
  spec.accumulate = true;
  Memory memory({spec});
  Shard& shard = memory.shard();
  const auto push = [&](uint64_t round, std::vector<Key> keys) {
    const std::vector<float> values(keys.size(), 1);
    return shard.PushUnit({.producer = 1, .sequence = round, .low = round, .round = round}, 1, keys,
                          values.data());
  };
  ASSERT_TRUE(push(1, Range(40))->applied());
  ASSERT_TRUE(shard.CommitRound(1, 1, 1, 1).ok());
  ASSERT_TRUE(push(2, {30, 31, 39})->applied());
  memory.Log();
  memory.Fold();
  EXPECT_EQ(shard.EvictRows(1, 40), 37u);
  shard.Compact(1);
  EXPECT_EQ(shard.rows_in_memory(1), 3u);
  ASSERT_TRUE(shard.CommitRound(1, 2, 2, 2).ok());
  EXPECT_EQ(Pull(shard, 1, {30, 31, 39}), (std::vector<float>{-1.5f, -1.5f, -1.5f}));
}

// At a restart the log comes first; what the base then brings is older.
TEST(ShardMemoryTest, ARestartLoadsWhatFitsAndRemembersTheRest) {
  capnp::MallocMessageBuilder message;
  auto meta = message.initRoot<proto::ShardMeta>();
  NameShard(meta);
  Shard a = ServingShard({Spec(1, 1), Spec(2, 1)}), b = MakeShard();
  ASSERT_TRUE(Push(a, 4, 0, 1, {1, 2, 3, 4, 5}, {1, 2, 3, 4, 5}).ok());
  ASSERT_TRUE(Push(a, 4, 0, 2, {1}, {1}).ok());
  const BuiltDelta folded = Build(a);
  ASSERT_TRUE(Push(a, 4, 1, 1, {2}, {20}).ok());
  ASSERT_EQ(a.DeleteRows(1, std::vector<Key>{3}).value(), 1u);
  ASSERT_TRUE(a.DropTable(2).ok());
  const BuiltDelta logged = Build(a);
  meta.setEpoch(1);
  meta.setLsn(folded.lsn);
  meta.setChecksum(folded.checksum);
  auto tables = meta.initTables(2);
  for (unsigned i = 0; i < 2; ++i) {
    tables[i].setTable(i + 1);
    tables[i].setLayout(kRowLayout);
    tables[i].setDim(1);
  }
  ASSERT_TRUE(b.LoadMeta(meta.asReader()).ok());
  ASSERT_TRUE(Apply(b, logged).ok());
  for (Key key = 1; key <= 5; ++key) {
    const std::vector<float> value{static_cast<float>(key)};
    ASSERT_TRUE(b.LoadRow(1, key, folded.lsn, {1, 0}, value, /*resident=*/key != 5).ok());
  }
  ASSERT_TRUE(b.LoadRow(2, 1, folded.lsn, {1, 0}, std::vector<float>{1}).ok()) << "of a dropped table";
  ASSERT_TRUE(b.CreateTable(Spec(1, 1)).ok());
  EXPECT_EQ(b.live_rows(), 4u);
  EXPECT_EQ(b.cold_rows(1), 1u);
  EXPECT_EQ(Pull(b, 1, {1, 2, 3, 4}), (std::vector<float>{1, 22, 0, 4}));
  const auto fetch = b.BeginFetch(1, std::vector<Key>{1, 2, 3, 4, 5, 6});
  ASSERT_EQ(fetch.size(), 1u);
  EXPECT_EQ(fetch[0].key, 5u);
  EXPECT_EQ(Apply(b, logged).code(), Code::kDataLoss) << "it was applied";
}

// A shard serves before its rows have been read: whatever it has not come to may be there.
TEST(ShardMemoryTest, RowsThatHaveNotBeenReadAreFetched) {
  Memory memory({Spec(1, 1)});
  Shard& shard = memory.shard();
  ASSERT_TRUE(Push(shard, 1, 0, 1, Range(8), {1, 2, 3, 4, 5, 6, 7, 8}).ok());
  memory.Log();
  memory.Fold();
  ASSERT_TRUE(Push(shard, 1, 1, 1, {7}, {100}).ok());
  ASSERT_NO_FATAL_FAILURE(memory.Restart());
  EXPECT_TRUE(shard.Loading(1));
  EXPECT_TRUE(shard.HadColdRows(1));
  EXPECT_EQ(Pull(shard, 1, {7}), (std::vector<float>{108})) << "of the log";
  EXPECT_EQ(memory.PullAll(1, {0, 5, 9}), (std::vector<float>{1, 6, 0}));
  EXPECT_EQ(Push(shard, 1, 2, 1, {6}, {10})->cold, (std::vector<Key>{6}));
  memory.Fetch(1, {6});
  ASSERT_TRUE(Push(shard, 1, 2, 1, {6}, {10})->applied());
  EXPECT_EQ(shard.DeleteRows(1, std::vector<Key>{4}).value(), 1u);
  memory.Log();
  memory.Fold();
  EXPECT_EQ(shard.EvictRows(1, 8), 4u) << "those of the keys 0, 5, 6 and 7";
  const auto late = shard.BeginFetch(1, std::vector<Key>{1});
  const auto read = memory.Read(1, 1);
  // Two stay in memory, and the others do not.
  ASSERT_EQ(memory.Load(1, memory.Scan(1, 0, 2), 2, true), std::optional<Key>(2));
  ASSERT_TRUE(Push(shard, 1, 3, 1, {1}, {1000})->applied());
  memory.Install(1, late[0], read);
  EXPECT_EQ(memory.Load(1, memory.Scan(1, 2, 100), 100, false), std::nullopt);
  EXPECT_FALSE(shard.Loading(1));
  EXPECT_EQ(shard.live_rows(), 7u);
  EXPECT_EQ(shard.cold_rows(1), 5u);
  EXPECT_EQ(memory.PullAll(1, Range(10)), (std::vector<float>{1, 1002, 3, 4, 0, 6, 17, 108, 0, 0}));
  EXPECT_EQ(shard.cold_rows(1), 0u);
}

// More new rows than keys that are remembered as absent, and none of them may be known to be new.
TEST(ShardMemoryTest, AUnitOfManyNewRowsIsAppliedWhileTheBaseIsRead) {
  Memory memory({Spec(1, 1)});
  Shard& shard = memory.shard();
  ASSERT_TRUE(Push(shard, 1, 0, 1, {1}, {1}).ok());
  memory.Log();
  memory.Fold();
  ASSERT_NO_FATAL_FAILURE(memory.Restart());
  std::vector<Key> keys(40000);
  for (size_t i = 0; i < keys.size(); ++i) keys[i] = 1000 + i;
  const std::vector<float> values(keys.size(), 1);
  shard.Pin(1, keys);
  const auto waits = Push(shard, 1, 1, 1, keys, values);
  ASSERT_TRUE(waits.ok());
  ASSERT_EQ(waits->cold.size(), keys.size());
  memory.Fetch(1, waits->cold);
  EXPECT_TRUE(Push(shard, 1, 1, 1, keys, values)->applied());
  shard.Unpin(1, keys);
}

// Everything at once, in any order: pushes, deletions, deltas, folds, evictions, compactions, and fetches
// whose images are as old as their reading; and restarts, after which the rows come in pieces as old as
// theirs.
TEST(ShardMemoryTest, AgreesWithAShardThatKeepsEverything) {
  for (uint64_t seed = 1; seed <= 20; ++seed) {
    SCOPED_TRACE("seed " + std::to_string(seed));
    std::mt19937_64 random(seed);
    const TableSpec spec = Spec(1, 2, OptimizerKind::kAdagrad);
    Memory memory({spec});
    Shard& shard = memory.shard();
    Shard keeps = ServingShard({spec});
    constexpr Key kKeys = 120;
    struct Fetching {
      RowFetch fetch;
      std::optional<Stored> read;
    };
    std::vector<Fetching> fetching;
    std::optional<Key> unread;  // after a restart
    const auto load = [&](int folds, const std::map<Key, Stored>& rows, size_t count) {
      if (folds == memory.folds()) unread = memory.Load(1, rows, count, random() % 2 == 0);
    };
    std::optional<std::function<void()>> loading;
    Sequence sequence = 0;
    for (int step = 0; step < 1500; ++step) {
      std::vector<Key> keys;
      for (uint64_t n = 1 + random() % 6; n > 0; --n) keys.push_back(random() % kKeys);
      switch (random() % 9) {
        case 8:
          if (loading) {
            (*loading)();
            loading.reset();
          } else if (unread) {
            const size_t count = 1 + random() % 20;
            loading = [&, folds = memory.folds(), rows = memory.Scan(1, *unread, count), count] {
              load(folds, rows, count);
            };
          } else if (random() % 8 == 0 && memory.folds() > 0) {
            fetching.clear();
            ASSERT_NO_FATAL_FAILURE(memory.Restart());
            unread = 0;
          }
          break;
        case 0:
        case 1: {
          const std::vector<float> values(keys.size() * 2, 1);
          auto pushed = Push(shard, 1, sequence, 1, keys, values, sequence);
          ASSERT_TRUE(pushed.ok());
          if (!pushed->applied()) {  // waits: its rows come in now or later, then it is sent again
            for (const RowFetch& fetch : shard.BeginFetch(1, pushed->cold))
              fetching.push_back({fetch, memory.Read(1, fetch.key)});
            break;
          }
          ASSERT_TRUE(Push(keeps, 1, sequence, 1, keys, values, sequence)->applied());
          ++sequence;
          break;
        }
        case 2:
          if (random() % 4 != 0) break;
          ASSERT_TRUE(shard.DeleteRows(1, keys).ok());
          ASSERT_TRUE(keeps.DeleteRows(1, keys).ok());
          break;
        case 3:
          memory.Log();
          break;
        case 4:
          if (random() % 3 == 0) {
            ASSERT_NO_FATAL_FAILURE(memory.Fold());
          }
          break;
        case 5:
          shard.EvictRows(1, random() % 40);
          break;
        case 6:
          if (random() % 4 == 0) shard.Compact(1);
          break;
        default:
          std::shuffle(fetching.begin(), fetching.end(), random);
          for (uint64_t n = random() % 4; n > 0 && !fetching.empty(); --n) {
            memory.Install(1, fetching.back().fetch, fetching.back().read);
            fetching.pop_back();
          }
      }
    }
    for (const Fetching& last : fetching) memory.Install(1, last.fetch, last.read);
    if (loading) (*loading)();
    if (unread) memory.Load(1, memory.Scan(1, *unread, kKeys), kKeys + 1, true);
    EXPECT_EQ(memory.PullAll(1, Range(kKeys)), Pull(keeps, 1, Range(kKeys)));
    EXPECT_EQ(StoredOf(shard, 1, Range(kKeys)), StoredOf(keeps, 1, Range(kKeys)));
    EXPECT_EQ(shard.Hash(), keeps.Hash()) << "with push counts and slots";
    EXPECT_EQ(shard.cold_rows(1), 0u);
    EXPECT_EQ(shard.live_rows(), keeps.live_rows());
  }
}

}  // namespace
}  // namespace penstock
