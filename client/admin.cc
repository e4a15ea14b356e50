// Admin: what it asks of the servers goes through the core's operations, the rest to the scheduler.
#include "client/admin.h"

#include <nlohmann/json.hpp>
#include <random>

#include "client/caller.h"

namespace penstock {
namespace {

// An order to the scheduler: sent once, and answered by its status alone.
template <typename Make>
Status Order(Caller& caller, const std::string& what, Make make) {
  return caller.AskOnce<bool>(what, make, [](auto&) -> Result<bool> { return true; }).status();
}

}  // namespace

Admin::Admin(Client& client) : caller_(*client.caller_) {}

Status Admin::Fold(uint64_t deadline_ms) {
  const uint64_t ms = caller_.Deadline(deadline_ms);
  return caller_
      .Await<bool>("fold", [ms](ClientCore& core, Completion<bool> done) { core.Fold(ms, std::move(done)); })
      .status();
}

Result<std::vector<TableStats>> Admin::Stats(const std::vector<TableId>& tables, uint64_t deadline_ms) {
  for (TableId table : tables) PENSTOCK_RETURN_IF_ERROR(caller_.Known(table).Prepend("stats"));
  const uint64_t ms = caller_.Deadline(deadline_ms);
  return caller_.Await<std::vector<TableStats>>(
      "stats", [ms, tables](ClientCore& core, Completion<std::vector<TableStats>> done) {
        core.Stats(tables, ms, std::move(done));
      });
}

Result<ExpiryReport> Admin::Expire(TableId table, bool dry_run, uint64_t deadline_ms) {
  PENSTOCK_RETURN_IF_ERROR(caller_.Known(table).Prepend("expire"));
  std::random_device random;
  const ExpiryRun run{.table = table, .dry_run = dry_run, .run = uint64_t{random()} << 32 | random()};
  const uint64_t ms = caller_.Deadline(deadline_ms);
  return caller_.Await<ExpiryReport>("expire", [ms, run](ClientCore& core, Completion<ExpiryReport> done) {
    core.Expire(run, ms, std::move(done));
  });
}

Result<std::vector<WorkerClock>> Admin::Clocks(TableId table, uint64_t deadline_ms) {
  PENSTOCK_RETURN_IF_ERROR(caller_.Known(table).Prepend("clocks"));
  const uint64_t ms = caller_.Deadline(deadline_ms);
  return caller_.Await<std::vector<WorkerClock>>(
      "clocks", [ms, table](ClientCore& core, Completion<std::vector<WorkerClock>> done) {
        core.Clocks(table, ms, std::move(done));
      });
}

Result<nlohmann::json> Admin::Inspect(const std::string& what, const std::string& name) {
  const std::string asked = "inspect " + what + (name.empty() ? "" : " '" + name + "'");
  const auto text = caller_.Ask<std::string>(
      asked,
      [what, name](proto::Scheduler::Client& scheduler) {
        auto request = scheduler.inspectRequest();
        request.setWhat(what);
        request.setName(name);
        return request;
      },
      [](auto& answer) -> Result<std::string> { return std::string(answer.getJson().cStr()); });
  if (!text.ok()) return text.status();
  auto json = nlohmann::json::parse(*text, nullptr, false);
  if (json.is_discarded()) return Internal(asked + ": the scheduler's answer is not JSON");
  return json;
}

Result<uint32_t> Admin::SubmitJob(const nlohmann::json& job) {
  const std::string spec = job.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
  return caller_.AskOnce<uint32_t>(
      "submit job",
      [spec](proto::Scheduler::Client& scheduler) {
        auto request = scheduler.submitJobRequest();
        request.setSpec(spec);
        return request;
      },
      [](auto& answer) -> Result<uint32_t> { return answer.getJob(); });
}

Status Admin::CancelJob(uint32_t job) {
  return Order(caller_, "cancel job " + std::to_string(job), [job](proto::Scheduler::Client& scheduler) {
    auto request = scheduler.cancelJobRequest();
    request.setJob(job);
    return request;
  });
}

Status Admin::PauseJob(uint32_t job) {
  return Order(caller_, "pause job " + std::to_string(job), [job](proto::Scheduler::Client& scheduler) {
    auto request = scheduler.pauseJobRequest();
    request.setJob(job);
    return request;
  });
}

Status Admin::ResumeJob(uint32_t job) {
  return Order(caller_, "resume job " + std::to_string(job), [job](proto::Scheduler::Client& scheduler) {
    auto request = scheduler.resumeJobRequest();
    request.setJob(job);
    return request;
  });
}

Status Admin::RemoveJob(uint32_t job, bool drop_tables) {
  return Order(caller_, "remove job " + std::to_string(job),
               [job, drop_tables](proto::Scheduler::Client& scheduler) {
                 auto request = scheduler.removeJobRequest();
                 request.setJob(job);
                 request.setDropTables(drop_tables);
                 return request;
               });
}

Status Admin::RemoveNode(NodeId node) {
  return Order(caller_, "remove node " + std::to_string(node), [node](proto::Scheduler::Client& scheduler) {
    auto request = scheduler.removeNodeRequest();
    request.setNode(node);
    return request;
  });
}

Status Admin::AcceptLoss(ShardId shard) {
  return Order(caller_, "accept the loss of shard " + std::to_string(shard),
               [shard](proto::Scheduler::Client& scheduler) {
                 auto request = scheduler.acceptLossRequest();
                 request.setShard(shard);
                 return request;
               });
}

Status Admin::SetCopies(uint32_t copies, uint32_t min_copies) {
  return Order(caller_, "keep " + std::to_string(copies) + " copies",
               [copies, min_copies](proto::Scheduler::Client& scheduler) {
                 auto request = scheduler.setCopiesRequest();
                 request.setCopies(copies);
                 request.setMinCopies(min_copies);
                 return request;
               });
}

Status Admin::ForceShard(ShardId shard, NodeId node) {
  return Order(caller_, "force shard " + std::to_string(shard),
               [shard, node](proto::Scheduler::Client& scheduler) {
                 auto request = scheduler.forceShardRequest();
                 request.setShard(shard);
                 request.setNode(node);
                 return request;
               });
}

Status Admin::MoveShard(ShardId shard, NodeId from, NodeId to) {
  return Order(caller_, "move shard " + std::to_string(shard),
               [shard, from, to](proto::Scheduler::Client& scheduler) {
                 auto request = scheduler.moveShardRequest();
                 request.setShard(shard);
                 request.setFrom(from);
                 request.setTo(to);
                 return request;
               });
}

Status Admin::DrainNode(NodeId node, bool drained) {
  return Order(caller_, "drain node " + std::to_string(node),
               [node, drained](proto::Scheduler::Client& scheduler) {
                 auto request = scheduler.drainNodeRequest();
                 request.setNode(node);
                 request.setDrained(drained);
                 return request;
               });
}

Status Admin::Rebalance(Balance word) {
  return Order(caller_, "rebalance", [word](proto::Scheduler::Client& scheduler) {
    auto request = scheduler.rebalanceRequest();
    request.setWord(static_cast<proto::Scheduler::Word>(word));
    return request;
  });
}

}  // namespace penstock
