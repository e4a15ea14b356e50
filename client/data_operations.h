// The four calls of the data plane as Operations: what they send, how they read the answer, what they hand to
// the caller.
//
// Live on the client's loop. Keys and values go into messages by reference and answers are
// read in place.
#pragma once

#include <memory>
#include <span>
#include <string>
#include <vector>

#include "client/bucketer.h"
#include "client/client_types.h"
#include "client/loop_call.h"
#include "client/operation.h"
#include "client/producer.h"

namespace penstock {

// Where the rows of a batch go: values[t] has room for all rows of its table t, [rows, dim], and stored[t],
// unless nobody asks which rows are stored, for a byte a row. Until the pull is done.
struct PullPlaces {
  std::vector<std::span<float>> values;
  std::vector<std::span<uint8_t>> stored;
};

class PullOperation final : public Operation {
 public:
  PullOperation(uint64_t deadline_ms, BucketedBatch batch, PullPlaces out, Completion<bool> done);

  std::string what() const override { return "pull"; }
  std::string Describe(size_t group) const override;
  bool Joins(size_t group, size_t next) const override;
  kj::Promise<Answer> Send(proto::DataPlane::Client& server, std::span<const uint32_t> groups) override;
  void Complete(Status status) override;

 private:
  Answer Read(proto::PullResponse::Reader response, std::span<const uint32_t> groups);
  const BucketedBatch batch_;
  const PullPlaces out_;
  Completion<bool> done_;
  bool over_ = false;  // late answers have nowhere to go
};

class PushOperation final : public Operation {
 public:
  // The producer has begun `sequence`; it is finished here, or failed by `done`. `out`: as of a pull, for a
  // batch whose rows come back, else empty.
  PushOperation(const PushOptions& options, BucketedBatch batch, std::vector<std::span<float>> out,
                std::shared_ptr<Producer> producer, Sequence sequence, Completion<PushResult> done);

  std::string what() const override;
  std::string Describe(size_t group) const override;
  bool Joins(size_t group, size_t next) const override;
  kj::Promise<Answer> Send(proto::DataPlane::Client& server, std::span<const uint32_t> groups) override;
  bool changes() const override { return true; }
  void Complete(Status status) override;

 private:
  Answer Read(proto::PushResponse::Reader response, std::span<const uint32_t> groups);

  const BucketedBatch batch_;
  const std::vector<std::span<float>> out_;
  const std::shared_ptr<Producer> producer_;
  const Sequence sequence_;
  const PushOptions options_;
  std::vector<UnitPosition> positions_;  // of each group, when it was answered
  std::vector<NotFiniteInTable> not_finite_;
  Completion<PushResult> done_;
  bool over_ = false;  // late answers have nowhere to go
};

class FlushOperation final : public Operation {
 public:
  FlushOperation(uint64_t deadline_ms, const std::vector<ShardId>& shards, Completion<bool> done);

  std::string what() const override { return "flush"; }
  std::string Describe(size_t group) const override {
    return "shard " + std::to_string(groups()[group].shard);
  }
  kj::Promise<Answer> Send(proto::DataPlane::Client& server, std::span<const uint32_t> groups) override;
  void Complete(Status status) override;

 private:
  Completion<bool> done_;
};

class StatsOperation final : public Operation {
 public:
  StatsOperation(uint64_t deadline_ms, std::vector<TableId> tables, uint32_t shards,
                 Completion<std::vector<TableStats>> done);

  std::string what() const override { return "stats"; }
  bool scans() const override { return true; }
  std::string Describe(size_t group) const override {
    return "shard " + std::to_string(groups()[group].shard);
  }
  kj::Promise<Answer> Send(proto::DataPlane::Client& server, std::span<const uint32_t> groups) override;
  void Complete(Status status) override;

 private:
  Answer Read(proto::DataPlane::StatsResults::Reader results, std::span<const uint32_t> groups);

  const std::vector<TableId> tables_;
  std::vector<TableStats> sums_;
  Completion<std::vector<TableStats>> done_;
  bool over_ = false;
};

}  // namespace penstock
