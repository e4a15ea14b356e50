// What the fold's tests share: a plain model of a shard's contents, a source of random deltas, and a node's
// storage to run them on.
#pragma once

#include <capnp/message.h>
#include <capnp/serialize.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <algorithm>
#include <filesystem>
#include <map>
#include <memory>
#include <random>
#include <set>
#include <string>
#include <tuple>
#include <utility>
#include <vector>

#include "common/base/crc32c.h"
#include "server/shard/table_images.h"
#include "server/storage/base_store.h"
#include "server/storage/delta_log.h"
#include "server/storage/file_layer.h"
#include "server/storage/fold.h"
#include "server/storage/replay.h"

namespace penstock {

inline constexpr uint64_t kFoldCluster = 77;

struct ModelRow {
  Lsn lsn = 0;
  uint32_t push_count = 0;
  uint32_t flags = 0;
  std::vector<float> floats;
  bool operator==(const ModelRow&) const = default;
};

struct ModelProducer {
  Sequence low = 0;
  std::set<Sequence> applied;
  bool operator==(const ModelProducer&) const = default;
};

struct ModelTable {
  uint32_t dim = 0, slots = 0;
  std::map<Key, ModelRow> rows;
  std::map<ProducerId, ModelProducer> producers;
  std::set<ProducerId> finished;
  bool operator==(const ModelTable&) const = default;

  void MergeMarks(proto::TableDelta::Reader from) {
    if (from.getFull()) {
      producers.clear();
      finished.clear();
    }
    for (const auto marks : from.getMarks()) {
      const ProducerId id = marks.getProducer();
      if (marks.getFinished()) {
        for (ProducerId p = id; p <= std::max(id, marks.getLow()); ++p) {
          finished.insert(p);
          producers.erase(p);
        }
        continue;
      }
      if (finished.contains(id)) continue;
      ModelProducer& producer = producers[id];
      producer.low = std::max(producer.low, marks.getLow());
      for (const Sequence s : marks.getApplied()) producer.applied.insert(s);
      producer.applied.erase(producer.applied.begin(), producer.applied.lower_bound(producer.low));
    }
  }
  void Forget(ProducerId floor) {
    producers.erase(producers.begin(), producers.lower_bound(floor));
    finished.erase(finished.begin(), finished.lower_bound(floor));
  }
};

struct ModelShard {
  Incarnation incarnation = 0;
  Epoch epoch = 0;
  Lsn lsn = 0;
  uint32_t checksum = 0;
  ProducerId floor = 0;
  Epoch led_since = 0;
  Lsn held_up_to = 0;
  std::map<TableId, ModelTable> tables;
  bool operator==(const ModelShard&) const = default;
};

// All shards of a node, as replaying deltas one by one into sets makes them.
struct Model {
  std::map<ShardId, ModelShard> shards;
  bool operator==(const Model&) const = default;

  void Apply(proto::Delta::Reader delta, Incarnation incarnation, uint32_t checksum) {
    ModelShard& shard = shards[delta.getShard()];
    if (incarnation > shard.incarnation) shard = ModelShard{.incarnation = incarnation, .tables = {}};
    if (incarnation < shard.incarnation || delta.getLsn() <= shard.lsn) return;
    for (const auto from : delta.getTables()) {
      if (from.getDropped()) {
        shard.tables.erase(from.getTable());
        continue;
      }
      ApplyTable(shard.tables[from.getTable()], from, delta.getLsn());
    }
    shard.epoch = delta.getEpoch();
    shard.lsn = delta.getLsn();
    shard.checksum = checksum;
    shard.floor = std::max(shard.floor, delta.getForgetFloor());
    shard.led_since = delta.getLedSince();
    shard.held_up_to = delta.getHeldUpTo();
    for (auto& [id, table] : shard.tables) table.Forget(shard.floor);
  }
  static void ApplyTable(ModelTable& table, proto::TableDelta::Reader from, Lsn lsn) {
    table.dim = from.getDim();
    table.slots = from.getSlots();
    const auto images = ReadTableImages(from);
    ASSERT_TRUE(images.ok()) << images.status().ToString();
    for (size_t i = 0; i < images->keys.size(); ++i) {
      const auto row = images->images.subspan(i * images->image_floats(), images->image_floats());
      table.rows[images->keys[i]] = {
          lsn, images->headers[i].push_count, images->headers[i].flags, {row.begin(), row.end()}};
    }
    for (const Key key : images->deletions) table.rows.erase(key);
    table.MergeMarks(from);
  }
};

// What differs first, for a message.
inline std::string Difference(const Model& got, const Model& want) {
  for (const auto& [id, shard] : want.shards) {
    const std::string name = "shard " + std::to_string(id);
    if (!got.shards.contains(id)) return name + " is missing";
    const ModelShard& other = got.shards.at(id);
    if (std::tie(shard.incarnation, shard.epoch, shard.lsn, shard.checksum, shard.floor, shard.led_since,
                 shard.held_up_to) != std::tie(other.incarnation, other.epoch, other.lsn, other.checksum,
                                               other.floor, other.led_since, other.held_up_to)) {
      return name + ": incarnation " + std::to_string(other.incarnation) + " lsn " +
             std::to_string(other.lsn) + " floor " + std::to_string(other.floor) + ", wanted " +
             std::to_string(shard.incarnation) + " lsn " + std::to_string(shard.lsn) + " floor " +
             std::to_string(shard.floor);
    }
    for (const auto& [table_id, table] : shard.tables) {
      const std::string table_name = name + " table " + std::to_string(table_id);
      if (!other.tables.contains(table_id)) return table_name + " is missing";
      const ModelTable& other_table = other.tables.at(table_id);
      if (table.rows != other_table.rows) return table_name + ": other rows";
      if (table.producers != other_table.producers) return table_name + ": other producers";
      if (table.finished != other_table.finished) return table_name + ": other finished producers";
    }
    if (other.tables.size() != shard.tables.size()) return name + " has too many tables";
  }
  return got == want ? "" : "too many shards";
}

// Random deltas that chain, over a few shards and tables; a pure function of the seed.
class DeltaSource {
 public:
  struct Options {
    uint32_t shards = 4;
    uint32_t keys = 40;
    bool new_lives = true;
  };
  explicit DeltaSource(uint64_t seed) : DeltaSource(seed, Options()) {}
  DeltaSource(uint64_t seed, const Options& options) : options_(options), random_(seed) {}

  // The next delta, of some shard; it is in model() already.
  LogSection Next() {
    const ShardId id = random_() % options_.shards;
    Life& life = lives_[id];
    const ModelShard& now = model_.shards[id];
    const bool new_life = life.incarnation == 0 || (options_.new_lives && Chance(60));
    if (new_life)
      life = Life{.incarnation = ++last_incarnation_, .epoch = life.epoch + 1, .history = {{0, 0}}};
    const bool repeat = !new_life && life.history.size() > 1 && Chance(20);
    const bool new_epoch = !new_life && !repeat && Chance(15);
    if (new_epoch) ++life.epoch;

    capnp::MallocMessageBuilder message;
    auto delta = message.initRoot<proto::Delta>();
    const Lsn last = life.history.rbegin()->first;
    const auto follows =
        repeat ? *std::next(life.history.begin(), random_() % life.history.size()) : *life.history.rbegin();
    const Lsn lsn = last + 1 + (new_life || new_epoch || repeat ? random_() % 5 : 0);
    delta.setFormat(proto::DELTA_FORMAT);
    delta.setCluster(kFoldCluster);
    delta.setShard(id);
    delta.setEpoch(life.epoch);
    delta.setLsn(lsn);
    delta.setPreviousLsn(follows.first);
    delta.setPreviousChecksum(follows.second);
    delta.setFirstOfEpoch(new_life || new_epoch || repeat);
    if (Chance(10)) life.floor = std::max<ProducerId>(life.floor, random_() % 12);
    delta.setForgetFloor(life.floor);
    delta.setLedSince(life.epoch - random_() % life.epoch);
    delta.setHeldUpTo(lsn - random_() % 2);
    if (repeat) {
      WriteAll(life, now, delta);
    } else {
      WriteSome(life, now, delta);
    }
    auto words = capnp::messageToFlatArray(message);
    const uint32_t checksum = Crc32c(0, words.begin(), words.size() * sizeof(capnp::word));
    life.history[lsn] = checksum;
    model_.Apply(delta.asReader(), life.incarnation, checksum);
    return {id, life.incarnation, std::move(words), checksum};
  }
  // One core's windows, and the core's record of each.
  LogRecord NextRecord() {
    LogRecord record;
    for (uint64_t n = 1 + random_() % 3; n > 0; --n) record.sections.push_back(Next());
    return record;
  }
  const Model& model() const { return model_; }

 private:
  struct Life {
    Incarnation incarnation = 0;
    Epoch epoch = 0;
    ProducerId floor = 0;
    std::map<Lsn, uint32_t> history;  // checksums of its deltas
    std::set<TableId> dropped;
  };
  bool Chance(uint64_t one_in) { return random_() % one_in == 0; }
  static uint32_t Dim(TableId table) { return 1 + table % 3; }
  static uint32_t Slots(TableId table) { return table % 2 * Dim(table); }

  void WriteSome(Life& life, const ModelShard& now, proto::Delta::Builder delta) {
    std::set<TableId> chosen;
    for (uint64_t n = random_() % 3; n > 0; --n) chosen.insert(1 + random_() % 5);
    auto tables = delta.initTables(chosen.size());
    unsigned at = 0;
    for (const TableId table : chosen) {
      auto out = tables[at++];
      out.setTable(table);
      out.setLayout(kRowLayout);
      if (life.dropped.contains(table) || (now.tables.contains(table) && Chance(12))) {
        life.dropped.insert(table);
        out.setDropped(true);
        continue;
      }
      WriteTable(life, table, out);
    }
  }
  void WriteTable(const Life& life, TableId table, proto::TableDelta::Builder out) {
    std::set<Key> keys, deletions;
    for (uint64_t n = random_() % 12; n > 0; --n) keys.insert(random_() % options_.keys);
    for (uint64_t n = random_() % 4; n > 0; --n) deletions.insert(random_() % options_.keys);
    for (const Key key : deletions) keys.erase(key);
    WriteShape(table, out);
    std::vector<std::pair<Key, ModelRow>> rows;
    for (const Key key : keys) {
      ModelRow row{.lsn = 0, .push_count = static_cast<uint32_t>(random_()), .flags = 0, .floats = {}};
      for (uint32_t i = 0; i < Dim(table) + Slots(table); ++i)
        row.floats.push_back(static_cast<float>(random_() % 1000) / 8);
      rows.emplace_back(key, row);
    }
    WriteImages(rows, deletions, out);
    auto marks = out.initMarks(random_() % 4);
    for (auto one : marks) {
      const ProducerId producer = life.floor + 1 + random_() % 10;
      one.setProducer(producer);
      if (Chance(15)) {
        one.setFinished(true);
        one.setLow(producer + random_() % 3);
        continue;
      }
      const Sequence low = Chance(3) ? random_() % 30 : 0;
      std::set<Sequence> applied;
      for (uint64_t n = random_() % 5; n > 0; --n) applied.insert(low + random_() % 40);
      one.setLow(low);
      auto list = one.initApplied(applied.size());
      unsigned i = 0;
      for (const Sequence s : applied) list.set(i++, s);
    }
  }
  // As after a failed write: everything there is, and deletions of all there is not.
  void WriteAll(const Life& life, const ModelShard& now, proto::Delta::Builder delta) {
    auto tables = delta.initTables(now.tables.size() + life.dropped.size());
    unsigned at = 0;
    for (const TableId table : life.dropped) {
      tables[at].setTable(table);
      tables[at].setLayout(kRowLayout);
      tables[at++].setDropped(true);
    }
    for (const auto& [id, table] : now.tables) {
      auto out = tables[at++];
      out.setTable(id);
      out.setLayout(kRowLayout);
      WriteShape(id, out);
      std::set<Key> absent;
      for (Key key = 0; key < options_.keys; ++key) {
        if (!table.rows.contains(key)) absent.insert(key);
      }
      WriteImages({table.rows.begin(), table.rows.end()}, absent, out);
      out.setFull(true);
      auto marks = out.initMarks(table.producers.size() + table.finished.size());
      unsigned mark = 0;
      for (const auto& [producer, state] : table.producers) {
        auto one = marks[mark++];
        one.setProducer(producer);
        one.setLow(state.low);
        auto list = one.initApplied(state.applied.size());
        unsigned i = 0;
        for (const Sequence s : state.applied) list.set(i++, s);
      }
      for (const ProducerId producer : table.finished) {
        auto one = marks[mark++];
        one.setProducer(producer);
        one.setFinished(true);
      }
    }
  }
  static void WriteShape(TableId table, proto::TableDelta::Builder out) {
    out.setDim(Dim(table));
    out.setSlots(Slots(table));
    out.setSections(kSectionValues | kSectionSlots);
  }
  static void WriteImages(const std::vector<std::pair<Key, ModelRow>>& rows, const std::set<Key>& deletions,
                          proto::TableDelta::Builder out) {
    std::vector<Key> keys;
    std::vector<ImageHeader> headers;
    std::vector<float> floats;
    for (const auto& [key, row] : rows) {
      keys.push_back(key);
      headers.push_back({row.push_count, row.flags});
      floats.insert(floats.end(), row.floats.begin(), row.floats.end());
    }
    const std::vector<Key> gone(deletions.begin(), deletions.end());
    const auto bytes = [](const auto& v) {
      return kj::arrayPtr(reinterpret_cast<const kj::byte*>(v.data()), v.size() * sizeof(v[0]));
    };
    out.setKeys(bytes(keys));
    out.setHeaders(bytes(headers));
    out.setImages(bytes(floats));
    out.setDeletions(bytes(gone));
  }

  const Options options_;
  std::mt19937_64 random_;
  std::map<ShardId, Life> lives_;
  Incarnation last_incarnation_ = 0;
  Model model_;
};

// A folder that is removed with its contents; in memory where the system has such a place, as nothing here
// outlives the system.
class TestFolder {
 public:
  TestFolder() {
    const bool shared_memory = access("/dev/shm", W_OK) == 0;
    std::string pattern =
        (shared_memory ? "/dev/shm/" : testing::TempDir()) + std::string("penstock-fold-XXXXXX");
    path_ = mkdtemp(pattern.data());
  }
  ~TestFolder() { std::filesystem::remove_all(path_); }
  const std::string& path() const { return path_; }

 private:
  std::string path_;
};

// Base and log of one node under `folder`. Open is a restart: it loads the base, replays the log, and leaves
// both ready for more.
class TestNode {
 public:
  TestNode(std::string folder, FileLayer& files, rocksdb::Env* env = nullptr)
      : folder_(std::move(folder)), files_(files), env_(env) {}

  Status Open() {
    Close();
    PENSTOCK_ASSIGN_OR_RETURN(base_,
                              BaseStore::Open(folder_ + "/base", {.cluster = kFoldCluster, .env = env_}));
    std::map<ShardId, ShardFolded> folded;
    PENSTOCK_ASSIGN_OR_RETURN(recovered_, LoadBase(&folded));
    PENSTOCK_ASSIGN_OR_RETURN(replayed_, Replay(files_, log_dir(), kFoldCluster, folded,
                                                [&](ShardId, Incarnation incarnation,
                                                    const proto::Delta::Reader& delta, uint32_t checksum) {
                                                  recovered_.Apply(delta, incarnation, checksum);
                                                  return Status::Ok();
                                                }));
    PENSTOCK_ASSIGN_OR_RETURN(
        log_, DeltaLog::Open(
                  files_, log_dir(),
                  {.cluster = kFoldCluster, .node = 1, .segment_bytes = segment_bytes_, .spare_segments = 3},
                  replayed_.tail));
    return Status::Ok();
  }
  void Close() {
    log_.reset();
    base_.reset();
  }
  Status Write(DeltaSource& source, int records) {
    for (int i = 0; i < records; ++i) {
      const LogRecord record = source.NextRecord();
      PENSTOCK_RETURN_IF_ERROR(log_->Append({&record, 1}));
    }
    return Status::Ok();
  }
  Result<FoldReport> FoldAll(const FoldOptions& options = {}, const QuarantinedLives& quarantined = {}) {
    PENSTOCK_RETURN_IF_ERROR(log_->Seal());
    return Fold(files_, log_dir(), *log_, *base_, kFoldCluster, quarantined, options);
  }
  // What the base alone holds.
  Result<Model> LoadBase(std::map<ShardId, ShardFolded>* folded = nullptr) const {
    Model model;
    PENSTOCK_ASSIGN_OR_RETURN(const auto metas, base_->LoadMeta());
    for (const StoredMeta& stored : metas) {
      const auto meta = stored.reader();
      ModelShard& shard = model.shards[meta.getShard()];
      shard = {meta.getIncarnation(), meta.getEpoch(),    meta.getLsn(),      meta.getChecksum(),
               meta.getForgetFloor(), meta.getLedSince(), meta.getHeldUpTo(), {}};
      for (const auto table : meta.getTables()) {
        ModelTable& to = shard.tables[table.getTable()];
        to.dim = table.getDim();
        to.slots = table.getSlots();
        to.MergeMarks(table);
      }
      PENSTOCK_RETURN_IF_ERROR(base_->ForEachRow(meta.getIncarnation(), [&](const BaseRow& row) {
        if (!shard.tables.contains(row.table)) return DataLoss("a row of a table that is not there");
        shard.tables[row.table].rows[row.key] = {
            row.lsn, row.push_count, row.flags, {row.floats.begin(), row.floats.end()}};
        return Status::Ok();
      }));
      if (folded != nullptr) {
        (*folded)[meta.getShard()] = {meta.getIncarnation(), meta.getEpoch(), meta.getLsn(),
                                      meta.getChecksum()};
      }
    }
    return model;
  }
  void set_segment_bytes(uint64_t bytes) { segment_bytes_ = bytes; }
  std::string log_dir() const { return folder_ + "/log"; }
  std::string base_dir() const { return folder_ + "/base"; }
  BaseStore& base() { return *base_; }
  DeltaLog& log() { return *log_; }
  // As the last Open found everything.
  const Model& recovered() const { return recovered_; }
  const ReplayReport& replayed() const { return replayed_; }

 private:
  const std::string folder_;
  FileLayer& files_;
  rocksdb::Env* const env_;
  uint64_t segment_bytes_ = 4096;
  std::unique_ptr<BaseStore> base_;
  std::unique_ptr<DeltaLog> log_;
  Model recovered_;
  ReplayReport replayed_;
};

#define ASSERT_STATUS_OK(expr)                           \
  do {                                                   \
    const ::penstock::Status asserted_ = (expr);         \
    ASSERT_TRUE(asserted_.ok()) << asserted_.ToString(); \
  } while (false)

}  // namespace penstock
