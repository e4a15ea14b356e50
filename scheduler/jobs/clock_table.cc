#include "scheduler/jobs/clock_table.h"

#include <algorithm>

namespace penstock {

bool ClockTable::Job::Known() const {
  return std::all_of(holders.begin(), holders.end(), [](const auto& h) { return h.second.known; });
}

void ClockTable::Job::RaiseFloor() {
  if (holders.empty() || !Known()) return;
  uint64_t minimum = UINT64_MAX;
  for (const auto& [token, holder] : holders) minimum = std::min(minimum, holder.clock);
  floor = std::max(floor, minimum);
}

uint64_t ClockTable::Join(JobId id, LeaseToken token, NodeId node) {
  Job& job = jobs_[id];
  const uint64_t clock = std::max(job.kept[node], job.floor);
  job.kept[node] = clock;
  job.holders[token] = {.node = node, .clock = clock, .known = true};
  return clock;
}

void ClockTable::Adopt(JobId id, LeaseToken token, NodeId node) { jobs_[id].holders[token] = {.node = node}; }

void ClockTable::Advance(JobId id, LeaseToken token, uint64_t clock) {
  const auto job = jobs_.find(id);
  if (job == jobs_.end()) return;
  const auto holder = job->second.holders.find(token);
  if (holder == job->second.holders.end()) return;
  holder->second.known = true;
  holder->second.clock = std::max(holder->second.clock, clock);
  uint64_t& kept = job->second.kept[holder->second.node];
  kept = std::max(kept, holder->second.clock);
  job->second.RaiseFloor();
}

void ClockTable::Leave(JobId id, LeaseToken token) {
  const auto job = jobs_.find(id);
  if (job == jobs_.end()) return;
  job->second.holders.erase(token);
  job->second.RaiseFloor();
}

std::vector<JobId> ClockTable::Jobs() const {
  std::vector<JobId> ids;
  for (const auto& [id, job] : jobs_) ids.push_back(id);
  return ids;
}

bool ClockTable::Known(JobId id) const {
  const auto job = jobs_.find(id);
  return job == jobs_.end() || job->second.Known();
}

uint64_t ClockTable::Minimum(JobId id) const {
  const auto job = jobs_.find(id);
  return job == jobs_.end() || !job->second.Known() ? 0 : job->second.floor;
}

std::vector<ClockTable::Line> ClockTable::Lines(JobId id) const {
  std::map<NodeId, Line> lines;
  const auto job = jobs_.find(id);
  if (job == jobs_.end()) return {};
  for (const auto& [node, clock] : job->second.kept)
    lines[node] = {.node = node, .clock = clock, .holds = false, .known = true};
  for (const auto& [token, holder] : job->second.holders)
    lines[holder.node] = {.node = holder.node, .clock = holder.clock, .holds = true, .known = holder.known};
  std::vector<Line> all;
  for (const auto& [node, line] : lines) all.push_back(line);
  return all;
}

}  // namespace penstock
