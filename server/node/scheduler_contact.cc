#include "server/node/scheduler_contact.h"

#include <glog/logging.h>

#include <chrono>
#include <future>
#include <memory>
#include <nlohmann/json.hpp>
#include <thread>

namespace penstock {
namespace {

constexpr auto kAskAgainEvery = std::chrono::milliseconds(200);
constexpr auto kReportWait = std::chrono::seconds(5);  // for a scheduler that starts at the same time
constexpr uint64_t kAnswerMs = 2000;
constexpr size_t kMostReasonBytes = 4096;

Result<std::map<ShardId, ReportedShard>> ReadReports(const std::string& text, NodeId node) {
  try {
    std::map<ShardId, ReportedShard> reports;
    for (const auto& shard : nlohmann::json::parse(text)) {
      if (shard.at("node").get<NodeId>() != node) continue;
      reports[shard.at("shard")] = {.incarnation = shard.at("incarnation"), .synced = shard.at("synced")};
    }
    return reports;
  } catch (const nlohmann::json::exception& e) {
    return Internal(std::string("the scheduler's list of shards: ") + e.what());
  }
}

}  // namespace

template <typename T>
Result<T> SchedulerContact::Await(std::function<kj::Promise<Result<T>>()> begin) {
  auto answered = std::make_shared<std::promise<Result<T>>>();
  auto future = answered->get_future();
  loop_.Post([this, answered, begin = std::move(begin)] {
    loop_.Detach(begin().then([answered](Result<T>&& result) { answered->set_value(std::move(result)); },
                              [answered](kj::Exception&& e) {
                                answered->set_value(Internal(e.getDescription().cStr()));
                              }),
                 "ask the scheduler");
  });
  return future.get();
}

Status SchedulerContact::Connect(const std::function<bool()>& interrupted) {
  std::string said;
  while (true) {
    if (interrupted()) return Cancelled("interrupted while waiting for the scheduler");
    const Status status = Await<bool>([this] {
                            return link_.Get().then([](Result<proto::Scheduler::Client>&& s) -> Result<bool> {
                              if (!s.ok()) return s.status();
                              return true;
                            });
                          }).status();
    if (status.ok() || status.code() == Code::kPermissionDenied) return status;
    if (status.message() != said)
      LOG(WARNING) << name_ << ": waiting for the scheduler: " << (said = status.message());
    std::this_thread::sleep_for(kAskAgainEvery);
  }
}

std::map<ShardId, ReportedShard> SchedulerContact::ReportedSynced(NodeId node) {
  const auto until = std::chrono::steady_clock::now() + kReportWait;
  while (true) {
    const Result<std::string> shards = Await<std::string>([this] {
      return link_
          .Call("what shards have reported", kAnswerMs,
                [](proto::Scheduler::Client& scheduler) {
                  auto request = scheduler.inspectRequest();
                  request.setWhat("shards");
                  return request;
                })
          .then([](auto&& answer) -> Result<std::string> {
            if (!answer.ok()) return answer.status();
            return std::string(answer->getJson().cStr());
          });
    });
    Status status = shards.status();
    if (status.ok()) {
      auto reports = ReadReports(*shards, node);
      if (reports.ok()) return std::move(*reports);
      status = reports.status();
    }
    if (std::chrono::steady_clock::now() >= until) {
      LOG(WARNING) << name_ << ": the log has a bad place, and nobody says whether it had been synced: "
                   << status.message();
      return {};
    }
    std::this_thread::sleep_for(kAskAgainEvery);
  }
}

void SchedulerContact::TellCannotStart(const Status& why) {
  const Status told = Await<bool>([this, why] {
                        return link_
                            .Call("say why it cannot start", kAnswerMs,
                                  [this, why](proto::Scheduler::Client& scheduler) {
                                    auto request = scheduler.cannotStartRequest();
                                    request.setName(name_);
                                    request.setReason(why.message().substr(0, kMostReasonBytes));
                                    return request;
                                  })
                            .then([](auto&& answer) -> Result<bool> {
                              if (!answer.ok()) return answer.status();
                              return true;
                            });
                      }).status();
  if (!told.ok()) LOG(WARNING) << name_ << ": the scheduler does not know why: " << told.message();
}

void SchedulerContact::ReportLast(NodeSession& session) {
  (void)Await<bool>([&session] { return session.ReportLast().then([]() -> Result<bool> { return true; }); });
}

}  // namespace penstock
