// ExpireOperation: an operator's expiry run over all shards of a table. Lives on the client's loop.
#pragma once

#include <string>

#include "client/client_types.h"
#include "client/loop_call.h"
#include "client/operation.h"

namespace penstock {

struct ExpiryRun {
  TableId table = 0;
  bool dry_run = false;
  uint64_t run = 0;  // drawn at random: what is sent again goes on with the scans that were begun
};

class ExpireOperation final : public Operation {
 public:
  ExpireOperation(uint64_t deadline_ms, const ExpiryRun& run, uint32_t shards, Completion<ExpiryReport> done);

  std::string what() const override { return "expire"; }
  std::string Describe(size_t group) const override {
    return "table " + std::to_string(run_.table) + ", shard " + std::to_string(groups()[group].shard);
  }
  kj::Promise<Answer> Send(proto::DataPlane::Client& server, std::span<const uint32_t> groups) override;
  bool changes() const override { return !run_.dry_run; }
  void Complete(Status status) override;

 private:
  Answer Read(proto::DataPlane::ExpireResults::Reader results, size_t groups);

  const ExpiryRun run_;
  ExpiryReport report_;
  Completion<ExpiryReport> done_;
  bool over_ = false;  // the report was handed out
};

}  // namespace penstock
