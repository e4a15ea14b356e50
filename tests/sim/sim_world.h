// World: virtual time, processes that end and stand still, and a network between them; all of it by one seed.
//
// A process (an Endpoint) has lives. What is to happen in it is an event of its present life and is dropped
// when that ends; a process that stands still does it all later. A connection delivers in order; different
// ones overtake each other. A cut direction loses what is sent, which the sender learns by its deadline only.
#pragma once

#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <random>
#include <set>
#include <string>
#include <vector>

#include "common/base/strings.h"
#include "tests/sim/sim_steps.h"

namespace penstock::sim {

using Endpoint = uint32_t;
using Task = std::function<void()>;

struct WorldOptions {
  uint64_t seed = 1;
  bool print_trace = false;
  uint64_t delay_us = 3000;  // of a message, at most so much beyond the least
  uint64_t loss = 0;         // one connection in so many messages breaks; 0: none does
};

// A connection from a caller to a callee.
struct Channel {
  Endpoint from = 0, to = 0;
  uint64_t from_life = 0, to_life = 0;
  bool broken = false;
  uint64_t last_there_us = 0, last_back_us = 0;
  uint64_t next_call = 0;
  std::map<uint64_t, Task> waiting;  // fails the call
};
using ChannelPtr = std::shared_ptr<Channel>;

class World {
 public:
  explicit World(const WorldOptions& options)
      : options_(options), random_(options.seed * 0x9e3779b97f4a7c15u) {}

  // --- Time and chance.
  uint64_t now_us() const { return now_us_; }
  uint64_t now_ms() const { return now_us_ / 1000; }
  uint64_t events() const { return events_; }
  uint64_t Pick(uint64_t below) { return below <= 1 ? 0 : random_() % below; }
  uint64_t Between(uint64_t low, uint64_t high) { return low + Pick(high - low + 1); }
  bool OneIn(uint64_t n) { return n != 0 && Pick(n) == 0; }

  // --- Processes.
  Endpoint Add(std::string name);
  const std::string& name(Endpoint p) const { return processes_[p].name; }
  uint64_t life(Endpoint p) const { return processes_[p].life; }
  bool up(Endpoint p) const { return processes_[p].up; }
  bool paused(Endpoint p) const { return processes_[p].paused_until_us > now_us_; }
  void Start(Endpoint p);
  // `silent`: nobody hears that its connections end (the power is gone).
  void End(Endpoint p, bool silent);
  void Pause(Endpoint p, uint64_t ms);
  // In `delay_us`, in this life of the process. `step`: what would be interrupted if it did not happen.
  void After(Endpoint p, uint64_t delay_us, Step step, Task task);
  // Of nobody's life.
  void After(uint64_t delay_us, Task task) { Put(delay_us, kNobody, 0, Step::kNone, std::move(task)); }
  // The next event. False: there is none.
  bool RunNext();
  StepCounts& steps() { return steps_; }
  // Called for each step of a process that is reached.
  void OnReached(std::function<void(Step, Endpoint)> hook) { hook_ = std::move(hook); }

  // --- Network.
  void Cut(Endpoint from, Endpoint to) { cuts_.emplace(from, to); }
  void Heal() { cuts_.clear(); }
  void set_loss(uint64_t loss) { options_.loss = loss; }
  bool IsCut(Endpoint from, Endpoint to) const { return cuts_.contains({from, to}); }
  ChannelPtr Connect(Endpoint from, Endpoint to);
  // `serve(reply)` runs at the callee, which may call `reply(Answer)` at any time; `done` runs at the caller
  // once: nullopt when the connection broke or `timeout_ms` have passed.
  template <typename Answer>
  void Call(const ChannelPtr& channel, Step there, Step back, uint64_t timeout_ms,
            std::function<void(std::function<void(Answer)>)> serve,
            std::function<void(std::optional<Answer>)> done);
  // The caller gives it up, and all its calls fail.
  void Break(const ChannelPtr& channel);

  // --- What happened.
  template <typename... Parts>
  void Note(Endpoint p, const Parts&... parts) {
    Write(StrCat(now_us_ / 1000, ".", now_us_ % 1000, " ", processes_[p].name, ": ", parts...));
  }
  uint64_t trace_hash() const { return trace_hash_; }
  const std::deque<std::string>& tail() const { return tail_; }
  // An invariant does not hold; the first one counts.
  void Fail(const std::string& invariant, const std::string& what);
  const std::string& failed() const { return failed_; }
  const std::string& failure() const { return failure_; }

 private:
  static constexpr Endpoint kNobody = ~Endpoint{0};
  struct Process {
    std::string name;
    uint64_t life = 0;
    bool up = false;
    uint64_t paused_until_us = 0;
  };
  struct Event {
    uint64_t at_us, number;
    Endpoint process;
    uint64_t life;
    Step step;
    Task task;
    bool operator<(const Event& other) const {  // the earliest on top of the heap
      return std::tie(other.at_us, other.number) < std::tie(at_us, number);
    }
  };

  void Reach(Step step, Endpoint p);
  void Put(uint64_t delay_us, Endpoint p, uint64_t life, Step step, Task task);
  void Carry(const ChannelPtr& channel, bool there, Step step, Task task);
  void Deliver(const ChannelPtr& channel, bool there, Step step, const Task& task);
  void Lose(const ChannelPtr& channel, Step step, bool heard);
  void InterruptAll(Endpoint p);
  void TellCaller(const ChannelPtr& channel);
  void Write(std::string line);

  WorldOptions options_;
  std::mt19937_64 random_;
  uint64_t now_us_ = 0, events_ = 0, last_event_ = 0;
  std::vector<Process> processes_;
  std::vector<Event> heap_;
  std::set<std::pair<Endpoint, Endpoint>> cuts_;
  std::vector<std::weak_ptr<Channel>> channels_;
  StepCounts steps_;
  std::function<void(Step, Endpoint)> hook_;
  uint64_t trace_hash_ = 0xcbf29ce484222325u;
  std::deque<std::string> tail_;
  std::string failed_, failure_;
};

template <typename Answer>
void World::Call(const ChannelPtr& channel, Step there, Step back, uint64_t timeout_ms,
                 std::function<void(std::function<void(Answer)>)> serve,
                 std::function<void(std::optional<Answer>)> done) {
  const uint64_t id = channel->next_call++;
  const auto open = std::make_shared<bool>(true);
  const auto finish = [channel, id, open, done = std::move(done)](std::optional<Answer> answer) {
    if (!*open) return;
    *open = false;
    channel->waiting.erase(id);
    done(std::move(answer));
  };
  channel->waiting[id] = [finish] { finish(std::nullopt); };
  After(channel->from, timeout_ms * 1000, Step::kNone, [this, channel, open] {
    if (*open) Break(channel);
  });
  Carry(channel, true, there, [this, channel, back, finish, serve = std::move(serve)] {
    serve([this, channel, back, finish](Answer answer) {
      Carry(channel, false, back, [finish, answer = std::move(answer)] { finish(answer); });
    });
  });
}

}  // namespace penstock::sim
