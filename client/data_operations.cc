// Pull, push, flush and stats on the wire.
#include "client/data_operations.h"

#include <capnp/message.h>

#include <algorithm>
#include <utility>

#include "client/shard_groups.h"
#include "common/cluster/encode_values.h"
#include "common/cluster/wire.h"
#include "common/net/payloads.h"

namespace penstock {
namespace {

std::vector<Operation::Group> GroupsOf(const BucketedBatch& batch) {
  std::vector<Operation::Group> groups(batch.groups.size());
  for (size_t g = 0; g < groups.size(); ++g) {
    groups[g].shard = batch.groups[g].shard;
    groups[g].piece = batch.groups[g].piece;
    groups[g].bytes = batch.bytes(batch.groups[g]);
  }
  return groups;
}

std::string DescribeGroup(const BucketedBatch& batch, size_t group) {
  return "table '" + batch.tables[batch.groups[group].table].name + "', shard " +
         std::to_string(batch.groups[group].shard);
}

// Groups of one table share a slice of its arrays, so they must follow each other there.
bool Adjacent(const BucketedBatch& batch, size_t group, size_t next) {
  const BatchGroup& a = batch.groups[group];
  const BatchGroup& b = batch.groups[next];
  return a.table != b.table || a.first + a.count == b.first;
}

// The groups [begin, end) of one table, within a call.
struct Run {
  size_t begin;
  size_t end;
  uint64_t rows;
};

std::vector<Run> RunsOf(const BucketedBatch& batch, std::span<const uint32_t> groups) {
  std::vector<Run> runs;
  for (size_t i = 0; i < groups.size(); ++i) {
    if (i == 0 || batch.groups[groups[i]].table != batch.groups[groups[i - 1]].table)
      runs.push_back({i, i, 0});
    runs.back().end = i + 1;
    runs.back().rows += batch.groups[groups[i]].count;
  }
  return runs;
}

// A group's rows, as they came, to their places among the caller's.
void Scatter(const BucketedBatch& batch, const BatchGroup& group, const uint8_t* rows,
             std::span<const std::span<float>> out) {
  const BucketedBatch::Table& table = batch.tables[group.table];
  const uint32_t* order = &table.order[group.first];
  for (uint32_t i = 0; i < group.count; ++i, rows += table.row_bytes()) {
    DecodeValues(table.codec, rows, out[group.table].subspan(size_t{order[i]} * table.dim, table.dim));
  }
}

// The same of the bits that say which rows are stored, from bit `row` on.
void ScatterStored(const BucketedBatch& batch, const BatchGroup& group, capnp::Data::Reader bits,
                   uint64_t row, std::span<const std::span<uint8_t>> out) {
  const uint32_t* order = &batch.tables[group.table].order[group.first];
  for (uint32_t i = 0; i < group.count; ++i, ++row) out[group.table][order[i]] = bits[row / 8] >> row % 8 & 1;
}

template <typename Table>
void WriteGroups(const Operation& operation, const BucketedBatch& batch, std::span<const uint32_t> groups,
                 Table out) {
  auto list = out.initGroups(groups.size());
  for (size_t i = 0; i < groups.size(); ++i) {
    const Operation::Group& group = operation.groups()[groups[i]];
    list[i].setShard(group.shard);
    list[i].setEpoch(group.sent_epoch);
    list[i].setCount(batch.groups[groups[i]].count);
  }
}

}  // namespace

// --- Pull ---

PullOperation::PullOperation(uint64_t deadline_ms, BucketedBatch batch, PullPlaces out, Completion<bool> done)
    : Operation(deadline_ms, GroupsOf(batch)),
      batch_(std::move(batch)),
      out_(std::move(out)),
      done_(std::move(done)) {}

std::string PullOperation::Describe(size_t group) const { return DescribeGroup(batch_, group); }
bool PullOperation::Joins(size_t group, size_t next) const { return Adjacent(batch_, group, next); }

kj::Promise<Operation::Answer> PullOperation::Send(proto::DataPlane::Client& server,
                                                   std::span<const uint32_t> groups) {
  auto call = server.pullRequest();
  const std::vector<Run> runs = RunsOf(batch_, groups);
  auto request = call.initRequest();
  request.setStored(!out_.stored.empty());
  auto tables = request.initTables(runs.size());
  Payloads payloads(
      capnp::Orphanage::getForMessageContaining(proto::PullRequest::Builder(call.getRequest())));
  for (size_t r = 0; r < runs.size(); ++r) {
    const BatchGroup& first = batch_.groups[groups[runs[r].begin]];
    const BucketedBatch::Table& table = batch_.tables[first.table];
    tables[r].setTable(table.table);
    tables[r].setCodec(static_cast<proto::Codec>(table.codec));
    WriteGroups(*this, batch_, groups.subspan(runs[r].begin, runs[r].end - runs[r].begin), tables[r]);
    tables[r].adoptKeys(payloads.Take(&table.keys[first.first], runs[r].rows * sizeof(Key)));
  }
  return call.send().then([this, groups](capnp::Response<proto::DataPlane::PullResults>&& results) -> Answer {
    const Status status = ReadStatus(results.getStatus());
    if (!status.ok()) return status;
    return Readable(Read(results.getResponse(), groups), groups.size());
  });
}

Operation::Answer PullOperation::Read(proto::PullResponse::Reader response,
                                      std::span<const uint32_t> groups) {
  const std::vector<Run> runs = RunsOf(batch_, groups);
  const auto tables = response.getTables();
  if (tables.size() != runs.size())
    return Malformed(std::to_string(tables.size()) + " tables of " + std::to_string(runs.size()));
  std::vector<GroupOutcome> outcomes;
  for (size_t r = 0; r < runs.size(); ++r) {
    const auto run = groups.subspan(runs[r].begin, runs[r].end - runs[r].begin);
    const Answer answer = ReadShards(tables[r].getGroups(), run.size());
    if (!answer.ok()) return answer.status();
    const uint64_t row_bytes = batch_.tables[batch_.groups[run[0]].table].row_bytes();
    const capnp::Data::Reader values = tables[r].getValues();
    uint64_t rows = 0;
    for (size_t i = 0; i < run.size(); ++i) {
      if ((*answer)[i].code == Code::kOk) rows += batch_.groups[run[i]].count;
    }
    if (values.size() != rows * row_bytes) {
      return Malformed(std::to_string(values.size()) + " bytes of values, expected " +
                       std::to_string(rows * row_bytes));
    }
    const capnp::Data::Reader stored = tables[r].getStored();
    if (!out_.stored.empty() && stored.size() != (rows + 7) / 8) {
      return Malformed(std::to_string(stored.size()) + " bytes of stored rows, expected " +
                       std::to_string((rows + 7) / 8));
    }
    uint64_t row = 0;
    for (size_t i = 0; i < run.size(); ++i) {
      outcomes.push_back((*answer)[i]);
      if ((*answer)[i].code != Code::kOk) continue;
      const BatchGroup& group = batch_.groups[run[i]];
      if (!over_) Scatter(batch_, group, values.begin() + row * row_bytes, out_.values);
      if (!over_ && !out_.stored.empty()) ScatterStored(batch_, group, stored, row, out_.stored);
      row += group.count;
    }
  }
  return outcomes;
}

void PullOperation::Complete(Status status) {
  over_ = true;
  if (status.ok()) {
    done_(true);
  } else {
    done_(std::move(status));
  }
}

// --- Push ---

PushOperation::PushOperation(const PushOptions& options, BucketedBatch batch,
                             std::vector<std::span<float>> out, std::shared_ptr<Producer> producer,
                             Sequence sequence, Completion<PushResult> done)
    : Operation(options.deadline_ms, GroupsOf(batch)),
      batch_(std::move(batch)),
      out_(std::move(out)),
      producer_(std::move(producer)),
      sequence_(sequence),
      options_(options),
      positions_(batch_.groups.size()),
      done_(std::move(done)) {}

std::string PushOperation::what() const {
  return "push " + std::to_string(sequence_) + " of producer " + std::to_string(producer_->id());
}
std::string PushOperation::Describe(size_t group) const { return DescribeGroup(batch_, group); }
bool PushOperation::Joins(size_t group, size_t next) const { return Adjacent(batch_, group, next); }

kj::Promise<Operation::Answer> PushOperation::Send(proto::DataPlane::Client& server,
                                                   std::span<const uint32_t> groups) {
  auto call = server.pushRequest();
  auto request = call.initRequest();
  request.setProducer(producer_->id());
  request.setSequence(sequence_);
  request.setLow(producer_->low());
  request.setClock(options_.clock);
  request.setRound(options_.round);
  request.setStep(options_.step);
  request.setWorker(options_.worker);
  request.setPass(options_.pass);
  request.setRewind(options_.rewind);
  request.setPull(!out_.empty());
  const std::vector<Run> runs = RunsOf(batch_, groups);
  auto tables = request.initTables(runs.size());
  Payloads payloads(capnp::Orphanage::getForMessageContaining(request));
  for (size_t r = 0; r < runs.size(); ++r) {
    const BatchGroup& first = batch_.groups[groups[runs[r].begin]];
    const BucketedBatch::Table& table = batch_.tables[first.table];
    tables[r].setTable(table.table);
    tables[r].setCodec(static_cast<proto::Codec>(table.codec));
    WriteGroups(*this, batch_, groups.subspan(runs[r].begin, runs[r].end - runs[r].begin), tables[r]);
    tables[r].adoptKeys(payloads.Take(&table.keys[first.first], runs[r].rows * sizeof(Key)));
    tables[r].adoptValues(payloads.Take(table.value(first.first_value), runs[r].rows * table.row_bytes()));
  }
  return call.send().then([this, groups](capnp::Response<proto::DataPlane::PushResults>&& results) -> Answer {
    const Status status = ReadStatus(results.getStatus());
    if (!status.ok()) return status;
    return Readable(Read(results.getResponse(), groups), groups.size());
  });
}

Operation::Answer PushOperation::Read(proto::PushResponse::Reader response,
                                      std::span<const uint32_t> groups) {
  const std::vector<Run> runs = RunsOf(batch_, groups);
  const auto tables = response.getTables();
  if (tables.size() != runs.size())
    return Malformed(std::to_string(tables.size()) + " tables of " + std::to_string(runs.size()));
  std::vector<GroupOutcome> outcomes;
  for (size_t r = 0; r < runs.size(); ++r) {
    Answer answer = ReadShards(tables[r].getGroups(), runs[r].end - runs[r].begin);
    if (!answer.ok()) return answer.status();
    const uint64_t row_bytes = batch_.tables[batch_.groups[groups[runs[r].begin]].table].row_bytes();
    const capnp::Data::Reader values = tables[r].getValues();
    if (!out_.empty() && values.size() != runs[r].rows * row_bytes) {
      return Malformed(std::to_string(values.size()) + " bytes of values, expected " +
                       std::to_string(runs[r].rows * row_bytes));
    }
    if (tables[r].getNotFiniteRows() > 0) {
      not_finite_.push_back({.table = batch_.tables[batch_.groups[groups[runs[r].begin]].table].table,
                             .rows = tables[r].getNotFiniteRows(),
                             .key = tables[r].getNotFiniteKey()});
    }
    const uint8_t* next = values.begin();
    for (GroupOutcome& outcome : *answer) {
      const uint32_t g = groups[outcomes.size()];
      positions_[g] = {.shard = Operation::groups()[g].shard,
                       .epoch = Operation::groups()[g].sent_epoch,
                       .lsn = outcome.lsn,
                       .logged = outcome.logged,
                       .held = outcome.held};
      if (!out_.empty()) {
        if (outcome.code == Code::kOk && !over_) Scatter(batch_, batch_.groups[g], next, out_);
        next += batch_.groups[g].count * row_bytes;
      }
      outcomes.push_back(std::move(outcome));
    }
  }
  return outcomes;
}

void PushOperation::Complete(Status status) {
  over_ = true;
  if (!status.ok()) return done_(std::move(status));
  PushResult result{.sequence = sequence_, .units = {}, .not_finite = std::move(not_finite_)};
  result.units.reserve(positions_.size());
  for (size_t g = 0; g < positions_.size(); ++g) {
    const UnitPosition& at = positions_[g];
    result.units.push_back({.table = batch_.tables[batch_.groups[g].table].table,
                            .shard = at.shard,
                            .epoch = at.epoch,
                            .lsn = at.lsn,
                            .logged = at.lsn <= at.logged});
  }
  producer_->With([&](ProducerWindow& window) { window.Finish(sequence_, positions_); });
  done_(std::move(result));
}

// --- Flush ---

FlushOperation::FlushOperation(uint64_t deadline_ms, const std::vector<ShardId>& shards,
                               Completion<bool> done)
    : Operation(deadline_ms, GroupsOf(shards)), done_(std::move(done)) {}

kj::Promise<Operation::Answer> FlushOperation::Send(proto::DataPlane::Client& server,
                                                    std::span<const uint32_t> groups) {
  auto call = server.flushRequest();
  WriteShards(*this, groups, call.initShards(groups.size()));
  return call.send().then(
      [count = groups.size()](capnp::Response<proto::DataPlane::FlushResults>&& results) -> Answer {
        const Status status = ReadStatus(results.getStatus());
        if (!status.ok()) return status;
        return Readable(ReadShards(results.getShards(), count), count);
      });
}

void FlushOperation::Complete(Status status) {
  if (status.ok()) {
    done_(true);
  } else {
    done_(std::move(status));
  }
}

// --- Stats ---

StatsOperation::StatsOperation(uint64_t deadline_ms, std::vector<TableId> tables, uint32_t shards,
                               Completion<std::vector<TableStats>> done)
    : Operation(deadline_ms, GroupsOf(AllShards(shards))),
      tables_(std::move(tables)),
      sums_(tables_.size()),
      done_(std::move(done)) {
  for (size_t t = 0; t < tables_.size(); ++t) sums_[t].table = tables_[t];
}

kj::Promise<Operation::Answer> StatsOperation::Send(proto::DataPlane::Client& server,
                                                    std::span<const uint32_t> groups) {
  auto call = server.statsRequest();
  auto tables = call.initTables(tables_.size());
  for (size_t t = 0; t < tables_.size(); ++t) tables.set(t, tables_[t]);
  WriteShards(*this, groups, call.initShards(groups.size()));
  return call.send().then(
      [this, groups](capnp::Response<proto::DataPlane::StatsResults>&& results) -> Answer {
        const Status status = ReadStatus(results.getStatus());
        if (!status.ok()) return status;
        return Readable(Read(results, groups), groups.size());
      });
}

Operation::Answer StatsOperation::Read(proto::DataPlane::StatsResults::Reader results,
                                       std::span<const uint32_t> groups) {
  Answer answer = ReadShards(results.getShards(), groups.size());
  if (!answer.ok() || over_) return answer;
  const bool complete =
      std::all_of(answer->begin(), answer->end(), [](const GroupOutcome& o) { return o.code == Code::kOk; });
  if (!complete) {
    // The sums hold for all shards of the call or for none: those that would have been ok are asked again
    // with the others.
    for (GroupOutcome& outcome : *answer) {
      if (outcome.code == Code::kOk)
        outcome = {.code = Code::kUnavailable, .message = "another shard of the same call failed"};
    }
    return answer;
  }
  const auto stats = results.getStats();
  if (stats.size() != tables_.size())
    return Malformed(std::to_string(stats.size()) + " tables of " + std::to_string(tables_.size()));
  for (size_t t = 0; t < tables_.size(); ++t) {
    if (stats[t].getTable() != tables_[t])
      return Malformed("table " + std::to_string(stats[t].getTable()) + " where another one was asked for");
    sums_[t].rows += stats[t].getRows();
    sums_[t].bytes += stats[t].getBytes();
    sums_[t].sum_squares += stats[t].getSumSquares();
    sums_[t].sum_abs += stats[t].getSumAbs();
    sums_[t].non_zero += stats[t].getNonZero();
  }
  return answer;
}

void StatsOperation::Complete(Status status) {
  over_ = true;
  if (status.ok()) {
    done_(std::move(sums_));
  } else {
    done_(std::move(status));
  }
}

}  // namespace penstock
