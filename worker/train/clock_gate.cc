#include "worker/train/clock_gate.h"

#include <glog/logging.h>

#include <algorithm>
#include <chrono>
#include <condition_variable>
#include <mutex>

#include "common/cluster/scheduler_link.h"
#include "common/net/kj_loop.h"

namespace penstock {
namespace {

constexpr uint64_t kClockCallMs = 10 * 1000;
constexpr uint64_t kAgainMs = 200;  // after a call that failed

}  // namespace

struct ClockGate::Shared : std::enable_shared_from_this<ClockGate::Shared> {
  Shared(Client& client, const LeaseInfo& lease, uint64_t reached)
      : client(client), lease(lease), reached(reached) {}

  // On the loop: tells and asks, if there is something to tell or to ask.
  void Pump() {
    uint64_t clock = 0, wanted = 0;
    {
      std::lock_guard lock(mutex);
      if (closed || in_flight || (told && reached <= sent && want <= minimum)) return;
      clock = reached;
      wanted = want;
      in_flight = true;
    }
    auto call =
        client.scheduler().Call("clock", kClockCallMs, [this, clock, wanted](proto::Scheduler::Client& to) {
          auto request = to.clockRequest();
          request.setNode(lease.node);
          request.setSession(lease.session);
          request.setJob(lease.job);
          request.setToken(lease.token);
          request.setClock(clock);
          request.setWant(wanted);
          return request;
        });
    client.loop().Detach(call.then([self = shared_from_this(), clock](auto&& answer) -> kj::Promise<void> {
      self->Answered(clock, answer.status(), answer.ok() ? (*answer).getMinimum() : 0);
      const uint64_t pause = answer.ok() ? 0 : kAgainMs;
      if (pause == 0) {
        self->Pump();
        return kj::READY_NOW;
      }
      return self->client.loop().Sleep(pause).then([self] { self->Pump(); });
    }),
                         "clock");
  }

  void Answered(uint64_t clock, const Status& status, uint64_t now_minimum) {
    std::lock_guard lock(mutex);
    in_flight = false;
    if (!status.ok()) {
      LOG_IF(WARNING, !closed && !said) << lease.Describe() << ": at its clock " << reached
                                        << " it goes on to its bound and waits there: " << status.ToString();
      said = true;
      return;
    }
    said = false;
    told = true;
    sent = std::max(sent, clock);
    minimum = std::max(minimum, now_minimum);
    changed.notify_all();
  }

  Client& client;
  const LeaseInfo lease;
  std::mutex mutex;
  std::condition_variable changed;
  // Guarded by mutex.
  uint64_t reached;
  uint64_t sent = 0;
  uint64_t minimum = 0;
  uint64_t want = 0;
  bool told = false;  // once at least: the scheduler may have been restarted
  bool in_flight = false;
  bool said = false;
  bool closed = false;
};

ClockGate::ClockGate(Client& client, LeaseTask& task, uint32_t staleness, uint64_t reached)
    : client_(client),
      task_(task),
      staleness_(staleness),
      reached_(reached),
      shared_(std::make_shared<Shared>(client, task.info(), reached)) {
  task_.Update([&](LeaseProgress& p) { p.clock = reached; });
  client_.loop().Post([shared = shared_] { shared->Pump(); });
}

ClockGate::~ClockGate() {
  std::lock_guard lock(shared_->mutex);
  shared_->closed = true;
}

void ClockGate::Reach(uint64_t clock) {
  if (clock <= reached_) return;
  reached_ = clock;
  task_.Update([&](LeaseProgress& p) { p.clock = clock; });
  {
    std::lock_guard lock(shared_->mutex);
    shared_->reached = clock;
  }
  client_.loop().Post([shared = shared_] { shared->Pump(); });
}

bool ClockGate::Open(uint64_t clock) const {
  std::lock_guard lock(shared_->mutex);
  return clock <= shared_->minimum + staleness_;
}

Status ClockGate::Wait(uint64_t clock) {
  if (Open(clock)) return Status::Ok();
  std::unique_lock lock(shared_->mutex);
  shared_->want = clock - staleness_;
  client_.loop().Post([shared = shared_] { shared->Pump(); });
  while (clock > shared_->minimum + staleness_) {
    if (task_.dropped()) return Cancelled("the lease was taken away");
    shared_->changed.wait_for(lock, std::chrono::milliseconds(100));
  }
  return Status::Ok();
}

}  // namespace penstock
