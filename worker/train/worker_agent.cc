#include "worker/train/worker_agent.h"

#include <glog/logging.h>

#include <algorithm>
#include <chrono>

#include "client/loop_call.h"
#include "common/base/strings.h"

namespace penstock {
namespace {

constexpr uint64_t kLeaseCallMs = 10 * 1000;
constexpr uint64_t kSaidAfterMs = 2000;  // shorter waits are nobody's concern

std::string Waits(LeaseTask& task) {
  const LeaseProgress progress = task.progress();
  if (progress.waits.empty() || LeaseTask::NowMs() < progress.waits_ms + kSaidAfterMs) return "";
  return StrCat(task.info().Describe(), " waits at minibatch ", progress.recorded, ": ", progress.waits);
}

void Write(const LeaseInfo& lease, const LeaseProgress& from, proto::Progress::Builder to) {
  to.setJob(lease.job);
  to.setToken(lease.token);
  to.setRecorded(from.recorded);
  to.setAnswered(from.answered);
  to.setPushed(from.pushed);
  to.setExamples(from.examples);
  to.setLossSum(from.loss_sum);
  to.setBadRecords(from.bad_records);
  to.setClock(from.clock);
  to.setDone(from.done);
  to.setResult(from.result);
  WriteStatus(from.error, to.initError());
}

}  // namespace

WorkerAgent::WorkerAgent(Client& client, const WorkerAgentOptions& options,
                         std::function<Status(NodeId)> on_registered)
    : client_(client), options_(options), on_registered_(std::move(on_registered)) {
  client_.loop().Run([this] {
    session_ = std::make_unique<NodeSession>(client_.loop(), client_.scheduler(), *this, options_.name,
                                             options_.heartbeat_ms);
    running_ = session_->Run().exclusiveJoin(ReportLoop()).eagerlyEvaluate([](kj::Exception&& e) {
      LOG(ERROR) << "worker session: " << e.getDescription().cStr();
    });
  });
}

WorkerAgent::~WorkerAgent() noexcept {
  Stop();
  client_.loop().Run([this] {
    running_.reset();
    session_.reset();
  });
}

void WorkerAgent::Stop() {
  {
    std::lock_guard lock(mutex_);
    stopping_ = true;
    for (const auto& task : tasks_) task->Drop("the worker ends");
  }
  wake_.notify_all();
}

Status WorkerAgent::Ready() const {
  std::lock_guard lock(mutex_);
  if (!refused_.ok()) return refused_;
  return registered_ ? Status::Ok()
                     : Unavailable(options_.name + " is not registered with the scheduler yet");
}

Result<std::shared_ptr<LeaseTask>> WorkerAgent::NextLease(bool wait) {
  for (;;) {
    {
      std::lock_guard lock(mutex_);
      if (stopping_) return std::shared_ptr<LeaseTask>();
      if (!refused_.ok()) return refused_;
    }
    auto lease =
        CallOnLoop<std::shared_ptr<LeaseTask>>(client_.loop(), "lease", [this] { return AskForLease(); });
    if (lease.ok() && *lease != nullptr) {
      std::lock_guard lock(mutex_);
      if (stopping_) return std::shared_ptr<LeaseTask>();
      tasks_.push_back(*lease);
      (*lease)->OnRewindNumber(rewind_);  // heard while the answer was on its way
      return lease;
    }
    if (!lease.ok() && lease.status().code() == Code::kInvalidArgument)
      LOG(ERROR) << options_.name << ": " << lease.status().ToString();
    if (!wait) return std::shared_ptr<LeaseTask>();
    std::unique_lock lock(mutex_);
    wake_.wait_for(lock, std::chrono::milliseconds(options_.poll_ms), [this] { return stopping_; });
  }
}

kj::Promise<Result<std::shared_ptr<LeaseTask>>> WorkerAgent::AskForLease() {
  if (session_->session() == 0) return Result<std::shared_ptr<LeaseTask>>(Unavailable("not registered yet"));
  const uint64_t asked_ms = LeaseTask::NowMs();
  return client_.scheduler()
      .Call("lease", kLeaseCallMs,
            [this, node = session_->node(),
             session = session_->session()](proto::Scheduler::Client& scheduler) {
              auto request = scheduler.leaseRequest();
              auto known = request.initKnownJobs(static_cast<uint32_t>(specs_.size()));
              uint32_t i = 0;
              for (const auto& [job, spec] : specs_) known.set(i++, job);
              request.setNode(node);
              request.setSession(session);
              request.setCount(1);
              return request;
            })
      .then([this, asked_ms, node = session_->node(),
             session = session_->session()](auto&& response) -> Result<std::shared_ptr<LeaseTask>> {
        if (!response.ok()) return response.status();
        auto leases = (*response).getLeases();
        if (leases.size() == 0) return Unavailable("no partition is free", (*response).getRetryAfterMs());
        auto info = ReadLease(leases[0], &specs_);
        if (!info.ok()) return info.status();
        info->node = node;
        info->session = session;
        LOG(INFO) << "leased " << info->Describe() << " from minibatch " << info->begin << " as producer "
                  << info->producer;
        return std::make_shared<LeaseTask>(std::move(*info), options_.lease_ms, asked_ms);
      });
}

// Lost, it goes with the next report.
void WorkerAgent::ReportPushed(const std::shared_ptr<LeaseTask>& task) {
  (void)CallOnLoop<bool>(client_.loop(), "report", [this, task] { return Report({task}); });
}

void WorkerAgent::FinishLease(const std::shared_ptr<LeaseTask>& task) {
  while (!task->dropped()) {
    auto taken = CallOnLoop<bool>(client_.loop(), "report", [this, task] { return Report({task}); });
    if (taken.ok()) break;
    LOG(WARNING) << task->info().Describe() << ": " << taken.status().ToString();
    // The scheduler will never take what it calls wrong: the job is told why instead.
    if (taken.status().code() == Code::kInvalidArgument && task->progress().error.ok()) {
      task->Update([&](LeaseProgress& p) {
        p.done = false;
        p.result.clear();
        p.error = taken.status();
      });
      continue;
    }
    std::unique_lock lock(mutex_);
    if (wake_.wait_for(lock, std::chrono::milliseconds(200), [this] { return stopping_; })) break;
  }
  std::lock_guard lock(mutex_);
  std::erase(tasks_, task);
}

kj::Promise<Result<bool>> WorkerAgent::Report(Tasks tasks) {
  std::vector<LeaseProgress> lines;
  for (const auto& task : tasks) lines.push_back(task->progress());
  const uint64_t sent_ms = LeaseTask::NowMs();
  return client_.scheduler()
      .Call("report", kLeaseCallMs,
            [tasks, lines = std::move(lines), node = session_->node(),
             session = session_->session()](proto::Scheduler::Client& scheduler) {
              auto request = scheduler.reportRequest();
              request.setNode(node);
              request.setSession(session);
              auto progress = request.initProgress(static_cast<uint32_t>(lines.size()));
              for (uint32_t i = 0; i < lines.size(); ++i) Write(tasks[i]->info(), lines[i], progress[i]);
              return request;
            })
      .then([tasks, sent_ms](auto&& response) -> Result<bool> {
        if (!response.ok()) return response.status();
        auto results = (*response).getResults();
        if (results.size() != tasks.size())
          return Internal(
              StrCat("the scheduler answered ", results.size(), " results for ", tasks.size(), " leases"));
        for (uint32_t i = 0; i < results.size(); ++i) {
          const Status status = ReadStatus(results[i]);
          if (status.ok()) {
            tasks[i]->Renew(sent_ms);
          } else {
            tasks[i]->Drop(status.message());
          }
        }
        return true;
      });
}

// Often enough that one report may be lost.
kj::Promise<void> WorkerAgent::ReportLoop() {
  return client_.loop()
      .Sleep(std::min(options_.heartbeat_ms, options_.lease_ms / 4))
      .then([this]() -> kj::Promise<void> {
        Tasks tasks;
        {
          std::lock_guard lock(mutex_);
          tasks = tasks_;
        }
        // The end of a lease is reported by FinishLease alone, so that it is reported once.
        std::erase_if(tasks, [](const auto& task) {
          const LeaseProgress progress = task->progress();
          return task->dropped() || progress.done || !progress.error.ok();
        });
        if (tasks.empty() || session_->session() == 0) return kj::READY_NOW;
        return Report(std::move(tasks)).then([](Result<bool>&&) {});
      })
      .then([this] { return ReportLoop(); });
}

kj::Promise<void> WorkerAgent::FillRegister(proto::Scheduler::RegisterParams::Builder params) {
  params.setRole(proto::Role::WORKER);
  params.setNode(session_->node() != 0 ? session_->node() : options_.node);
  params.setName(options_.name);
  params.setHttpEndpoint(options_.http_endpoint);
  params.setHighestTerm(session_->term());
  return kj::READY_NOW;
}

kj::Promise<void> WorkerAgent::FillHeartbeat(proto::Scheduler::HeartbeatParams::Builder params) {
  std::lock_guard lock(mutex_);
  params.setBusy(!tasks_.empty());
  std::string trouble = tasks_.empty() ? "" : client_.Waits(kSaidAfterMs);
  for (const auto& task : tasks_) {
    std::string waits = Waits(*task);
    if (!waits.empty()) trouble = std::move(waits);
  }
  params.setTrouble(trouble);
  params.setTableVersion(~uint64_t{0});  // workers open tables by name
  params.setHold(true);                  // to hear of a rewind at once
  return kj::READY_NOW;
}

Status WorkerAgent::OnRegistered(proto::Scheduler::RegisterResults::Reader results) {
  PENSTOCK_RETURN_IF_ERROR(on_registered_(results.getNode()));
  specs_.clear();  // perhaps of another cluster
  std::lock_guard lock(mutex_);
  registered_ = true;
  for (const auto& task : tasks_) task->Drop("it was given to a session of this worker that has ended");
  return Status::Ok();
}

Status WorkerAgent::OnHeartbeat(proto::Scheduler::HeartbeatResults::Reader results) {
  if (results.getExit()) Stop();
  std::lock_guard lock(mutex_);
  rewind_ = std::max(rewind_, results.getRewind());
  for (const auto& task : tasks_) task->OnRewindNumber(rewind_);
  return Status::Ok();
}

void WorkerAgent::OnRefused(Status status) {
  std::lock_guard lock(mutex_);
  refused_ = std::move(status);
  for (const auto& task : tasks_) task->Drop(refused_.message());
}

}  // namespace penstock
