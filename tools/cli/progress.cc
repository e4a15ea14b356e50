#include "tools/cli/progress.h"

#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>

#include "common/base/strings.h"
#include "tools/cli/print.h"

namespace penstock {
namespace {

constexpr uint64_t kRateWindowMs = 10000;
constexpr uint64_t kStandsMs = 3000;
constexpr int kBarCells = 20;
constexpr int kLeastBarCells = 5;

template <typename T>
void Get(const nlohmann::json& job, const char* name, T* value) {
  const auto it = job.find(name);
  if (it == job.end()) return;
  if constexpr (std::is_same_v<T, std::string>) {
    if (it->is_string()) it->get_to(*value);
  } else {
    if (it->is_number()) it->get_to(*value);
  }
}

bool Training(const JobProgress& job) { return job.phase.empty() || job.phase == "train"; }

std::string Loss(double loss) { return FormatFraction(loss, 4); }

std::string Percent(const JobProgress& job) {
  return StrCat(static_cast<int>(std::floor(job.share() * 100)), " %");
}

std::string Rate(double rate) { return FormatCount(static_cast<uint64_t>(std::max(0.0, std::round(rate)))); }

std::optional<std::string> Left(const JobProgress& job, double rate) {
  if (!Training(job) || job.state == "paused" || rate <= 0 || job.examples_total <= job.examples)
    return std::nullopt;
  const double seconds = static_cast<double>(job.examples_total - job.examples) / rate;
  return seconds < 60 ? StrCat(static_cast<int>(std::ceil(seconds)), " s left")
                      : FormatSeconds(seconds) + " left";
}

std::string PhaseText(const JobProgress& job) {
  const bool keeping = job.phase == "keep_best";
  const std::string data = job.phase == "evaluate_test" ? "held-out" : "training";
  std::string text = keeping ? "keeping the best weights" : StrCat("evaluating on ", data, " data");
  if (job.passes > 0) StrAppend(&text, " after pass ", job.pass, " of ", job.passes);
  return text;
}

}  // namespace

JobProgress ReadProgress(const nlohmann::json& job) {
  JobProgress p;
  if (!job.is_object()) return p;
  Get(job, "id", &p.id);
  Get(job, "name", &p.name);
  Get(job, "state", &p.state);
  Get(job, "phase", &p.phase);
  Get(job, "pass", &p.pass);
  Get(job, "passes", &p.passes);
  Get(job, "partitions_done", &p.partitions_done);
  Get(job, "partitions", &p.partitions);
  Get(job, "examples", &p.examples);
  Get(job, "examples_total", &p.examples_total);
  Get(job, "loss", &p.loss);
  Get(job, "seconds", &p.seconds);
  Get(job, "examples_per_second", &p.examples_per_second);
  Get(job, "bad_records", &p.bad_records);
  Get(job, "error", &p.error);
  for (const auto& problem : job.value("problems", nlohmann::json::array())) {
    if (problem.is_string()) p.problems.push_back(problem);
  }
  return p;
}

void RateMeter::Add(uint64_t now_ms, uint64_t examples) {
  // A partition that was leased again is worked off from what was recorded, so the number may fall.
  if (!points_.empty() && examples < points_.back().second) points_.clear();
  if (!points_.empty() && examples == points_.back().second) return;
  if (!points_.empty() && now_ms - points_.back().first >= kStandsMs) points_.clear();
  points_.emplace_back(now_ms, examples);
  while (points_.size() > 2 && points_[1].first + kRateWindowMs <= now_ms) points_.pop_front();
}

std::optional<double> RateMeter::PerSecond() const {
  if (points_.size() < 2 || points_.back().first == points_.front().first) return std::nullopt;
  return static_cast<double>(points_.back().second - points_.front().second) * 1000 /
         static_cast<double>(points_.back().first - points_.front().first);
}

void StandMeter::Add(uint64_t now_ms, const JobProgress& job) {
  std::string now =
      StrCat(job.state, " ", job.phase, " ", job.pass, " ", job.partitions_done, " ", job.examples);
  if (now == seen_) return;
  seen_ = std::move(now);
  changed_ms_ = now_ms;
}

std::string StandMeter::Why(uint64_t now_ms, const JobProgress& job) const {
  const uint64_t ms = now_ms - changed_ms_;
  if (job.state != "running" || ms < kStandsMs || job.problems.empty()) return "";
  return StrCat("stands still for ", ms / 1000, " s: ", StrJoin(job.problems, "; "));
}

std::string PlainLine(const JobProgress& job, double rate, const std::string& stands) {
  std::string line = StrCat(job.name, " (job ", job.id, "): ", job.state == "paused" ? "paused, " : "");
  if (!Training(job))
    return StrCat(line, PhaseText(job), ", partition ", job.partitions_done, " of ", job.partitions,
                  stands.empty() ? "" : ", ", stands);
  StrAppend(&line, "pass ", job.pass, " of ", job.passes, ", partition ", job.partitions_done, " of ",
            job.partitions, ", ", FormatCount(job.examples), " of ", FormatCount(job.examples_total),
            " examples (", Percent(job), ")");
  if (!stands.empty()) {
    StrAppend(&line, ", ", stands);
    rate = 0;
  } else if (job.state == "paused") {
    StrAppend(&line, ", loss ", Loss(job.loss));
  } else if (job.examples > 0) {
    StrAppend(&line, ", ", Rate(rate), "/s, loss ", Loss(job.loss));
  }
  if (const auto left = Left(job, rate)) StrAppend(&line, ", ", *left);
  if (job.bad_records > 0) StrAppend(&line, ", ", job.bad_records, " malformed records skipped");
  return line;
}

std::string BarLine(const JobProgress& job, double rate, int width, const std::string& stands) {
  std::string text = Percent(job);
  text.insert(0, text.size() < 5 ? 5 - text.size() : 0, ' ');
  text += job.state == "paused" ? "  paused  " : "  ";
  if (Training(job)) {
    StrAppend(&text, "pass ", job.pass, "/", job.passes, "  ", job.partitions_done, "/", job.partitions,
              " parts");
    if (stands.empty()) {
      if (job.examples > 0 && job.state != "paused") StrAppend(&text, "  ", Rate(rate), " ex/s");
      if (job.examples > 0) StrAppend(&text, "  loss ", Loss(job.loss));
      if (const auto left = Left(job, rate)) StrAppend(&text, "  ", *left);
    }
  } else {
    StrAppend(&text, PhaseText(job), "  ", job.partitions_done, "/", job.partitions, " parts");
  }
  if (!stands.empty()) StrAppend(&text, "  ", stands);
  // The bar takes the room that the words leave it.
  const int cells = std::clamp(width - static_cast<int>(text.size()) - 3, kLeastBarCells, kBarCells);
  const int filled = static_cast<int>(std::clamp(job.share(), 0.0, 1.0) * cells);
  std::string line = "[" + std::string(static_cast<size_t>(filled), '#') +
                     std::string(static_cast<size_t>(cells - filled), '.') + "] " + text;
  if (width > 0 && line.size() > static_cast<size_t>(width)) line.resize(static_cast<size_t>(width));
  return line;
}

}  // namespace penstock
