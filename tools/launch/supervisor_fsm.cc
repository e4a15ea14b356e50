#include "tools/launch/supervisor_fsm.h"

#include <algorithm>

namespace penstock {

SupervisorFsm::SupervisorFsm(std::vector<int> stop_orders, const SupervisorPolicy& policy)
    : policy_(policy), children_(stop_orders.size()) {
  for (size_t i = 0; i < stop_orders.size(); ++i) children_[i].stop_order = stop_orders[i];
}

SupervisorFsm::Actions SupervisorFsm::Start(uint64_t now_ms) {
  Actions actions;
  for (size_t i = 0; i < children_.size(); ++i) StartChild(i, now_ms, &actions);
  return actions;
}

void SupervisorFsm::StartChild(size_t child, uint64_t now_ms, Actions* actions) {
  Child& c = children_[child];
  c.running = true;
  c.since_ms = now_ms;
  c.start_at_ms.reset();
  actions->push_back({Act::kStart, child});
}

SupervisorFsm::Actions SupervisorFsm::OnExit(size_t child, uint64_t now_ms, bool refused_options) {
  Actions actions;
  Child& c = children_[child];
  if (!c.running) return actions;
  c.running = false;
  if (stopping_) {
    StopNextGroup(now_ms, &actions);
    return actions;
  }
  c.failures = now_ms - c.since_ms >= policy_.steady_ms ? 1 : c.failures + 1;
  c.delay_ms = refused_options ? policy_.max_delay_ms : policy_.first_delay_ms;
  for (uint32_t i = 1; i < c.failures && c.delay_ms < policy_.max_delay_ms; ++i) c.delay_ms *= 2;
  c.delay_ms = std::min(c.delay_ms, policy_.max_delay_ms);
  c.start_at_ms = now_ms + c.delay_ms;
  return actions;
}

SupervisorFsm::Actions SupervisorFsm::OnStop(uint64_t now_ms) {
  Actions actions;
  if (stopping_) {
    KillRunning(&actions);
    return actions;
  }
  stopping_ = true;
  for (Child& c : children_) c.start_at_ms.reset();
  StopNextGroup(now_ms, &actions);
  return actions;
}

// Asks the lowest group that still runs to end, unless it has been asked already.
void SupervisorFsm::StopNextGroup(uint64_t now_ms, Actions* actions) {
  std::optional<int> lowest;
  for (const Child& c : children_) {
    if (c.running && (!lowest || c.stop_order < *lowest)) lowest = c.stop_order;
  }
  if (!lowest) {
    kill_at_ms_.reset();
    return;
  }
  if (group_ == lowest) return;
  group_ = lowest;
  kill_at_ms_ = now_ms + policy_.stop_deadline_ms;
  for (size_t i = 0; i < children_.size(); ++i) {
    if (children_[i].running && children_[i].stop_order == *lowest) actions->push_back({Act::kTerminate, i});
  }
}

void SupervisorFsm::KillRunning(Actions* actions) const {
  for (size_t i = 0; i < children_.size(); ++i) {
    if (children_[i].running) actions->push_back({Act::kKill, i});
  }
}

SupervisorFsm::Actions SupervisorFsm::OnTick(uint64_t now_ms) {
  Actions actions;
  if (kill_at_ms_ && now_ms >= *kill_at_ms_) {
    kill_at_ms_.reset();
    for (size_t i = 0; i < children_.size(); ++i) {
      if (children_[i].running && children_[i].stop_order == *group_) actions.push_back({Act::kKill, i});
    }
  }
  for (size_t i = 0; i < children_.size(); ++i) {
    if (children_[i].start_at_ms && now_ms >= *children_[i].start_at_ms) StartChild(i, now_ms, &actions);
  }
  return actions;
}

std::optional<uint64_t> SupervisorFsm::NextWake() const {
  std::optional<uint64_t> next = kill_at_ms_;
  for (const Child& c : children_) {
    if (c.start_at_ms && (!next || *c.start_at_ms < *next)) next = c.start_at_ms;
  }
  return next;
}

bool SupervisorFsm::finished() const {
  return stopping_ &&
         std::none_of(children_.begin(), children_.end(), [](const Child& c) { return c.running; });
}

}  // namespace penstock
