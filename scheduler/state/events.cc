#include "scheduler/state/events.h"

#include <algorithm>
#include <map>
#include <utility>

#include "common/base/strings.h"

namespace penstock {
namespace {

constexpr size_t kNamedShards = 16;  // of one event

class Teller {
 public:
  explicit Teller(const ClusterState& state) : state_(state), data_(state.data()) {}

  std::vector<Event> Take() {
    for (const auto& [what, shards] : told_) Add(what.first, StrCat(ShardsText(shards), what.second));
    return std::move(events_);
  }

  // Progress, leases, lsns and the like.
  template <typename Other>
  void Tell(const Other&) {}

  void Tell(const BeginTerm& c) {
    Add("scheduler",
        StrCat(data_.cluster == 0 ? "the cluster was made; " : "", "the scheduler started, term ", c.term));
  }
  void Tell(const RegisterNode& c) {
    const NodeRecord* known = state_.FindNode(c.node.id);
    const std::string where = c.node.host.empty() ? "" : " on " + c.node.host;
    Add("node",
        StrCat(c.node.name, " (node ", c.node.id, known == nullptr ? ") joined" : ") came back", where));
    for (const auto& quarantine : c.quarantines) Quarantined(quarantine);
  }
  void Tell(const RemoveNode& c) { Add("node", NameOf(c.node) + " was removed"); }
  void Tell(const DrainNode& c) {
    Add("drain",
        StrCat(NameOf(c.node), c.drained ? " is drained" : " is drained no more", ", by an operator"));
  }
  void Tell(const SetBalance& c) {
    Add("balance", StrCat("shards move by themselves ", c.on ? "again" : "no more", ", by an operator"));
  }
  void Tell(const SetCopies& c) {
    Add("copies", StrCat("each shard shall have ", c.copies, c.copies == 1 ? " copy" : " copies",
                         ", at least ", c.min_copies, " in sync, by an operator"));
  }
  void Tell(const PlaceShards& c) {
    for (const auto& placed : c.placements)
      Say("lead", placed.shard, StrCat(NameOf(placed.node), " is the first to lead"));
  }
  void Tell(const QuarantineShards& c) {
    for (const auto& quarantine : c.quarantines) Quarantined(quarantine);
  }
  void Tell(const AcceptLoss& c) {
    Add("loss", StrCat("shard ", c.shard, ": an operator has accepted the loss; it goes on with lsn ",
                       c.remaining, " on ", NameOf(data_.shards[c.shard].node),
                       ", and jobs that train go back to the start of their pass"));
  }
  void Tell(const AddCopies& c) {
    for (const auto& copy : c.copies)
      Say("copies", copy.shard, StrCat("a copy is made on ", NameOf(copy.node)));
  }
  void Tell(const DropCopies& c) {
    for (const auto& copy : c.copies)
      Say("copies", copy.shard, StrCat("the copy that was made on ", NameOf(copy.node), " is given up"));
  }
  void Tell(const ChangeCopies& c) {
    for (const auto& change : c.changes) Changed(change);
  }
  void Tell(const StartMoves& c) {
    for (const auto& move : c.moves) {
      Say("move", move.shard,
          StrCat("is to go from ", NameOf(move.from), " to ", NameOf(move.to),
                 move.reason.empty() ? "" : ", as " + move.reason));
    }
  }
  void Tell(const EndMoves& c) {
    for (const auto& end : c.moves) {
      const MoveRecord& move = data_.shards[end.shard].move;
      Say("move", end.shard,
          StrCat("the move from ", NameOf(move.from), " to ", NameOf(move.to), " has ended: ", end.why));
    }
  }
  void Tell(const CreateTable& c) { Add("table", StrCat("table '", c.spec.name, "' was made")); }
  void Tell(const DropTable& c) {
    Add("table", StrCat("table '", data_.tables.at(c.table).name, "' was dropped"));
  }
  void Tell(const SubmitJob& c) { Add("job", StrCat("job ", c.job, " '", c.name, "' was submitted")); }
  void Tell(const PauseJob& c) {
    Add("job", StrCat(NameOfJob(c.job), c.paused ? " is paused" : " goes on", ", by an operator"));
  }
  void Tell(const EndJob& c) {
    Add("job", StrCat(NameOfJob(c.job), " is ", ToString(c.state), c.error.empty() ? "" : ": " + c.error));
  }

 private:
  void Add(std::string kind, std::string text) {
    events_.push_back({.number = 0, .at_ms = 0, .kind = std::move(kind), .text = std::move(text)});
  }
  void Say(const std::string& kind, ShardId shard, const std::string& what) {
    told_[{kind, what}].push_back(shard);
  }

  void Quarantined(const ShardQuarantine& quarantine) {
    Say("loss", quarantine.shard, "is quarantined: " + quarantine.reason);
  }

  void Changed(const ChangeCopies::Change& change) {
    const ShardRecord& shard = data_.shards[change.shard];
    const MoveRecord& move = shard.move;
    const bool other = change.node != shard.node;
    if (other && move.fence != 0 && change.node == move.to) {
      Say("lead", change.shard, StrCat("went from ", NameOf(shard.node), " to ", NameOf(change.node)));
    } else if (other) {
      Say("lead", change.shard,
          StrCat(NameOf(change.node), " leads in place of ", NameOf(shard.node), ", which is lost"));
    } else if (move.fence != 0) {
      Say("move", change.shard,
          StrCat("the hand-over from ", NameOf(move.from), " to ", NameOf(move.to), " was given up"));
    }
    for (const CopyRecord& copy : change.backups) {
      const CopyRecord* before = FindCopy(shard.backups, copy.node);
      if (copy.in_sync && before != nullptr && !before->in_sync)
        Say("copies", change.shard, StrCat("the copy on ", NameOf(copy.node), " is in sync"));
    }
    for (const CopyRecord& copy : shard.backups) {
      if (copy.in_sync && copy.node != change.node && FindCopy(change.backups, copy.node) == nullptr)
        Say("copies", change.shard, StrCat("the copy on ", NameOf(copy.node), " is one no more"));
    }
  }

  std::string NameOf(NodeId id) const {
    const NodeRecord* node = state_.FindNode(id);
    return node == nullptr ? StrCat("node ", id) : node->name;
  }
  std::string NameOfJob(JobId id) const {
    const JobRecord* job = state_.FindJob(id);
    return job == nullptr ? StrCat("job ", id) : StrCat("job ", id, " '", job->name, "'");
  }
  // "shard 3: ", "3 shards (0, 4, 7): ".
  static std::string ShardsText(const std::vector<ShardId>& shards) {
    if (shards.size() == 1) return StrCat("shard ", shards[0], ": ");
    std::string numbers;
    for (size_t i = 0; i < std::min(shards.size(), kNamedShards); ++i)
      StrAppend(&numbers, i == 0 ? "" : ", ", shards[i]);
    return StrCat(shards.size(), " shards (", numbers, shards.size() > kNamedShards ? ", ..." : "", "): ");
  }

  const ClusterState& state_;
  const StateData& data_;
  std::vector<Event> events_;
  std::map<std::pair<std::string, std::string>, std::vector<ShardId>> told_;  // by kind and what
};

}  // namespace

std::vector<Event> EventsOf(const ClusterState& before, const Command& command) {
  Teller teller(before);
  std::visit([&](const auto& c) { teller.Tell(c); }, command);
  return teller.Take();
}

}  // namespace penstock
