// FoldOperation: asks every core that serves a shard for a fold of its log. Lives on the client's loop.
#pragma once

#include <string>

#include "client/loop_call.h"
#include "client/operation.h"

namespace penstock {

class FoldOperation final : public Operation {
 public:
  FoldOperation(uint64_t deadline_ms, uint32_t shards, Completion<bool> done);

  std::string what() const override { return "fold"; }
  std::string Describe(size_t group) const override {
    return "shard " + std::to_string(groups()[group].shard);
  }
  kj::Promise<Answer> Send(proto::DataPlane::Client& server, std::span<const uint32_t> groups) override;
  void Complete(Status status) override;

 private:
  Completion<bool> done_;
};

}  // namespace penstock
