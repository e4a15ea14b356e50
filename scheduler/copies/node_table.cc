#include "scheduler/copies/node_table.h"

#include <algorithm>
#include <utility>

namespace penstock {
namespace {

std::map<ShardId, ShardLine> ByShard(std::vector<ShardLine> lines) {
  std::map<ShardId, ShardLine> by_shard;
  for (auto& line : lines) by_shard[line.shard] = std::move(line);
  return by_shard;
}

bool SameButForProgress(const std::vector<BackupLine>& a, const std::vector<BackupLine>& b) {
  return std::ranges::equal(a, b, [](const BackupLine& x, const BackupLine& y) {
    return x.node == y.node && x.incarnation == y.incarnation && x.caught_up == y.caught_up &&
           x.failed == y.failed;
  });
}

bool SameButForProgress(const std::map<ShardId, ShardLine>& a, const std::map<ShardId, ShardLine>& b) {
  if (a.size() != b.size()) return false;
  for (auto i = a.begin(), j = b.begin(); i != a.end(); ++i, ++j) {
    if (i->first != j->first || i->second.epoch != j->second.epoch || i->second.core != j->second.core ||
        i->second.incarnation != j->second.incarnation || i->second.damage != j->second.damage ||
        i->second.complete != j->second.complete ||
        !SameButForProgress(i->second.backups, j->second.backups) || i->second.fenced != j->second.fenced) {
      return false;
    }
  }
  return true;
}

}  // namespace

std::string_view ToString(Liveness liveness) {
  constexpr std::string_view kNames[] = {"alive", "suspect", "dead"};
  return kNames[static_cast<size_t>(liveness)];
}

void NodeTable::OnRegister(NodeId node, const std::vector<ShardLine>& lines, int64_t now_ms) {
  const uint64_t sign = ++signs_;
  entries_[node] = {.seen_ms = now_ms,
                    .beating = false,
                    .busy = false,
                    .registered = sign,
                    .seen = sign,
                    .answered = sign,
                    .ended = 0,
                    .words = {},
                    .lines = ByShard(lines)};
  std::deque<int64_t>& registers = registers_[node];
  std::erase_if(registers, [&](int64_t at_ms) { return at_ms <= now_ms - kRegistersWindowMs; });
  constexpr size_t kMost = 64;
  if (registers.size() == kMost) registers.pop_front();
  registers.push_back(now_ms);
}

uint32_t NodeTable::Registers(NodeId node, int64_t now_ms) const {
  const auto it = registers_.find(node);
  if (it == registers_.end()) return 0;
  return static_cast<uint32_t>(
      std::ranges::count_if(it->second, [&](int64_t at_ms) { return at_ms > now_ms - kRegistersWindowMs; }));
}

bool NodeTable::OnHeartbeat(NodeId node, bool busy, std::vector<ShardLine> lines, int64_t now_ms) {
  const bool was_dead = StateOf(node, now_ms) == Liveness::kDead;
  Entry& entry = entries_[node];
  loads_.OnHeartbeat(node, lines, now_ms);
  auto by_shard = ByShard(std::move(lines));
  const bool changed = was_dead || !entry.beating || !SameButForProgress(entry.lines, by_shard);
  entry.seen_ms = now_ms;
  entry.seen = ++signs_;
  entry.known = std::exchange(entry.answered, signs_);
  entry.ended = 0;
  entry.beating = true;
  entry.busy = busy;
  entry.lines = std::move(by_shard);
  return changed;
}

void NodeTable::OnSign(NodeId node, int64_t now_ms) {
  auto it = entries_.find(node);
  if (it == entries_.end()) return;
  it->second.seen_ms = now_ms;
  it->second.seen = ++signs_;
  it->second.ended = 0;
}

void NodeTable::OnEnded(NodeId node) {
  auto it = entries_.find(node);
  if (it != entries_.end()) it->second.ended = ++signs_;
}

void NodeTable::Forgive(int64_t ms) {
  started_ms_ += ms;
  for (auto& [id, entry] : entries_) entry.seen_ms += ms;
}

int64_t NodeTable::SilentMs(NodeId node, int64_t now_ms) const {
  auto it = entries_.find(node);
  return now_ms - (it == entries_.end() ? started_ms_ : it->second.seen_ms);
}

Liveness NodeTable::StateOf(NodeId node, int64_t now_ms) const {
  auto it = entries_.find(node);
  const int64_t silent = SilentMs(node, now_ms);
  if (silent >= options_.dead_ms || (it != entries_.end() && it->second.ended != 0)) return Liveness::kDead;
  return silent >= options_.suspect_ms ? Liveness::kSuspect : Liveness::kAlive;
}

bool NodeTable::Heard(NodeId node) const { return entries_.contains(node); }

bool NodeTable::Beating(NodeId node) const {
  auto it = entries_.find(node);
  return it != entries_.end() && it->second.beating;
}

bool NodeTable::Busy(NodeId node) const {
  auto it = entries_.find(node);
  return it != entries_.end() && it->second.busy;
}

bool NodeTable::HeardSinceRegister(NodeId node, NodeId other) const {
  auto it = entries_.find(node), since = entries_.find(other);
  return it != entries_.end() && (since == entries_.end() || it->second.seen > since->second.registered);
}

bool NodeTable::KnownSinceRegister(NodeId node, NodeId other) const {
  auto it = entries_.find(node), since = entries_.find(other);
  return it != entries_.end() && (since == entries_.end() || it->second.known >= since->second.registered);
}

bool NodeTable::HeardSinceDeath(NodeId node, NodeId dead) const {
  auto it = entries_.find(node), silent = entries_.find(dead);
  if (it == entries_.end()) return false;
  const bool ended = silent != entries_.end() && silent->second.ended != 0;
  if (ended && it->second.seen > silent->second.ended) return true;
  const int64_t since = silent == entries_.end() ? started_ms_ : silent->second.seen_ms;
  return it->second.seen_ms >= since + options_.dead_ms;
}

void NodeTable::OnCannotStart(const std::string& name, std::string reason) {
  constexpr size_t kMost = 256;  // names that nobody has registered with, too
  if (cannot_start_.size() < kMost || cannot_start_.contains(name)) cannot_start_[name] = std::move(reason);
}

void NodeTable::Remove(NodeId node, const std::string& name) {
  entries_.erase(node);
  registers_.erase(node);
  cannot_start_.erase(name);
}

void NodeTable::SetWords(NodeId node, NodeWords words) { entries_[node].words = std::move(words); }

const NodeWords& NodeTable::Words(NodeId node) const {
  static const NodeWords kNone;
  const auto it = entries_.find(node);
  return it == entries_.end() ? kNone : it->second.words;
}

const std::map<ShardId, ShardLine>& NodeTable::Lines(NodeId node) const {
  static const std::map<ShardId, ShardLine> kNone;
  auto it = entries_.find(node);
  return it == entries_.end() ? kNone : it->second.lines;
}

const ShardLine* NodeTable::Line(NodeId node, ShardId shard) const {
  const auto& lines = Lines(node);
  auto it = lines.find(shard);
  return it == lines.end() ? nullptr : &it->second;
}

}  // namespace penstock
