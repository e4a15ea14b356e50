// SupervisorFsm: decides when the children of a launcher are started, started again, asked to end and killed.
// Pure logic.
//
// Events and the time go in, actions come out; the driver (supervisor.h) forks and signals. A child that dies
// is started again after a delay that doubles with every death in a row and falls back to the first one when
// the child has lived for a while; one that does not take its options, after the longest delay, as somebody
// must mend them first. Stopping goes group by group: all of one stop order are asked to end and waited for,
// then the next; who has not ended by the deadline is killed.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <vector>

namespace penstock {

struct SupervisorPolicy {
  uint64_t first_delay_ms = 200;
  uint64_t max_delay_ms = 5000;
  uint64_t steady_ms = 10000;         // a child that has lived this long begins again with the first delay
  uint64_t stop_deadline_ms = 10000;  // of each group, from its request to end
};

class SupervisorFsm {
 public:
  enum class Act { kStart, kTerminate, kKill };
  struct Action {
    Act act;
    size_t child;
    bool operator==(const Action&) const = default;
  };
  using Actions = std::vector<Action>;

  // One entry per child: its stop order; lower ones end first. Times are of a monotonic clock, in ms.
  SupervisorFsm(std::vector<int> stop_orders, const SupervisorPolicy& policy);

  Actions Start(uint64_t now_ms);  // all children, in their order
  // A child is gone, or could not be started at all.
  Actions OnExit(size_t child, uint64_t now_ms, bool refused_options = false);
  // The first begins the orderly stop, a second one kills what is left.
  Actions OnStop(uint64_t now_ms);
  Actions OnTick(uint64_t now_ms);

  // When OnTick has something to do; nothing: only an event can change anything.
  std::optional<uint64_t> NextWake() const;
  bool finished() const;  // stopping, and no child is left
  bool stopping() const { return stopping_; }
  bool running(size_t child) const { return children_[child].running; }
  // Deaths in a row, not counting those after a steady life.
  uint32_t failures(size_t child) const { return children_[child].failures; }
  uint64_t delay_ms(size_t child) const {
    return children_[child].delay_ms;
  }  // before the start that is being waited for

 private:
  struct Child {
    int stop_order = 0;
    bool running = false;
    uint64_t since_ms = 0;  // of the last start
    uint32_t failures = 0;
    uint64_t delay_ms = 0;
    std::optional<uint64_t> start_at_ms;
  };

  void StartChild(size_t child, uint64_t now_ms, Actions* actions);
  void StopNextGroup(uint64_t now_ms, Actions* actions);
  void KillRunning(Actions* actions) const;

  const SupervisorPolicy policy_;
  std::vector<Child> children_;
  bool stopping_ = false;
  std::optional<int> group_;  // the stop order that is being waited for
  std::optional<uint64_t> kill_at_ms_;
};

}  // namespace penstock
