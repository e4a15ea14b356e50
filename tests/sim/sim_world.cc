#include "tests/sim/sim_world.h"

#include <algorithm>
#include <cstdio>
#include <utility>

namespace penstock::sim {
namespace {

constexpr uint64_t kLeastDelayUs = 150;
constexpr size_t kTailLines = 60;

}  // namespace

// --- Processes.

Endpoint World::Add(std::string name) {
  processes_.push_back({.name = std::move(name)});
  return static_cast<Endpoint>(processes_.size() - 1);
}

void World::Start(Endpoint p) {
  processes_[p].up = true;
  ++processes_[p].life;
  processes_[p].paused_until_us = 0;
  // Who still waits for an earlier life hears now that it is over, at the latest.
  for (const auto& weak : channels_) {
    const ChannelPtr channel = weak.lock();
    if (channel != nullptr && channel->to == p && !channel->broken) TellCaller(channel);
  }
}

// Behind what is still on its way back.
void World::TellCaller(const ChannelPtr& channel) {
  const uint64_t at = std::max(channel->last_back_us, now_us_ + Between(kLeastDelayUs, options_.delay_us));
  Put(at - now_us_ + 1, channel->from, channel->from_life, Step::kNone, [this, channel] {
    if (!IsCut(channel->to, channel->from)) Break(channel);
  });
}

void World::End(Endpoint p, bool silent) {
  InterruptAll(p);
  processes_[p].up = false;
  ++processes_[p].life;
  processes_[p].paused_until_us = 0;
  std::erase_if(channels_, [](const auto& channel) { return channel.expired(); });
  for (const auto& weak : channels_) {
    const ChannelPtr channel = weak.lock();
    // What it had sent still arrives, unless it was in a queue of its own.
    if (channel->from == p && OneIn(2)) channel->broken = true;
    if (channel->to != p || channel->broken || silent) continue;
    TellCaller(channel);
  }
}

void World::Pause(Endpoint p, uint64_t ms) {
  InterruptAll(p);
  processes_[p].paused_until_us = std::max(processes_[p].paused_until_us, now_us_ + ms * 1000);
}

void World::InterruptAll(Endpoint p) {
  for (const Event& event : heap_) {
    if (event.process == p && event.life == processes_[p].life && event.step != Step::kNone)
      steps_.Interrupt(event.step);
  }
}

void World::Reach(Step step, Endpoint p) {
  if (step == Step::kNone) return;
  steps_.Reach(step);
  if (hook_) hook_(step, p);
}

void World::Put(uint64_t delay_us, Endpoint p, uint64_t life, Step step, Task task) {
  heap_.push_back({now_us_ + delay_us, ++last_event_, p, life, step, std::move(task)});
  std::push_heap(heap_.begin(), heap_.end());
}

void World::After(Endpoint p, uint64_t delay_us, Step step, Task task) {
  Reach(step, p);
  Put(delay_us, p, processes_[p].life, step, std::move(task));
}

bool World::RunNext() {
  while (!heap_.empty()) {
    std::pop_heap(heap_.begin(), heap_.end());
    Event event = std::move(heap_.back());
    heap_.pop_back();
    now_us_ = std::max(now_us_, event.at_us);
    if (event.process != kNobody) {
      const Process& process = processes_[event.process];
      if (process.life != event.life) continue;
      if (process.paused_until_us > now_us_) {
        // In its old place among the others.
        event.at_us = process.paused_until_us;
        heap_.push_back(std::move(event));
        std::push_heap(heap_.begin(), heap_.end());
        continue;
      }
    }
    ++events_;
    event.task();
    return true;
  }
  return false;
}

// --- Network.

ChannelPtr World::Connect(Endpoint from, Endpoint to) {
  auto channel = std::make_shared<Channel>(
      Channel{.from = from, .to = to, .from_life = life(from), .to_life = life(to)});
  channels_.push_back(channel);
  return channel;
}

void World::Break(const ChannelPtr& channel) {
  channel->broken = true;
  const auto waiting = std::exchange(channel->waiting, {});
  for (const auto& [id, fail] : waiting) fail();
}

void World::Carry(const ChannelPtr& channel, bool there, Step step, Task task) {
  const Endpoint from = there ? channel->from : channel->to, to = there ? channel->to : channel->from;
  Reach(step, from);
  if (channel->broken) return Lose(channel, step, there);
  if (IsCut(from, to)) return Lose(channel, step, false);
  if (OneIn(options_.loss)) return Lose(channel, step, true);
  uint64_t& last = there ? channel->last_there_us : channel->last_back_us;
  last = std::max(last + 1, now_us_ + Between(kLeastDelayUs, options_.delay_us));
  Put(last - now_us_, to, there ? channel->to_life : channel->from_life, step,
      [this, channel, there, step, task = std::move(task)] { Deliver(channel, there, step, task); });
}

void World::Deliver(const ChannelPtr& channel, bool there, Step step, const Task& task) {
  const Endpoint from = there ? channel->from : channel->to, to = there ? channel->to : channel->from;
  if (channel->broken) return Lose(channel, step, false);
  if (IsCut(from, to)) return Lose(channel, step, false);
  task();
}

// `heard`: the caller learns that the connection is gone; else by its deadline.
void World::Lose(const ChannelPtr& channel, Step step, bool heard) {
  if (step != Step::kNone) steps_.Interrupt(step);
  if (heard) {
    Put(Between(kLeastDelayUs, options_.delay_us), channel->from, channel->from_life, Step::kNone,
        [this, channel] { Break(channel); });
  }
  channel->broken = true;
}

// --- What happened.

void World::Write(std::string line) {
  for (const char c : line) trace_hash_ = (trace_hash_ ^ static_cast<uint8_t>(c)) * 0x100000001b3u;
  if (options_.print_trace) std::printf("%s\n", line.c_str());
  tail_.push_back(std::move(line));
  if (tail_.size() > kTailLines) tail_.pop_front();
}

void World::Fail(const std::string& invariant, const std::string& what) {
  if (!failed_.empty()) return;
  failed_ = invariant;
  failure_ = what;
  Write(StrCat(now_us_ / 1000, ": INVARIANT ", invariant, ": ", what));
}

}  // namespace penstock::sim
