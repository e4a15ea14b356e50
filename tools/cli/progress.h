// Progress of a job as a person reads it: a bar on a terminal, a plain line elsewhere. Pure formatting.
#pragma once

#include <cstdint>
#include <deque>
#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <string>
#include <utility>
#include <vector>

namespace penstock {

// What inspect "job" says of a job, as far as it is shown. Members that are missing stay at their defaults.
struct JobProgress {
  uint64_t id = 0;
  std::string name;
  std::string state;  // running, paused, done, failed, cancelled
  std::string phase;  // train, evaluate_train, evaluate_test, keep_best; empty: the job has ended
  uint64_t pass = 0;  // from 1 on
  uint64_t passes = 0;
  uint64_t partitions_done = 0;
  uint64_t partitions = 0;
  uint64_t examples = 0;
  uint64_t examples_total = 0;
  double loss = 0;
  double seconds = 0;
  double examples_per_second = 0;
  uint64_t bad_records = 0;
  std::vector<std::string> problems;  // of the cluster, while it runs
  std::string error;

  bool ended() const { return state == "done" || state == "failed" || state == "cancelled"; }
  double share() const {
    return examples_total == 0 ? 0 : static_cast<double>(examples) / static_cast<double>(examples_total);
  }
};

JobProgress ReadProgress(const nlohmann::json& job);

// Examples a second over the last few seconds in which there were any: of a job that is paused or stands
// still it is what it was, and begins anew when the job goes on. Times are of a monotonic clock.
class RateMeter {
 public:
  void Add(uint64_t now_ms, uint64_t examples);
  // Nothing until two different moments are known.
  std::optional<double> PerSecond() const;

 private:
  std::deque<std::pair<uint64_t, uint64_t>> points_;
};

// How long a running job has stood still, with the cluster's problems for why.
class StandMeter {
 public:
  void Add(uint64_t now_ms, const JobProgress& job);
  // "stands still for 12 s: server-2 is dead". Empty while it gets on, at first, and where nothing is wrong:
  // its minibatches take long.
  std::string Why(uint64_t now_ms, const JobProgress& job) const;

 private:
  std::string seen_;  // of the job, at its last change
  uint64_t changed_ms_ = 0;
};

// Both say why it stands still, where it does, in the place of a rate and of the time left.
//
// "a9a (job 3): pass 2 of 30, partition 5 of 8, 123,456 of 976,830 examples (13 %), 60,123/s, loss 0.3312, 14
// s left"
std::string PlainLine(const JobProgress& job, double rate, const std::string& stands = "");
// "[######..............]  30 %  pass 2/30  5/8 parts  60,123 ex/s  loss 0.3312  14 s left", cut to the
// width.
std::string BarLine(const JobProgress& job, double rate, int width, const std::string& stands = "");

}  // namespace penstock
