#include "server/node/control_messages.h"

#include "common/cluster/wire.h"

namespace penstock {

void WriteShardReports(const std::vector<CoreLine>& lines, capnp::List<proto::ShardReport>::Builder out) {
  for (uint32_t i = 0; i < lines.size(); ++i) {
    const auto& [core, line] = lines[i];
    out[i].setShard(line.shard);
    out[i].setIncarnation(line.incarnation);
    out[i].setEpoch(line.epoch);
    out[i].setApplied(line.applied);
    out[i].setLogged(line.logged);
    out[i].setSynced(line.synced);
    out[i].setCore(core);
    out[i].setRows(line.rows);
    out[i].setBytes(line.bytes);
    out[i].setDamage(line.damage);
    out[i].setSeen(line.seen);
    out[i].setComplete(line.complete);
    out[i].setFenced(line.fenced);
    out[i].setServedRows(line.served_rows);
    out[i].setDelayMs(line.delay_ms);
    auto backups = out[i].initBackups(static_cast<uint32_t>(line.backups.size()));
    for (uint32_t b = 0; b < backups.size(); ++b) {
      backups[b].setNode(line.backups[b].node);
      backups[b].setIncarnation(line.backups[b].incarnation);
      backups[b].setCaughtUp(line.backups[b].caught_up);
      backups[b].setFailed(line.backups[b].failed);
      backups[b].setSeededBytes(line.backups[b].seeded_bytes);
      backups[b].setBehindBytes(line.backups[b].behind_bytes);
    }
  }
}

namespace {

Grant ReadGrant(proto::ShardGrant::Reader grant) {
  Grant read{.shard = grant.getShard(),
             .incarnation = grant.getIncarnation(),
             .epoch = grant.getEpoch(),
             .min_lsn = grant.getMinLsn(),
             .min_copies = grant.getMinCopies(),
             .rewind = grant.getRewind(),
             .backups = {},
             .fence = grant.getFence()};
  for (auto backup : grant.getBackups()) {
    read.backups.push_back({.node = backup.getNode(),
                            .name = backup.getName(),
                            .incarnation = backup.getIncarnation(),
                            .endpoint = backup.getEndpoint(),
                            .in_sync = backup.getInSync()});
  }
  return read;
}

Follow ReadFollow(proto::ShardFollow::Reader follow) {
  return {.shard = follow.getShard(), .incarnation = follow.getIncarnation(), .epoch = follow.getEpoch()};
}

}  // namespace

std::vector<WantedShards> ReadWantedShards(proto::Scheduler::HeartbeatResults::Reader results, size_t cores) {
  std::vector<WantedShards> wanted(cores);
  for (auto grant : results.getGrants()) wanted[grant.getShard() % cores].grants.push_back(ReadGrant(grant));
  for (auto follow : results.getFollows())
    wanted[follow.getShard() % cores].follows.push_back(ReadFollow(follow));
  for (auto life : results.getDiscards())
    wanted[life.getShard() % cores].discards.push_back(ReadFollow(life));
  for (WantedShards& of_core : wanted) {
    of_core.forget_floor = results.getForgetFloor();
    of_core.finished = ReadProducerRanges(results.getFinishedProducers());
    of_core.complete = ReadProducerRanges(results.getCompleteProducers());
  }
  return wanted;
}

Status ReadTables(capnp::List<proto::TableSpec>::Reader in, std::map<TableId, TableSpec>* tables) {
  for (auto table : in) {
    PENSTOCK_ASSIGN_OR_RETURN(TableSpec spec, ReadTableSpec(table));
    (*tables)[spec.id] = spec;
  }
  return Status::Ok();
}

}  // namespace penstock
