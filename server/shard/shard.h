// Shard: everything one shard holds in memory, and every change to it. Pure logic: no I/O, no threads, no
// clock.
//
// A push goes through PushUnit, which applies it in place and marks its rows dirty; BuildDelta turns what is
// dirty into the shard's next delta, which the caller logs (and later sends on). A restart goes the other
// way: LoadMeta and LoadRow bring what the base holds, ApplyDelta replays the log, CreateTable names each
// table's spec, BeginEpoch opens it for pushes. Epochs of requests are checked by the caller; rules 1-3, 8
// and 11-14 of docs/protocol.md are kept here.
//
// Not thread-safe: owned by one core's thread. Spans passed in are read during the call only. Values are
// float32, row-major: [keys, dim].
#pragma once

#include <capnp/common.h>
#include <kj/array.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "common/base/ids.h"
#include "common/base/status.h"
#include "common/cluster/held_before.h"
#include "common/cluster/table_spec.h"
#include "proto/delta.capnp.h"
#include "server/marks.h"
#include "server/shard/admission.h"
#include "server/shard/cold_rows.h"
#include "server/shard/expiry.h"
#include "server/shard/optimizer.h"
#include "server/shard/row_table.h"
#include "server/shard/table_images.h"

namespace penstock {

// A unit (the keys and values of one push in one table of one shard) may have so many bytes (rule 11).
inline constexpr size_t kMaxUnitBytes = size_t{32} << 20;

struct ShardOptions {
  uint64_t cluster = 0;
  ShardId shard = 0;
  Incarnation incarnation = 0;
  // A table's images are cut into entries of at most so many bytes within a delta (one Data has less than 512
  // MiB).
  size_t max_entry_bytes = size_t{256} << 20;
};

// What a unit carries beside its rows, as its push said it (proto::PushRequest).
struct UnitContext {
  ProducerId producer = 0;
  Sequence sequence = 0;
  Sequence low = 0;      // every sequence below it is finished everywhere
  uint64_t rewind = 0;   // of the lease that it is pushed under (rule 35); 0 outside of jobs: not checked
  uint64_t round = 0;    // of a sync job, from 1: the values are sums that wait for its commit; 0: not
  uint64_t step = 0;     // the job's optimizer step, from 1, for schedules; 0: each row's own count of pushes
  uint32_t pass = 0;     // of the job, from 1, for expiry.unused_passes; 0: outside of jobs
  uint32_t seconds = 0;  // when it came (SecondsNow), for expiry.ttl_seconds and min_norm
};

struct PushOutcome {
  bool duplicate = false;  // the unit was applied before and was dropped now
  Lsn lsn = 0;             // the delta that holds the unit, or will (rule 14)
  // One of these: nothing of the unit was applied, and its mark was not set.
  std::vector<Key> cold;   // rows that must be fetched first
  size_t lacks_bytes = 0;  // the table would have to grow by so much
  size_t grown_bytes = 0;  // it grew by so much, about
  bool applied() const { return !duplicate && cold.empty() && lacks_bytes == 0; }
};

// A row that is read from the base.
struct RowFetch {
  Key key = 0;
  uint64_t number = 0;  // of the table's fetches, from 1
};

// What a piece of a seed brings (proto/delta.capnp): images of rows of one table, read when it is built.
struct SeedRow {
  Key key = 0;
  ImageHeader header;
  const float* floats = nullptr;
};
struct SeedPiece {
  uint64_t number = 0;  // from 1
  TableId table = 0;
  std::vector<SeedRow> rows;
  std::vector<SeedRow> open_rows;  // with their accumulators
  size_t bytes = 0;                // of the images
};

// Rows of a table whose steps left values or slots that are NaN or infinite, counted at each step.
struct NotFiniteRows {
  uint64_t rows = 0;
  Key key = 0;  // the last
};

struct BuiltDelta {
  Lsn lsn = 0;
  uint32_t checksum = 0;         // CRC-32C of the bytes of `words`
  kj::Array<capnp::word> words;  // a flat Cap'n Proto message: proto::Delta
};

struct ShardTableStats {
  uint64_t rows = 0;   // rows that were pushed at least once, cold ones included
  uint64_t bytes = 0;  // memory of rows, index, filter and marks
  double sum_squares = 0;
  double sum_abs = 0;
  uint64_t non_zero = 0;
};

// Equal for two shards with the same rows (keys, push counts, values, slots), whatever the order they came
// in.
struct ContentHash {
  uint64_t rows = 0;
  uint64_t hash = 0;
  bool operator==(const ContentHash&) const = default;
};

class Shard {
  struct Table;

 public:
  explicit Shard(const ShardOptions& options);

  ShardId id() const { return options_.shard; }
  Incarnation incarnation() const { return options_.incarnation; }
  Epoch epoch() const { return epoch_; }
  // Of the last delta built, applied or loaded.
  Lsn last_lsn() const { return last_lsn_; }
  uint32_t last_checksum() const { return last_checksum_; }
  // What the open window will get.
  Lsn NextLsn() const { return std::max(last_lsn_ + 1, min_lsn_); }
  ProducerId forget_floor() const { return forget_floor_; }

  // --- Tables.
  // Also gives a table that replay brought its spec. Ok when it exists with the same spec. AlreadyExists:
  // with another one. FailedPrecondition: its rows, as replayed, have another shape, or the id was dropped.
  // InvalidArgument: the spec is not valid.
  Status CreateTable(const TableSpec& spec);
  // Rows and marks go at once; the next delta says so. NotFound when there is no such table.
  Status DropTable(TableId table);
  // Changes durability, the schedule and the optimizer's parameters (not its kind). InvalidArgument when
  // anything else differs.
  Status AlterTable(const TableSpec& spec);
  // nullptr while the table is not there or has no spec yet.
  const TableSpec* FindSpec(TableId table) const;
  // A table that pushes and pulls may name, looked up once for several calls; false where FindSpec is
  // nullptr. Good until tables are created or dropped, so not beyond what happens without yielding.
  class TableHandle {
   public:
    TableHandle() = default;
    explicit operator bool() const { return table_ != nullptr; }
    const TableSpec& spec() const;
    // Since the shard was made; none of a table that allows them.
    const NotFiniteRows& not_finite() const;

   private:
    friend class Shard;
    explicit TableHandle(Table* table) : table_(table) {}
    Table* table_ = nullptr;
  };
  TableHandle Serving(TableId table) const;
  std::vector<TableId> TableIds() const;  // ascending, also those without a spec

  // --- Pull and push.
  // Writes dim values for each key; a row that was never pushed has its initial value. Keys whose row is cold
  // get nothing written: their places go to `cold`. `stored`, unless it is nullptr, has room for a byte a
  // key: 1 for a row that is stored, 0 for an initial value. NotFound: no such table.
  Status PullRows(TableId table, std::span<const Key> keys, float* out, std::vector<uint32_t>* cold,
                  uint8_t* stored = nullptr) const;
  void PullRows(TableHandle table, std::span<const Key> keys, float* out, std::vector<uint32_t>* cold,
                uint8_t* stored = nullptr) const;
  // Applies one unit exactly once, wholly or not at all. A key that stands twice in it is stepped twice, in
  // order.
  //   InvalidArgument   producer 0, sequence below low, a unit too large, NaN or infinite values (unless the
  //   table allows them) FailedPrecondition  a round where the table does not accumulate, none where it does,
  //   or one that is over
  //   Cancelled         CheckRewind
  //   NotFound          no such table UnknownProducer   the producer was forgotten or is
  //   finished: ask for a new id Overloaded        the sequence is beyond the window (never the one at
  //   `low`), or there is no memory
  // The table may grow by `growth_bytes`. Ok with a unit that was not applied: see PushOutcome. In tables
  // with admission rules the rows of keys that are not admitted yet are passed over; the unit counts as
  // applied nevertheless.
  Result<PushOutcome> PushUnit(const UnitContext& unit, TableHandle table, std::span<const Key> keys,
                               const float* values, size_t growth_bytes = SIZE_MAX);
  Result<PushOutcome> PushUnit(const UnitContext& unit, TableId table, std::span<const Key> keys,
                               const float* values, size_t growth_bytes = SIZE_MAX);
  // Closes a round of a table that accumulates: each row that its units touched takes one optimizer step on
  // accumulator / examples, at step `step` of the schedule. False when the round was committed before; then
  // nothing changes. A round above the open one drops what is open: the commit of that was lost with deltas
  // whose loss an operator has accepted. InvalidArgument: no examples. FailedPrecondition: the table does not
  // accumulate, or the open round is a later one.
  Result<bool> CommitRound(TableId table, uint64_t round, uint64_t examples, uint64_t step);
  // Of the table; 0: none.
  uint64_t open_round(TableId table) const;
  uint64_t committed_round(TableId table) const;
  // Deletes rows (to readers they are as if never pushed); the next delta says so. Returns how many were
  // there. A row that may be cold is taken to be there, and leaves a tombstone.
  Result<size_t> DeleteRows(TableId table, std::span<const Key> keys);

  // --- Expiry (server/shard/expiry.h), of tables with such rules.
  // What a scan that begins now compares rows with: `seconds` is SecondsNow(), min_norm waits `grace_seconds`
  // after the last push. NotFound: no such table.
  Result<ExpiryMoment> BeginExpiry(TableId table, uint32_t seconds, uint32_t grace_seconds);
  // Where a scan of the rows in memory has come to.
  struct RowCursor {
    RowNumber next = 0;
    size_t size = 0;  // of the table then
  };
  // Looks at `limit` rows in memory from the cursor on and deletes those that are due (dry run: none). Moves
  // the cursor; true: that was the last row. Rows that Compact has moved behind the cursor meanwhile are
  // missed, and tally->wait is 0 then. NotFound: no such table.
  Result<bool> ExpireRows(TableId table, const ExpiryMoment& moment, bool dry_run, size_t limit,
                          RowCursor* cursor, ExpiryTally* tally);
  // Rows that are due as the base has them: deletes those that only the base has. Their tombstones take
  // little memory. Where some are in memory, which may be due as well, tally->wait is 0 then. NotFound: no
  // such table.
  Status ExpireColdRows(TableId table, std::span<const std::pair<Key, ExpiryRule>> due, bool dry_run,
                        ExpiryTally* tally);
  // What the base holds, as far as SetFolded said.
  Lsn folded_lsn() const { return folded_lsn_; }
  // Of rows that were deleted without being in memory.
  size_t TombstoneBytes() const;

  // Units refused for NaN or infinite values since the shard was made.
  uint64_t non_finite_units() const { return non_finite_units_; }

  // --- Producers.
  // Every sequence below `low` is finished everywhere. NotFound: no such table.
  Status AdvanceLow(TableId table, ProducerId producer, Sequence low);
  // All that producers [first, last] will ever push is applied in every table (Marks::CompleteProducers).
  void CompleteProducers(ProducerId first, ProducerId last);
  // Producers [first, last] are finished in every table, present and future.
  void FinishProducers(ProducerId first, ProducerId last);
  // Ids below the floor are forgotten and refused. It only rises.
  void SetForgetFloor(ProducerId floor);
  // The table's marks fill half of a window: log it at once.
  bool MarksPress(TableHandle table) const;

  // --- Deltas.
  // What a new epoch goes on from.
  enum class Past {
    kDamaged,  // something is lost, nobody knows what
    kAsHeld,   // what deltas brought, or what was applied here before others may have led
    kLed,      // nobody else has led since this shard's last epoch
  };
  // Ownership changed: deltas from now on name `epoch`, and the first may skip to min_lsn. FailedPrecondition
  // when the epoch is not above the present one.
  Status BeginEpoch(Epoch epoch, Lsn min_lsn, Past past = Past::kAsHeld);
  bool serving() const { return serving_; }
  // Somebody else serves it from now on, whose deltas it takes.
  void EndServing() { serving_ = false; }
  // Of the epochs before the present one; once it serves.
  const HeldBefore& held_before() const { return held_; }
  // Jobs were rewound: what was leased before `number` changes nothing here any more. It only rises, and is
  // not logged: a shard that is served has it from its grant.
  void RaiseRewind(uint64_t number) { rewind_ = std::max(rewind_, number); }
  // Whether a push or a commit of a round with this rewind number may be looked at. kCancelled: its lease has
  // ended.
  Status CheckRewind(uint64_t number) const;
  // Something of the table (or of the whole shard) waits for the next delta.
  bool HasUnlogged(TableId table) const;
  bool HasUnlogged(TableHandle table) const { return HasUnlogged(*table.table_); }
  bool HasUnlogged() const;
  // The next delta: all dirty rows and marks of the tables that `choose` accepts, and of the shard itself
  // (drops, floor). The shard then counts as logged up to it: a caller that cannot log it must call
  // RelogFrom. FailedPrecondition before BeginEpoch, Overloaded (and nothing changed) when there is no memory
  // for it.
  using TableChoice = std::function<bool(TableId)>;
  Result<BuiltDelta> BuildDelta(const TableChoice& choose);
  Result<BuiltDelta> BuildDelta() {
    return BuildDelta([](TableId) { return true; });
  }
  // After a failed write (rule 8): everything after delta `from` counts as unlogged again, and the next
  // delta, which takes all tables and full marks, follows `from` and its checksum instead of those that may
  // be lost. Its firstOfEpoch is set, as its lsn skips. `from` must be a delta that is safe, at or above the
  // folded lsn is best.
  void RelogFrom(Lsn from, uint32_t checksum);
  // The base holds every delta up to this one: rows whose deletion is among them are forgotten.
  void SetFolded(Lsn lsn);

  // --- Seeding another copy (shard_seed.cc). Between BeginSeed and EndSeed rows keep their numbers, and
  // tombstones stay.
  void BeginSeed() { ++seeds_; }
  void EndSeed() { --seeds_; }
  // Adds rows in memory from the cursor on, until the piece has about `bytes` or that was the last row: then
  // true. NotFound: no such table.
  Result<bool> CollectRows(TableId table, RowCursor* cursor, size_t bytes, SeedPiece* piece) const;
  // Adds a row that the base holds: as it is in memory where it is; none that was deleted.
  void CollectBaseRow(TableId table, Key key, ImageHeader header, std::span<const float> floats,
                      SeedPiece* piece) const;
  // Whether the base may hold rows that are not in memory, or did since all of it was read.
  bool HadColdRows(TableId table) const;
  // At the last lsn. Overloaded: no memory for it.
  Result<BuiltDelta> BuildPiece(const SeedPiece& piece) const;
  // The last piece. Nothing is unlogged.
  Result<BuiltDelta> BuildLastPiece(uint64_t number) const;

  // --- Restart, and deltas from a primary.
  // What the base knows; first of all, once. DataLoss when it does not fit this shard.
  Status LoadMeta(proto::ShardMeta::Reader meta);
  // A row of the base: `floats` are values and slots, and the accumulator of a row that was open. Rows that
  // are in memory or deleted are newer, and tables that ApplyDelta dropped are gone: nothing is done.
  // `resident` false: the row stays cold, unless it is open. DataLoss when the meta has no such table or
  // another shape.
  Status LoadRow(TableId table, Key key, Lsn lsn, ImageHeader header, std::span<const float> floats,
                 bool resident = true);
  // What LoadRow has not brought yet of a table that may be served already: rows whose keys are `from` and
  // above; nullopt: nothing. Not of tables with an open round, whose rows must be there when it is committed.
  void SetUnread(TableId table, std::optional<Key> from);
  bool Loading(TableId table) const;
  // Applies one delta or piece of a seed, whose serialized bytes have this checksum. Skips deltas at or below
  // the lsn that LoadMeta brought. FailedPrecondition once it serves. DataLoss, with nothing applied, when it
  // is malformed, of another shard, or does not follow the last one.
  Status ApplyDelta(proto::Delta::Reader delta, uint32_t checksum);
  // The lsn that LoadMeta brought: what the base holds.
  Lsn loaded_lsn() const { return loaded_lsn_; }
  // Pieces held of a seed that has not ended; 0: the shard is complete.
  uint64_t pieces() const { return pieces_; }

  // --- Memory (shard_memory.cc). Clean rows may leave it: those whose last delta is folded, and which are
  // neither open nor pinned.
  // Up to `rows` rows of the table become cold: those that were not used since the clock's hand came by last.
  size_t EvictRows(TableId table, size_t rows);
  // Gives the memory of free rows back.
  void Compact(TableId table);
  // Rows in memory, tombstones included, and free ones; 0 when there is no such table.
  size_t rows_in_memory(TableId table) const;
  size_t free_rows(TableId table) const;
  size_t row_bytes(TableId table) const;
  size_t GrowthBytes(TableId table, size_t rows) const;

  // Those of the keys whose rows are not in memory and that no fetch is under way for. Each must be answered
  // by one of the next three, whatever has become of the table by then.
  std::vector<RowFetch> BeginFetch(TableId table, std::span<const Key> keys);
  // As LoadRow; nothing is done when the fetch was voided.
  Status InstallRow(TableId table, RowFetch fetch, Lsn lsn, ImageHeader header,
                    std::span<const float> floats);
  void InstallAbsent(TableId table, RowFetch fetch);
  void AbandonFetch(TableId table, RowFetch fetch);
  // Rows of these keys are not evicted until as many Unpins; also when they come into memory later.
  void Pin(TableId table, std::span<const Key> keys);
  void Unpin(TableId table, std::span<const Key> keys);

  // --- Looking.
  // Of the rows in memory.
  using RowVisitor =
      std::function<void(const RowHeader&, std::span<const float> values, std::span<const float> slots)>;
  Status ForEachRow(TableId table, const RowVisitor& visit) const;
  // Sums of the rows in memory; AddColdRow adds one of the base if it is not there.
  Result<ShardTableStats> Stats(TableId table) const;
  void AddColdRow(TableId table, Key key, std::span<const float> values, ShardTableStats* stats) const;
  uint64_t cold_rows(TableId table) const;
  // Of the rows in memory; AddColdRow adds one of the base if it is not there.
  ContentHash Hash() const;
  void AddColdRow(TableId table, Key key, uint32_t push_count, std::span<const float> floats,
                  ContentHash* content) const;
  // Rows, indexes, filters and marks of all tables.
  size_t ResidentBytes() const;
  size_t MarksBytes() const;
  // Rows of all tables that were pushed at least once, cold ones included.
  uint64_t live_rows() const;

 private:
  struct Table {
    Table(TableId id, uint32_t dim, uint32_t slots, bool accumulates)
        : rows(id, dim, slots, accumulates), cold(id) {}
    RowTable rows;
    ColdRows cold;
    RowNumber hand = 0;  // of the eviction's clock
    Marks marks;
    std::optional<TableSpec> spec;
    std::optional<Optimizer> optimizer;
    NotFiniteRows not_finite;
    bool full_marks = false;  // the next delta takes the whole set
    Lsn told = 0;             // the lowest lsn told to a unit that no delta has taken yet; 0: none
    // Tables that accumulate.
    uint64_t open_round = 0;        // of the units since the last commit; 0: there were none
    uint64_t committed_round = 0;   // the last one
    bool rounds_changed = false;    // since the last delta
    std::vector<RowNumber> opened;  // since the last commit; a row counts while its flag says that it is open
    // Tables with rules of admission or expiry.
    std::optional<AdmissionCounts> counts;  // with min_count above 1
    uint32_t highest_touch = 0;             // with unused_passes: the present pass, as far as pushes told
    std::optional<uint32_t> first_seen;     // the touch of the first scan
  };
  struct PlannedEntry;

  Table* FindTable(TableId table) const;
  Result<Table*> ServingTable(TableId table) const;
  std::string Name(const Table& table) const;
  static size_t TableBytes(const Table& table);
  bool HasUnlogged(const Table& table) const;
  Table& AddTable(TableId id, uint32_t dim, uint32_t slots, bool accumulates);
  // False when there are rows without room for accumulators.
  static bool MakeRoomToAccumulate(Table& table, TableId id);
  bool Finished(ProducerId producer) const;

  Status CheckUnit(const UnitContext& unit, const Table& table, std::span<const Key> keys) const;
  Status CheckFinite(const Table& table, std::span<const Key> keys, const float* values);
  static void NoteNotFinite(Table& table, Key key);
  Status FindOrCreate(Table& table, const UnitContext& unit, std::span<const Key> keys, size_t growth_bytes,
                      PushOutcome* outcome);
  static bool MayBeCold(const Table& table, Key key) {
    return table.cold.MayHold(key) && table.rows.Find(key) == kNoRow;
  }
  // Of a row of the base, whether it has an accumulator.
  Result<bool> CheckShape(const Table* table, TableId id, Key key, size_t floats) const;
  static Status Place(Table& table, Key key, Lsn lsn, ImageHeader header, std::span<const float> floats,
                      bool open);
  static bool WouldAdmit(const Table& table, const UnitContext& unit, Key key);
  static bool Admit(Table& table, const UnitContext& unit, Key key);
  static uint32_t UnitTouch(Table& table, const UnitContext& unit);
  void ApplyRows(Table& table, const UnitContext& unit, std::span<const Key> keys, const float* values);
  Status CheckRound(const Table& table, uint64_t round) const;
  static void OpenRow(Table& table, RowNumber row);
  static void CloseRow(Table& table, RowNumber row);
  void Accumulate(Table& table, std::span<const Key> keys, const float* values, uint64_t round);
  static void DropOpen(Table& table);
  Lsn UnitLsn(const Table& table) const;

  static size_t CountOpen(const Table& table);
  std::vector<PlannedEntry> PlanEntries(const TableChoice& choose) const;
  Lsn HeldUpTo(Lsn lsn, const TableChoice& taken) const;
  BuiltDelta WriteDelta(std::span<const PlannedEntry> plan, Lsn held_up_to) const;
  void WriteRows(const Table& table, TableId id, std::span<const SeedRow> rows, bool open,
                 proto::TableDelta::Builder out) const;
  void WritePieceHead(uint64_t number, proto::Delta::Builder delta) const;
  void WriteEntry(const PlannedEntry& entry, proto::TableDelta::Builder out) const;

  Status CheckChain(proto::Delta::Reader delta) const;
  Status CheckPiece(proto::Delta::Reader piece) const;
  bool RepeatsEverything(proto::Delta::Reader delta) const;
  Result<std::vector<TableImages>> ReadTables(proto::Delta::Reader delta) const;
  Status ApplyChecked(proto::Delta::Reader delta, uint32_t checksum);
  Status ApplyImages(Table& table, const TableImages& images, Lsn lsn);

  ShardOptions options_;
  std::map<TableId, std::unique_ptr<Table>> tables_;
  std::map<TableId, Lsn> dropped_;             // in which delta; 0: in the next one
  std::map<ProducerId, ProducerId> finished_;  // ranges first -> last, apart from one another
  std::vector<RowNumber> found_;  // scratch of FindOrCreate: the unit's rows; kNoRow: not admitted
  std::vector<float> mean_;       // scratch of CommitRound: a row's gradient

  Epoch epoch_ = 0;
  uint64_t rewind_ = 0;  // of the grant
  Lsn last_lsn_ = 0;
  uint32_t last_checksum_ = 0;
  Lsn previous_lsn_ = 0;  // what the next delta follows: the last one, unless RelogFrom named another
  uint32_t previous_checksum_ = 0;
  Lsn min_lsn_ = 0;
  HeldBefore held_;
  Epoch led_since_ = 0;  // of the primary that built the last delta, here or elsewhere
  Lsn held_up_to_ = 0;   // by that delta
  Lsn loaded_lsn_ = 0;
  Lsn folded_lsn_ = 0;
  uint64_t pieces_ = 0;
  uint32_t seeds_ = 0;  // of other copies, under way
  bool first_of_epoch_ = false;
  bool serving_ = false;  // BeginEpoch was called
  bool relog_ = false;    // the next delta repeats everything after previous_lsn_
  ProducerId forget_floor_ = 0;
  ProducerId logged_floor_ = 0;
  uint64_t non_finite_units_ = 0;
};

inline const TableSpec& Shard::TableHandle::spec() const { return *table_->spec; }
inline const NotFiniteRows& Shard::TableHandle::not_finite() const { return table_->not_finite; }

}  // namespace penstock
