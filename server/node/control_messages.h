// What a server and its scheduler say to each other about shards and tables, between values and messages.
#pragma once

#include <cstdint>
#include <map>
#include <utility>
#include <vector>

#include "common/base/status.h"
#include "common/cluster/table_spec.h"
#include "proto/control.capnp.h"
#include "server/node/core.h"

namespace penstock {

// A core's number and one of its lines.
using CoreLine = std::pair<uint32_t, ShardLine>;

void WriteShardReports(const std::vector<CoreLine>& lines, capnp::List<proto::ShardReport>::Builder out);
// By core.
std::vector<WantedShards> ReadWantedShards(proto::Scheduler::HeartbeatResults::Reader results, size_t cores);
// Adds to `tables`, by id.
Status ReadTables(capnp::List<proto::TableSpec>::Reader in, std::map<TableId, TableSpec>* tables);

}  // namespace penstock
