// The calls of the data plane for ssp and sync jobs as Operations. Live on the client's loop.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "client/client_types.h"
#include "client/loop_call.h"
#include "client/operation.h"

namespace penstock {

struct RoundToCommit {
  std::vector<TableId> tables;
  uint64_t round = 0;
  uint64_t examples = 0;
  uint64_t step = 0;
  uint64_t rewind = 0;
};

// On all shards.
class CommitRoundOperation final : public Operation {
 public:
  CommitRoundOperation(uint64_t deadline_ms, RoundToCommit commit, uint32_t shards, Completion<bool> done);

  std::string what() const override { return "commit of round " + std::to_string(commit_.round); }
  std::string Describe(size_t group) const override {
    return "shard " + std::to_string(groups()[group].shard);
  }
  kj::Promise<Answer> Send(proto::DataPlane::Client& server, std::span<const uint32_t> groups) override;
  bool changes() const override { return true; }
  void Complete(Status status) override;

 private:
  const RoundToCommit commit_;
  Completion<bool> done_;
};

// Asks every core that serves a shard.
class ClocksOperation final : public Operation {
 public:
  ClocksOperation(uint64_t deadline_ms, TableId table, uint32_t shards,
                  Completion<std::vector<WorkerClock>> done);

  std::string what() const override { return "clocks"; }
  std::string Describe(size_t group) const override {
    return "shard " + std::to_string(groups()[group].shard);
  }
  kj::Promise<Answer> Send(proto::DataPlane::Client& server, std::span<const uint32_t> groups) override;
  void Complete(Status status) override;

 private:
  const TableId table_;
  std::map<uint32_t, WorkerClock> clocks_;
  Completion<std::vector<WorkerClock>> done_;
};

}  // namespace penstock
