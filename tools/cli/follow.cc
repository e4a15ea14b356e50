#include "tools/cli/follow.h"

#include <chrono>
#include <nlohmann/json.hpp>
#include <optional>

#include "client/admin.h"
#include "tools/cli/job_metrics.h"
#include "tools/cli/progress.h"

namespace penstock {
namespace {

uint64_t NowMs() {
  const auto now = std::chrono::steady_clock::now().time_since_epoch();
  return static_cast<uint64_t>(std::chrono::duration_cast<std::chrono::milliseconds>(now).count());
}

class ProgressDisplay {
 public:
  ProgressDisplay(Console& console, uint64_t line_ms) : console_(console), line_ms_(line_ms) {}
  ~ProgressDisplay() { EndBar(); }

  void Show(const JobProgress& job) {
    const uint64_t now_ms = NowMs();
    meter_.Add(now_ms, job.examples);
    stand_.Add(now_ms, job);
    const double rate = meter_.PerSecond().value_or(job.examples_per_second);
    const std::string stands = stand_.Why(now_ms, job);
    if (console_.terminal) {
      console_.err << "\r" << BarLine(job, rate, console_.width - 1, stands) << "\x1b[K" << std::flush;
      bar_ = true;
      return;
    }
    if (last_line_ms_ && now_ms - *last_line_ms_ < line_ms_) return;
    const std::string line = PlainLine(job, rate, stands);
    if (line == last_line_) return;
    last_line_ = line;
    last_line_ms_ = now_ms;
    console_.err << line << std::endl;
  }

  void Say(const std::string& text) {
    EndBar();
    console_.err << text << std::endl;
  }

 private:
  void EndBar() {
    if (bar_) console_.err << std::endl;
    bar_ = false;
  }

  Console& console_;
  const uint64_t line_ms_;
  RateMeter meter_;
  StandMeter stand_;
  bool bar_ = false;
  std::string last_line_;
  std::optional<uint64_t> last_line_ms_;
};

// Every evaluation between passes, once; `said` is the pass of the last that was said. The list of jobs has
// the latest alone, so the whole job is asked for when there is a new one.
void SayEvaluated(Client& client, const nlohmann::json& job, uint64_t* said, ProgressDisplay& display) {
  const auto pass = [](const nlohmann::json& entry) { return entry.value("pass", uint64_t{0}); };
  const auto latest = job.find("evaluated");
  if (latest == job.end() || !latest->is_object() || pass(*latest) <= *said) return;
  const auto whole = Admin(client).Inspect("job", std::to_string(job.value("id", 0u)));
  if (!whole.ok()) return;  // with the next look
  for (const auto& entry : whole->value("history", nlohmann::json::array())) {
    if (pass(entry) <= *said) continue;
    *said = pass(entry);
    display.Say(HistoryLine(entry));
  }
  if (const std::string stopped = whole->value("stopped", ""); !stopped.empty()) display.Say(stopped);
}

}  // namespace

bool Passes(const Status& status) {
  return status.code() == Code::kUnavailable || status.code() == Code::kDeadlineExceeded ||
         status.code() == Code::kOverloaded;
}

Result<nlohmann::json> FindJob(Client& client, uint32_t job) {
  PENSTOCK_ASSIGN_OR_RETURN(const nlohmann::json jobs, Admin(client).Inspect("jobs"));
  for (const auto& element : jobs) {
    if (element.value("id", 0u) == job) return element;
  }
  return NotFound("job " + std::to_string(job));
}

Result<nlohmann::json> FollowJob(Client& client, uint32_t job, const FollowOptions& options,
                                 InterruptSignals& signals, Console& console) {
  ProgressDisplay display(console, options.line_ms);
  std::optional<uint64_t> away_since_ms;
  uint64_t said = 0;
  for (;;) {
    auto found = FindJob(client, job);
    // The whole of an ended job is asked for once: its evaluations can be long.
    if (found.ok() && ReadProgress(*found).ended()) {
      display.Show(ReadProgress(*found));
      SayEvaluated(client, *found, &said, display);
      found = Admin(client).Inspect("job", std::to_string(job));
      if (found.ok()) return found;
    }
    if (found.ok()) {
      if (away_since_ms) display.Say("the scheduler answers again");
      away_since_ms.reset();
      display.Show(ReadProgress(*found));
      SayEvaluated(client, *found, &said, display);
    } else if (!Passes(found.status())) {
      return found.status();
    } else if (!away_since_ms) {
      away_since_ms = NowMs();
      display.Say("the scheduler does not answer (" + found.status().message() + "); waiting for it");
    } else if (NowMs() - *away_since_ms > options.patience_ms) {
      return found.status();
    }
    if (signals.Wait(options.poll_ms)) return Cancelled("interrupted");
  }
}

}  // namespace penstock
