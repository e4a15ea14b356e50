// What Operations share: groups of whole shards, and reading their answers.
#pragma once

#include <span>
#include <string>
#include <vector>

#include "client/operation.h"
#include "common/base/ids.h"

namespace penstock {

// One group a shard.
std::vector<Operation::Group> GroupsOf(const std::vector<ShardId>& shards);
std::vector<ShardId> AllShards(uint32_t count);
// The groups' shards, each in its sent_epoch.
void WriteShards(const Operation& operation, std::span<const uint32_t> groups,
                 capnp::List<proto::ShardRef>::Builder out);

// Of an answer that makes no sense.
Status Malformed(const std::string& what);
// For a call that was answered ok, but with nonsense: whether it was applied is not known.
Operation::Answer Readable(Operation::Answer answer, size_t groups);
Operation::Answer ReadShards(capnp::List<proto::GroupResult>::Reader in, size_t expected);

}  // namespace penstock
