// Commands about the cluster itself: terms, nodes, tables, producers.
#include "scheduler/state/cluster_state.h"

#include <algorithm>
#include <bit>
#include <limits>

#include "common/base/strings.h"
#include "common/cluster/table_difference.h"
#include "scheduler/state/events.h"

namespace penstock {

Status ClusterState::Check(const Command& command) const {
  const Status status = std::visit([this](const auto& c) { return CheckIt(c); }, command);
  // Other codes than kInternal are for the caller, who has said what he wants.
  return status.code() == Code::kInternal ? status.Prepend(CommandName(command)) : status;
}

Status ClusterState::Apply(const Command& command, int64_t at_ms) {
  PENSTOCK_RETURN_IF_ERROR(Check(command));
  for (Event& event : EventsOf(*this, command)) {
    event.number = ++data_.last_event;
    event.at_ms = at_ms;
    data_.events.push_back(std::move(event));
    if (data_.events.size() > most_events_) data_.events.pop_front();
  }
  std::visit([this](const auto& c) { Do(c); }, command);
  ++data_.commands;
  return Status::Ok();
}

Result<ClusterState> ClusterState::FromJson(nlohmann::json json) {
  try {
    ClusterState state;
    // A snapshot from before there were these.
    json.emplace("rewind", StateData{}.rewind);
    json.emplace("balance", StateData{}.balance);
    json.emplace("last_event", StateData{}.last_event);
    json.emplace("events", StateData{}.events);
    state.data_ = json.get<StateData>();
    for (const auto& [id, job] : state.data_.jobs) {
      for (const auto& partition : job.partitions) {
        if (partition.state == PartitionState::kDone && partition.producer != 0)
          AddProducer(&state.complete_, partition.producer);
      }
    }
    return state;
  } catch (const std::exception& e) {
    return DataLoss(std::string("not a state of the cluster: ") + e.what());
  }
}

const NodeRecord* ClusterState::FindNode(NodeId id) const {
  auto it = data_.nodes.find(id);
  return it == data_.nodes.end() ? nullptr : &it->second;
}

const NodeRecord* ClusterState::FindNode(NodeRole role, const std::string& name) const {
  for (const auto& [id, node] : data_.nodes) {
    if (node.role == role && node.name == name) return &node;
  }
  return nullptr;
}

const TableSpec* ClusterState::FindTable(const std::string& name) const {
  for (const auto& [id, spec] : data_.tables) {
    if (spec.name == name) return &spec;
  }
  return nullptr;
}

const JobRecord* ClusterState::FindJob(JobId id) const {
  auto it = data_.jobs.find(id);
  return it == data_.jobs.end() ? nullptr : &it->second;
}

ProducerId ClusterState::ForgetFloor() const {
  ProducerId floor = data_.next_producer;
  if (data_.first_client_producer != 0) floor = std::min(floor, data_.first_client_producer);
  for (const auto& [id, job] : data_.jobs) {
    for (const auto& partition : job.partitions) {
      if (partition.producer != 0) floor = std::min(floor, partition.producer);
    }
  }
  return floor;
}

// --- terms ---

Status ClusterState::CheckIt(const BeginTerm& c) const {
  if (c.term != data_.term + 1) {
    return Internal("term " + std::to_string(c.term) + " after term " + std::to_string(data_.term));
  }
  if (c.cluster == 0 || !std::has_single_bit(c.shards) || c.shards < 2 || c.shards > 65536) {
    return Internal("a cluster of " + std::to_string(c.shards) + " shards");
  }
  if (data_.cluster != 0 && (c.cluster != data_.cluster || c.shards != data_.shards.size())) {
    return Internal("the id and the number of shards of a cluster do not change");
  }
  if (data_.cluster != 0 && (c.copies != data_.copies || c.min_copies != data_.min_copies))
    return Internal("a new term does not change the number of copies");
  return CheckIt(SetCopies{.copies = c.copies, .min_copies = c.min_copies});
}

void ClusterState::Do(const BeginTerm& c) {
  data_.term = c.term;
  data_.cluster = c.cluster;
  data_.copies = c.copies;
  data_.min_copies = c.min_copies;
  data_.shards.resize(c.shards);
}

// --- nodes ---

Status ClusterState::CheckIt(const RegisterNode& c) const {
  const NodeRecord* known = FindNode(c.node.id);
  // One that was removed may come back.
  if (known == nullptr && (c.node.id == 0 || c.node.id > data_.last_node + 1))
    return Internal("node " + std::to_string(c.node.id) + " is not known");
  if (known != nullptr && known->role != c.node.role)
    return Internal("node " + std::to_string(c.node.id) + " changed its role");
  if (c.node.session <= data_.last_session)
    return Internal("session " + std::to_string(c.node.session) + " is not new");
  const auto owned = [&](ShardId shard) -> Status {
    PENSTOCK_RETURN_IF_ERROR(CheckShard(shard));
    if (data_.shards[shard].node == c.node.id) return Status::Ok();
    return Internal("shard " + std::to_string(shard) + " is not of node " + std::to_string(c.node.id));
  };
  for (const auto& lsns : c.lsns) PENSTOCK_RETURN_IF_ERROR(owned(lsns.shard));
  for (const auto& quarantine : c.quarantines) PENSTOCK_RETURN_IF_ERROR(owned(quarantine.shard));
  for (const auto& grant : c.grants) {
    PENSTOCK_RETURN_IF_ERROR(owned(grant.shard));
    PENSTOCK_RETURN_IF_ERROR(CheckGrant(grant));
  }
  return Status::Ok();
}

void ClusterState::Do(const RegisterNode& c) {
  NodeRecord& node = data_.nodes[c.node.id];
  const bool drained = node.drained;
  node = c.node;
  node.drained = drained;
  data_.last_node = std::max(data_.last_node, c.node.id);
  data_.last_session = c.node.session;
  for (auto& shard : data_.shards) {
    if (shard.node == c.node.id) shard.granted_session = 0;
  }
  FreeLeasesOf(c.node.id);
  for (const auto& lsns : c.lsns) RaiseLsns(lsns);
  for (const auto& quarantine : c.quarantines) Quarantine(quarantine);
  for (const auto& grant : c.grants) GrantAlone(grant, c.node.session);
}

Status ClusterState::CheckIt(const RemoveNode& c) const {
  const NodeRecord* node = FindNode(c.node);
  if (node == nullptr) return NotFound("there is no node " + std::to_string(c.node));
  const auto holds = [&](const ShardRecord& shard) { return IsMember(shard, c.node); };
  const auto first = std::find_if(data_.shards.begin(), data_.shards.end(), holds);
  if (first == data_.shards.end()) return Status::Ok();
  return FailedPrecondition(
      StrCat(node->name, " holds ", std::count_if(data_.shards.begin(), data_.shards.end(), holds), " of ",
             data_.shards.size(), " shards, the first is ", first - data_.shards.begin(),
             ", and what they hold would be lost with it: start it again"));
}

void ClusterState::Do(const RemoveNode& c) {
  FreeLeasesOf(c.node);
  for (ShardRecord& shard : data_.shards) ForgetFormer(shard, c.node);
  data_.nodes.erase(c.node);
}

void ClusterState::FreeLeasesOf(NodeId node) {
  for (auto& [id, job] : data_.jobs) {
    for (auto& partition : job.partitions) {
      if (partition.state == PartitionState::kLeased && partition.node == node) FreePartition(partition);
    }
  }
}

// --- tables ---

Status ClusterState::CheckNewTable(const TableSpec& spec, TableId expected) const {
  PENSTOCK_RETURN_IF_ERROR(spec.Validate());
  if (spec.id != expected) return Internal("table '" + spec.name + "' has id " + std::to_string(spec.id));
  if (const TableSpec* existing = FindTable(spec.name)) {
    const std::string difference = DescribeDifference(*existing, spec);
    return AlreadyExists("table '" + spec.name + "' exists" +
                         (difference.empty() ? "" : " with another specification: its " + difference));
  }
  return Status::Ok();
}

void ClusterState::AddTable(const TableSpec& spec) {
  data_.tables[spec.id] = spec;
  data_.last_table = spec.id;
  ++data_.table_version;
}

Status ClusterState::CheckIt(const CreateTable& c) const {
  return CheckNewTable(c.spec, data_.last_table + 1);
}
void ClusterState::Do(const CreateTable& c) { AddTable(c.spec); }

Status ClusterState::CheckIt(const DropTable& c) const {
  auto it = data_.tables.find(c.table);
  if (it == data_.tables.end()) return NotFound("there is no table " + std::to_string(c.table));
  for (const auto& [id, job] : data_.jobs) {
    if (!IsOver(job.state) && std::count(job.tables.begin(), job.tables.end(), c.table) > 0) {
      return FailedPrecondition("table '" + it->second.name + "' is in use by job " + std::to_string(id) +
                                " '" + job.name + "': cancel the job first");
    }
  }
  return Status::Ok();
}

void ClusterState::Do(const DropTable& c) { EraseTable(c.table); }

void ClusterState::EraseTable(TableId id) {
  data_.tables.erase(id);
  data_.dropped_tables.push_back(id);
  ++data_.table_version;
}

// --- producers ---

Status ClusterState::CheckIt(const AllocateProducers& c) const {
  if (c.first != data_.next_producer)
    return Internal("producer " + std::to_string(c.first) + " is not the next one");
  if (c.count == 0 || c.first > std::numeric_limits<ProducerId>::max() - c.count)
    return Internal("a wrong count of producers");
  return Status::Ok();
}

void ClusterState::Do(const AllocateProducers& c) {
  data_.next_producer += c.count;
  if (data_.first_client_producer == 0) data_.first_client_producer = c.first;
}

void ClusterState::FinishProducer(ProducerId id) {
  RemoveProducer(&complete_, id);
  AddProducer(&data_.finished, id);
}

void ClusterState::PruneFinished() { DropProducersBelow(&data_.finished, ForgetFloor()); }

}  // namespace penstock
