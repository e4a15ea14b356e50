#include "server/node/data_service.h"

#include <glog/logging.h>

#include <algorithm>

#include "common/base/hash.h"
#include "common/cluster/wire.h"

namespace penstock {
namespace {

constexpr uint32_t kMaxTables = 4096;  // of one call
// Values of a call's answer: with what is said of its groups it stays below what a peer reads of a message.
constexpr uint64_t kMaxAnswerBytes = 112 << 20;
constexpr uint32_t kMaxGroups = 65536;   // of one call
constexpr uint64_t kMaxPairs = 1 << 20;  // of table and shard, of a call about whole shards

// The groups' counts must add up to the keys, and the keys must be aligned: they are read in place.
Status CheckKeys(uint32_t table, capnp::List<proto::Group>::Reader groups, capnp::Data::Reader keys) {
  const std::string context = "table " + std::to_string(table) + " of the call";
  if (groups.size() == 0) return InvalidArgument(context + ": no groups, allowed is 1 or more");
  uint64_t rows = 0;
  for (auto group : groups) {
    if (group.getCount() == 0) return InvalidArgument(context + ": a group of 0 rows");
    rows += group.getCount();
  }
  if (keys.size() != rows * sizeof(Key)) {
    return InvalidArgument(context + ": " + std::to_string(keys.size()) + " bytes of keys for groups of " +
                           std::to_string(rows) + " rows");
  }
  if (reinterpret_cast<uintptr_t>(keys.begin()) % alignof(Key) != 0)
    return InvalidArgument(context + ": keys are not aligned to 8 bytes");
  return Status::Ok();
}

// Of a table that CheckTables has seen.
template <typename Table>
Codec CodecOf(Table table) {
  return static_cast<Codec>(table.getCodec());
}

template <typename Request>
Status CheckTables(Request request) {
  const auto tables = request.getTables();
  if (tables.size() > kMaxTables) {
    return InvalidArgument("a call with " + std::to_string(tables.size()) + " tables, allowed is " +
                           std::to_string(kMaxTables));
  }
  uint64_t groups = 0;
  for (auto table : tables) groups += table.getGroups().size();
  if (groups > kMaxGroups) {
    return InvalidArgument("a call with " + std::to_string(groups) + " groups, allowed is " +
                           std::to_string(kMaxGroups));
  }
  for (auto table : tables) {
    PENSTOCK_RETURN_IF_ERROR(CheckKeys(table.getTable(), table.getGroups(), table.getKeys()));
    const auto codec = ReadCodec(table.getCodec());
    if (!codec.ok()) return codec.status().Prepend("table " + std::to_string(table.getTable()));
  }
  return Status::Ok();
}

// A row that is stored in another shard than its key's nobody else would find.
Status CheckPlaces(const TableSpec& table, ShardId shard, uint32_t shards, std::span<const Key> keys) {
  const size_t elsewhere = FirstElsewhere(keys, table.id, shard, shards);
  if (elsewhere == keys.size()) return Status::Ok();
  const Key key = keys[elsewhere];
  return InvalidArgument("table '" + table.name + "': key " + std::to_string(key) + " is of shard " +
                         std::to_string(ShardOf(RowHash(key, table.id), shards)) + " of " +
                         std::to_string(shards) + ", its group of shard " + std::to_string(shard) +
                         "; proto/data.capnp says how the shard of a key is computed");
}

Status LargeAnswer(uint64_t bytes) {
  return InvalidArgument("a call whose answer has " + std::to_string(bytes) +
                         " bytes of values or more, allowed are " + std::to_string(kMaxAnswerBytes) +
                         ": ask for fewer rows at a time");
}

// Everything that can be wrong with a push as such; then nothing of it is applied.
Status CheckPush(proto::PushRequest::Reader request) {
  PENSTOCK_RETURN_IF_ERROR(CheckTables(request));
  if (request.getProducer() == 0) return InvalidArgument("a push without a producer id");
  if (request.getLow() > request.getSequence()) {
    return InvalidArgument("a push with low " + std::to_string(request.getLow()) + " above its sequence " +
                           std::to_string(request.getSequence()));
  }
  uint64_t all = 0;
  for (auto table : request.getTables()) {
    const auto values = table.getValues();
    const size_t bytes = BytesOfValue(CodecOf(table));
    all += values.size();
    if (request.getPull() && all > kMaxAnswerBytes) return LargeAnswer(all);
    if (reinterpret_cast<uintptr_t>(values.begin()) % bytes != 0 || values.size() % bytes != 0) {
      return InvalidArgument("table " + std::to_string(table.getTable()) + ": values are not aligned " +
                             std::string(ToString(CodecOf(table))));
    }
  }
  return Status::Ok();
}

// What the answer says of the shard itself.
void SetStanding(const ServerCore::Found& found, proto::GroupResult::Builder out) {
  out.setEpoch(found.epoch);
  if (found.shard == nullptr) return;
  const HeldBefore& held = found.shard->held_before();
  out.setLedSince(held.since);
  out.setHeldFrom(held.from);
  out.setHeldTo(held.to);
  out.setHeldUpTo(held.up_to);
}

const Key* KeysOf(capnp::Data::Reader data) { return reinterpret_cast<const Key*>(data.begin()); }

}  // namespace

// Of a call about whole shards: bounds what its loops may cost.
Status DataService::CheckShards(size_t tables, size_t shards) {
  if (tables <= kMaxTables && shards <= kMaxGroups && uint64_t{tables} * shards <= kMaxPairs)
    return Status::Ok();
  return InvalidArgument("a call with " + std::to_string(tables) + " tables and " + std::to_string(shards) +
                         " shards, allowed are " + std::to_string(kMaxTables) + " and " +
                         std::to_string(kMaxGroups) + ", and " + std::to_string(kMaxPairs) +
                         " pairs of them");
}

kj::Promise<void> DataService::pull(PullContext context) {
  auto request = context.getParams().getRequest();
  auto results = context.getResults();
  const Status status = CheckTables(request);
  WriteStatus(status, results.initStatus());
  if (!status.ok()) return kj::READY_NOW;
  auto in = request.getTables();
  auto out = results.initResponse().initTables(in.size());
  std::vector<PullPart> parts;
  std::vector<ValuesOut> values;
  uint64_t room = kMaxAnswerBytes;
  for (uint32_t i = 0; i < in.size(); ++i)
    PullTable(i, in[i], request.getStored(), out[i], &room, &parts, &values);
  if (std::any_of(parts.begin(), parts.end(), [](const PullPart& part) { return !part.cold.empty(); })) {
    auto pull = kj::heap<ColdPull>(core_, context, std::move(parts), std::move(values));
    auto done = pull->Run();
    return done.attach(kj::mv(pull));
  }
  for (ValuesOut& table : values) table.Finish();
  WriteStored(parts, request, results.getResponse());
  context.releaseParams();
  return kj::READY_NOW;
}

void DataService::PullTable(uint32_t table, proto::PullRequest::Table::Reader in, bool stored,
                            proto::PullResponse::Table::Builder out, uint64_t* room,
                            std::vector<PullPart>* parts, std::vector<ValuesOut>* values) {
  const auto groups = in.getGroups();
  auto results = out.initGroups(groups.size());
  const size_t first = parts->size();
  const Key* next = KeysOf(in.getKeys());
  uint64_t rows = 0;
  uint32_t dim = 0;
  for (uint32_t i = 0; i < groups.size(); ++i) {
    const std::span<const Key> keys(next, groups[i].getCount());
    next += keys.size();
    auto found = core_.Find(groups[i].getShard(), groups[i].getEpoch());
    const TableSpec* spec = found.status.ok() ? found.shard->FindSpec(in.getTable()) : nullptr;
    if (found.status.ok() && spec == nullptr) found.status = core_.UnknownTable(in.getTable());
    if (found.status.ok()) found.status = CheckPlaces(*spec, groups[i].getShard(), core_.shard_count(), keys);
    SetResult(found.status, results[i]);
    SetStanding(found, results[i]);
    if (!found.status.ok()) continue;
    results[i].setLsn(found.shard->last_lsn());
    results[i].setLogged(found.slot->Logged());
    dim = spec->dim;
    rows += keys.size();
    parts->push_back({.table = table,
                      .group = i,
                      .shard = groups[i].getShard(),
                      .epoch = found.epoch,
                      .keys = keys,
                      .cold = {}});
  }
  if (parts->size() == first) return;
  const Codec codec = CodecOf(in);
  const uint64_t bytes = rows * dim * BytesOfValue(codec);
  if (bytes > *room) {
    const Status large = LargeAnswer(kMaxAnswerBytes - *room + bytes);
    for (auto result : results) SetResult(large, result);
    parts->resize(first);
    return;
  }
  *room -= bytes;
  values->emplace_back(codec, out.initValues(static_cast<uint32_t>(rows * dim * BytesOfValue(codec))));
  float* to = values->back().data();
  for (PullPart& part : std::span(*parts).subspan(first)) {
    part.to = to;
    if (stored) part.stored.resize(part.keys.size());
    ShardSlot& slot = *core_.Find(part.shard, part.epoch).slot;
    const Status pulled =
        slot.shard->PullRows(in.getTable(), part.keys, to, &part.cold, stored ? part.stored.data() : nullptr);
    CHECK(pulled.ok()) << pulled.message();  // its spec was found above
    slot.served_rows += part.keys.size();
    to += part.keys.size() * dim;
  }
  metrics_.pull_rows += rows;
}

kj::Promise<void> DataService::push(PushContext context) {
  auto request = context.getParams().getRequest();
  auto results = context.getResults();
  const Status status = CheckPush(request);
  WriteStatus(status, results.initStatus());
  if (!status.ok()) return kj::READY_NOW;
  auto in = request.getTables();
  auto out = results.initResponse().initTables(in.size());
  auto applying = kj::heap<Applying>();
  for (uint32_t i = 0; i < in.size(); ++i) PushTable(request, in[i], out[i], applying.get());
  if (applying->waiting.empty()) return FinishPush(context, *applying);
  return kj::joinPromises(applying->waiting.releaseAsArray())
      .then([this, context, applying = applying.get()]() mutable { return FinishPush(context, *applying); })
      .attach(kj::mv(applying));
}

kj::Promise<void> DataService::FinishPush(PushContext context, Applying& applying) {
  for (ValuesOut& table : applying.pulled) table.Finish();
  auto request = context.getParams().getRequest();
  if (request.getWorker() != 0 && request.getClock() != 0) {
    auto tables = context.getResults().getResponse().getTables();
    for (uint32_t i = 0; i < tables.size(); ++i) NoteClock(request, request.getTables()[i], tables[i]);
  }
  auto finish = [this, context]() mutable {
    // What is logged by now of the epoch that they were applied in: jobs count their progress by it.
    auto request = context.getParams().getRequest().getTables();
    auto tables = context.getResults().getResponse().getTables();
    for (uint32_t i = 0; i < tables.size(); ++i) {
      auto asked = request[i].getGroups();
      auto groups = tables[i].getGroups();
      for (uint32_t g = 0; g < groups.size(); ++g)
        groups[g].setLogged(core_.shards().Logged(asked[g].getShard(), groups[g].getEpoch()));
    }
  };
  if (applying.level == Durability::kMemory && applying.delay_ms == 0) {
    finish();
    return kj::READY_NOW;
  }
  auto reached = core_.Reached(applying.level, std::move(applying.deltas));
  if (applying.delay_ms > 0) {
    reached = loop_.Sleep(applying.delay_ms).then([reached = kj::mv(reached)]() mutable {
      return kj::mv(reached);
    });
  }
  return reached.then([context, finish = kj::mv(finish)](Status&& reached) mutable {
    finish();
    // Applied, but not at its level: the answer must not say otherwise.
    if (!reached.ok()) WriteStatus(OutcomeUnknown(reached.message()), context.getResults().initStatus());
  });
}

void DataService::PushTable(proto::PushRequest::Reader request, proto::PushRequest::Table::Reader in,
                            proto::PushResponse::Table::Builder out, Applying* applying) {
  const auto groups = in.getGroups();
  auto results = out.initGroups(groups.size());
  const Key* keys = KeysOf(in.getKeys());
  const auto wire = in.getValues();
  applying->values.emplace_back(CodecOf(in), wire);
  const float* values = applying->values.back().data();
  const uint64_t floats = applying->values.back().size();
  const uint64_t rows = in.getKeys().size() / sizeof(Key);
  float* pulled = nullptr;
  if (request.getPull()) {
    applying->pulled.emplace_back(CodecOf(in), out.initValues(wire.size()));
    pulled = applying->pulled.back().data();
  }
  const UnitContext context{.producer = request.getProducer(),
                            .sequence = request.getSequence(),
                            .low = request.getLow(),
                            .rewind = request.getRewind(),
                            .round = request.getRound(),
                            .step = request.getStep(),
                            .pass = request.getPass(),
                            .seconds = SecondsNow()};
  for (uint32_t i = 0; i < groups.size(); ++i) {
    const uint32_t count = groups[i].getCount();
    const ShardId shard = groups[i].getShard();
    auto found = core_.Find(shard, groups[i].getEpoch());
    if (found.status.ok()) {
      const Shard::TableHandle table = found.shard->Serving(in.getTable());
      const TableSpec* spec = table ? &table.spec() : nullptr;
      if (spec != nullptr && floats != rows * spec->dim) {
        found.status =
            InvalidArgument("table '" + spec->name + "': " + std::to_string(floats) + " values for " +
                            std::to_string(rows) + " rows of " + std::to_string(spec->dim));
      } else if (Status codec =
                     spec == nullptr ? Status::Ok() : CheckCodec(spec->optimizer.kind, CodecOf(in));
                 !codec.ok()) {
        found.status = codec.Prepend("table '" + spec->name + "'");
      } else if (spec != nullptr && uint64_t{count} * (sizeof(Key) + spec->dim * sizeof(float)) >
                                        core_.options().max_unit_bytes) {
        found.status = InvalidArgument("table '" + spec->name + "', shard " + std::to_string(shard) +
                                       ": a unit of " + std::to_string(count) + " rows is over " +
                                       std::to_string(core_.options().max_unit_bytes) + " bytes");
      } else if (Status places = spec == nullptr
                                     ? Status::Ok()
                                     : CheckPlaces(*spec, shard, core_.shard_count(), {keys, count});
                 !places.ok()) {
        found.status = std::move(places);
      } else {
        const ServerCore::Unit unit{.context = context,
                                    .table = in.getTable(),
                                    .keys = {keys, count},
                                    .values = values,
                                    .pulled = pulled};
        auto applied = core_.Apply(*found.slot, table, unit);
        if (applied.status.ok())
          applying->delay_ms = std::max(applying->delay_ms, found.slot->replica.DelayMs());
        if (!applied.cold.empty()) {
          applying->waiting.add(core_.ApplyCold(*found.slot, found.epoch, unit, std::move(applied.cold))
                                    .then([this, shard, epoch = found.epoch, result = results[i],
                                           applying](ServerCore::Applied&& late) mutable {
                                      SetResult(late.status, result);
                                      result.setLsn(late.delta.lsn);
                                      result.setEpoch(core_.Find(shard, epoch).epoch);
                                      applying->Note(late);
                                    }));
        }
        found.status = applied.status;
        results[i].setLsn(applied.delta.lsn);
        if (applied.cold.empty()) applying->Note(applied);
        if (table && table.not_finite().rows > 0) {
          out.setNotFiniteRows(out.getNotFiniteRows() + table.not_finite().rows);
          out.setNotFiniteKey(table.not_finite().key);
        }
      }
    }
    SetResult(found.status, results[i]);
    SetStanding(found, results[i]);
    keys += count;
    const uint64_t group_floats = rows == 0 ? 0 : count * (floats / rows);
    values += group_floats;
    if (pulled != nullptr) pulled += group_floats;
  }
}

// Only of units that were applied, now or before: what is refused leaves no trace.
void DataService::NoteClock(proto::PushRequest::Reader request, proto::PushRequest::Table::Reader in,
                            proto::PushResponse::Table::Builder out) {
  bool applied = false;
  for (auto group : out.getGroups()) applied |= group.getCode() == proto::Code::OK;
  if (applied) clocks_[in.getTable()].Push(request.getWorker(), request.getClock());
}

kj::Promise<void> DataService::flush(FlushContext context) {
  auto in = context.getParams().getShards();
  if (const Status status = CheckShards(1, in.size()); !status.ok()) {
    WriteStatus(status, context.getResults().initStatus());
    return kj::READY_NOW;
  }
  std::vector<ShardId> shards;
  for (auto ref : in) shards.push_back(ref.getShard());
  return core_.Flush(shards).then([this, context](Status&& status) mutable {
    auto results = context.getResults();
    WriteStatus(status, results.initStatus());
    auto in = context.getParams().getShards();
    auto out = results.initShards(in.size());
    for (uint32_t i = 0; i < in.size(); ++i) {
      auto found = core_.Find(in[i].getShard(), in[i].getEpoch());
      SetResult(found.status, out[i]);
      SetStanding(found, out[i]);
      if (!found.status.ok()) continue;
      out[i].setLsn(found.shard->last_lsn());
      out[i].setLogged(found.slot->Logged());
    }
  });
}

kj::Promise<void> DataService::stats(StatsContext context) {
  auto params = context.getParams();
  auto results = context.getResults();
  auto in = params.getShards();
  auto tables = params.getTables();
  const Status status = CheckShards(tables.size(), in.size());
  WriteStatus(status, results.initStatus());
  if (!status.ok()) return kj::READY_NOW;
  auto shards = results.initShards(in.size());
  // The sums of some shards are of no use.
  Status loaded;
  for (const auto shard : in) {
    for (const TableId table : tables) {
      if (loaded.ok()) loaded = core_.scan().Loaded(shard.getShard(), table);
    }
  }
  auto sums = kj::heap<std::vector<ShardTableStats>>(tables.size());
  kj::Vector<kj::Promise<Status>> scans;
  for (uint32_t i = 0; i < in.size(); ++i) {
    auto found = core_.Find(in[i].getShard(), in[i].getEpoch());
    if (found.status.ok()) found.status = loaded;
    SetResult(found.status, shards[i]);
    SetStanding(found, shards[i]);
    if (!found.status.ok()) continue;
    for (uint32_t t = 0; t < tables.size(); ++t) {
      const auto part = found.shard->Stats(tables[t]);
      if (!part.ok()) continue;  // not known here yet: it has no rows
      ShardTableStats& sum = (*sums)[t];
      sum.rows += part->rows;
      sum.bytes += part->bytes;
      sum.sum_squares += part->sum_squares;
      sum.sum_abs += part->sum_abs;
      sum.non_zero += part->non_zero;
      if (found.shard->cold_rows(tables[t]) > 0)
        scans.add(core_.scan().AddColdRows(in[i].getShard(), tables[t], &sum));
    }
  }
  return kj::joinPromises(scans.releaseAsArray())
      .then([context, sums = sums.get()](kj::Array<Status>&& scanned) mutable {
        auto tables = context.getParams().getTables();
        auto results = context.getResults();
        for (const Status& status : scanned) {
          if (!status.ok()) WriteStatus(status, results.initStatus());
        }
        auto stats = results.initStats(tables.size());
        for (uint32_t t = 0; t < tables.size(); ++t) {
          const ShardTableStats& sum = (*sums)[t];
          stats[t].setTable(tables[t]);
          stats[t].setRows(sum.rows);
          stats[t].setBytes(sum.bytes);
          stats[t].setSumSquares(sum.sum_squares);
          stats[t].setSumAbs(sum.sum_abs);
          stats[t].setNonZero(sum.non_zero);
        }
      })
      .attach(kj::mv(sums));
}

kj::Promise<void> DataService::commitRound(CommitRoundContext context) {
  auto params = context.getParams();
  auto results = context.getResults();
  auto in = params.getShards();
  const Status status = CheckShards(params.getTables().size(), in.size());
  WriteStatus(status, results.initStatus());
  if (!status.ok()) return kj::READY_NOW;
  auto out = results.initShards(in.size());
  Applying applying;
  for (uint32_t i = 0; i < in.size(); ++i) {
    auto found = core_.Find(in[i].getShard(), in[i].getEpoch());
    if (found.status.ok()) found.status = found.shard->CheckRewind(params.getRewind());
    for (TableId table : params.getTables()) {
      if (!found.status.ok()) break;
      auto applied =
          core_.CommitRound(*found.slot, table, params.getRound(), params.getExamples(), params.getStep());
      found.status = applied.status;
      out[i].setLsn(std::max(out[i].getLsn(), applied.delta.lsn));
      applying.Note(applied);
    }
    SetResult(found.status, out[i]);
    SetStanding(found, out[i]);
  }
  return core_.Reached(applying.level, std::move(applying.deltas))
      .then([this, context](Status&& reached) mutable {
        auto results = context.getResults();
        auto in = context.getParams().getShards();
        auto out = results.getShards();
        for (uint32_t i = 0; i < out.size(); ++i)
          out[i].setLogged(core_.shards().Logged(in[i].getShard(), out[i].getEpoch()));
        if (!reached.ok()) WriteStatus(OutcomeUnknown(reached.message()), results.initStatus());
      });
}

kj::Promise<void> DataService::clocks(ClocksContext context) {
  const auto table = clocks_.find(context.getParams().getTable());
  auto results = context.getResults();
  results.initStatus();
  if (table == clocks_.end()) return kj::READY_NOW;
  const auto& workers = table->second.workers();
  auto out = results.initClocks(static_cast<uint32_t>(workers.size()));
  uint32_t i = 0;
  for (const auto& [node, worker] : workers) {
    out[i].setWorker(node);
    out[i].setClock(worker.clock);
    out[i++].setLead(worker.lead);
  }
  return kj::READY_NOW;
}

kj::Promise<void> DataService::fold(FoldContext context) {
  const Status writable = core_.Writable();
  if (writable.ok()) core_.WantFold();
  WriteStatus(writable, context.getResults().initStatus());
  return kj::READY_NOW;
}

}  // namespace penstock
