// What Operations share: groups of whole shards, and reading their answers.
#include "client/shard_groups.h"

#include <utility>

namespace penstock {

std::vector<Operation::Group> GroupsOf(const std::vector<ShardId>& shards) {
  std::vector<Operation::Group> groups(shards.size());
  for (size_t g = 0; g < groups.size(); ++g) groups[g].shard = shards[g];
  return groups;
}

std::vector<ShardId> AllShards(uint32_t count) {
  std::vector<ShardId> shards(count);
  for (uint32_t i = 0; i < count; ++i) shards[i] = i;
  return shards;
}

void WriteShards(const Operation& operation, std::span<const uint32_t> groups,
                 capnp::List<proto::ShardRef>::Builder out) {
  for (size_t i = 0; i < groups.size(); ++i) {
    out[i].setShard(operation.groups()[groups[i]].shard);
    out[i].setEpoch(operation.groups()[groups[i]].sent_epoch);
  }
}

namespace {

GroupOutcome ReadGroup(proto::GroupResult::Reader in) {
  GroupOutcome out;
  const auto code = static_cast<uint16_t>(in.getCode());
  // A code of a later version is an error that this one cannot react to.
  out.code = code <= static_cast<uint16_t>(Code::kInternal) ? static_cast<Code>(code) : Code::kInternal;
  out.retry_after_ms = in.getRetryAfterMs();
  out.epoch = in.getEpoch();
  out.lsn = in.getLsn();
  out.logged = in.getLogged();
  out.held = {in.getLedSince(), in.getHeldFrom(), in.getHeldTo(), in.getHeldUpTo()};
  if (out.code != Code::kOk) out.message = in.getMessage().cStr();
  return out;
}

}  // namespace

Status Malformed(const std::string& what) { return Internal("the server's answer is malformed: " + what); }

Operation::Answer Readable(Operation::Answer answer, size_t groups) {
  if (answer.ok()) return answer;
  GroupOutcome outcome;
  outcome.code = answer.status().code();
  outcome.message = answer.status().message();
  outcome.unanswered = true;
  return std::vector<GroupOutcome>(groups, outcome);
}

Operation::Answer ReadShards(capnp::List<proto::GroupResult>::Reader in, size_t expected) {
  if (in.size() != expected)
    return Malformed(std::to_string(in.size()) + " shards of " + std::to_string(expected));
  std::vector<GroupOutcome> outcomes;
  for (auto group : in) outcomes.push_back(ReadGroup(group));
  return outcomes;
}

}  // namespace penstock
