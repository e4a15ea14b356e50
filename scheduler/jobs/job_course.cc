#include "scheduler/jobs/job_course.h"

#include <cmath>

#include "common/base/strings.h"

namespace penstock {
namespace {

using Step = std::variant<AdvanceJob, EndJob>;

class Course {
 public:
  Course(const JobRecord& job, int64_t at_ms) : job_(job), at_ms_(at_ms) {}

  Result<Step> Next() const {
    if (job_.finishing) return NextFinal();
    switch (job_.phase) {
      case JobPhase::kTrain:
        if (EvaluatedNow())
          return Step(Advance(job_.test_partitions > 0 ? JobPhase::kEvaluateTest : JobPhase::kEvaluateTrain));
        break;
      case JobPhase::kEvaluateTrain:
      case JobPhase::kEvaluateTest:
        return AfterEvaluation();
      case JobPhase::kKeepBest:
        break;
    }
    return Last() ? Finish() : Train();
  }

 private:
  bool Last() const { return job_.pass + 1 >= job_.passes; }
  bool EvaluatedNow() const {
    const uint32_t every = job_.policy.evaluate_every;
    return every > 0 && (Last() || (job_.pass + 1) % every == 0);
  }

  AdvanceJob Advance(JobPhase phase) const {
    return {.job = job_.id, .phase = phase, .pass = job_.pass, .finishing = job_.finishing, .at_ms = at_ms_};
  }
  Step Train() const {
    AdvanceJob next = Advance(JobPhase::kTrain);
    ++next.pass;
    return next;
  }
  EndJob End() const { return {.job = job_.id, .state = JobState::kDone, .error = "", .at_ms = at_ms_}; }

  Step Finish() const {
    if (!job_.evaluate_train && !job_.evaluate_test) return End();
    AdvanceJob next = Advance(job_.evaluate_train ? JobPhase::kEvaluateTrain : JobPhase::kEvaluateTest);
    next.finishing = true;
    return next;
  }

  Result<PassMetrics> Evaluated() const {
    std::vector<std::string> parts;
    for (const auto& partition : job_.partitions) parts.push_back(partition.result);
    PENSTOCK_ASSIGN_OR_RETURN(nlohmann::json metrics, MergeMetrics(parts, job_.policy.loss));
    PassMetrics entry{.pass = job_.pass + 1, .train = nullptr, .test = nullptr};
    if (job_.phase == JobPhase::kEvaluateTrain) {
      entry.train = std::move(metrics);
      return entry;
    }
    entry.test = std::move(metrics);
    entry.train = {{"examples", job_.last_pass.examples}};
    const double loss = job_.last_pass.loss_sum / static_cast<double>(job_.last_pass.examples);
    if (job_.last_pass.examples > 0 && std::abs(job_.last_pass.loss_sum) < kTooHugeLoss)
      entry.train["loss"] = loss;
    return entry;
  }

  // What a job has learned that cannot be evaluated is no result. Between passes it passes by, as later
  // weights may be evaluated again.
  Status CheckFinal() const {
    const auto entry = Evaluated();
    if (!entry.ok()) return Status::Ok();  // of workers that say nothing of it
    const bool test = job_.phase == JobPhase::kEvaluateTest;
    const nlohmann::json& metrics = test ? entry->test : entry->train;
    const auto loss = metrics.find("loss");
    if (loss == metrics.end() || (loss->is_number() && std::isfinite(loss->get<double>())))
      return Status::Ok();
    return InvalidArgument(
        StrCat("the loss on the ", test ? "held-out" : "training",
               " data is not finite: lower optimizer.learning_rate, set optimizer.clip_value "
               "or optimizer.clip_norm, or scale the data (data.scale)"));
  }
  Result<Step> NextFinal() const {
    PENSTOCK_RETURN_IF_ERROR(CheckFinal());
    if (job_.phase == JobPhase::kEvaluateTrain && job_.evaluate_test)
      return Step(Advance(JobPhase::kEvaluateTest));
    return Step(End());
  }

  std::string WhyStopped(const BestPass& best) const {
    const TrainPolicy& policy = job_.policy;
    const std::string none = StrCat("stopped early: no evaluation gave a finite ", policy.metric);
    if (best.pass == 0) return none;
    const std::string by = policy.min_delta > 0 ? StrCat(" by more than ", policy.min_delta) : "";
    return StrCat("stopped early: ", best.since, " evaluations did not improve on the ", policy.metric, " ",
                  best.value, " after pass ", best.pass, by);
  }

  Result<Step> AfterEvaluation() const {
    PENSTOCK_ASSIGN_OR_RETURN(PassMetrics entry, Evaluated());
    std::vector<PassMetrics> history = job_.history;
    history.push_back(entry);
    const BestPass best = FindBest(history, job_.policy);
    const bool stop = job_.policy.patience > 0 && best.since >= job_.policy.patience && !Last();
    const bool keep = job_.policy.keep_best && best.pass == entry.pass;
    Step next = keep ? Step(Advance(JobPhase::kKeepBest)) : stop || Last() ? Finish() : Train();
    std::visit(
        [&](auto& step) {
          step.evaluated = {std::move(entry)};
          if (stop) step.stopped = WhyStopped(best);
        },
        next);
    return next;
  }

  const JobRecord& job_;
  const int64_t at_ms_;
};

}  // namespace

Result<Step> NextStep(const JobRecord& job, int64_t at_ms) { return Course(job, at_ms).Next(); }

}  // namespace penstock
