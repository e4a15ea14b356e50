#include "tools/cli/job_metrics.h"

#include <nlohmann/json.hpp>

#include "common/base/strings.h"
#include "data/data_plan.h"
#include "model/metrics.h"
#include "model/model.h"
#include "tools/cli/print.h"

namespace penstock {
namespace {

// A partition's result travels as text.
Result<Evaluation> ReadPart(const nlohmann::json& part) {
  if (!part.is_string()) return Evaluation::FromJson(part);
  const auto parsed = nlohmann::json::parse(part.get<std::string>(), nullptr, /*allow_exceptions=*/false);
  if (parsed.is_discarded()) return InvalidArgument("an evaluation is not JSON");
  return Evaluation::FromJson(parsed);
}

Result<Evaluation> MergeParts(const nlohmann::json& parts) {
  Evaluation all;
  for (const auto& part : parts) {
    PENSTOCK_ASSIGN_OR_RETURN(const Evaluation one, ReadPart(part));
    all.Merge(one);
  }
  return all;
}

std::string MetricText(const nlohmann::json& value) {
  const auto number = value.get<double>();
  return FormatFraction(number, number >= 1000 ? 4 : 6);
}

// " loss 0.3241, accuracy 0.8499", those that there are.
std::string Metrics(const nlohmann::json& part) {
  std::string text;
  for (const char* name : {"loss", "accuracy", "auc", "rmse", "objective"}) {
    const auto value = part.find(name);
    if (value == part.end() || !(value->is_number() || value->is_null())) continue;
    // What is not finite travels as null.
    StrAppend(&text, text.empty() ? " " : ", ", name, " ", value->is_null() ? "nan" : MetricText(*value));
  }
  return text;
}

// "": a job of some other program has none.
std::string KindOf(const nlohmann::json& options, const std::string& section) {
  const nlohmann::json::json_pointer at("/" + section + "/kind");
  return options.contains(at) && options[at].is_string() ? options[at].get<std::string>() : "";
}

// A line for each option that differs from those of a job with this model.kind and optimizer.kind alone.
std::vector<std::string> NotDefault(const nlohmann::json& options, const std::string& optimizer) {
  JobSpec job;
  nlohmann::json defaults = JobToJson(job);
  const nlohmann::json left_open = defaults["optimizer"]["kind"];
  job.table.optimizer.kind = optimizer;
  job.table.optimizer.Resolve(KindOf(options, "model"));
  defaults["optimizer"] = JobToJson(job)["optimizer"];
  if (left_open != optimizer) defaults["optimizer"]["kind"] = left_open;
  std::vector<std::string> lines;
  for (const auto& [section, members] : options.items()) {
    if (!members.is_object()) continue;
    const auto unset = defaults.value(section, nlohmann::json::object());
    for (const auto& [name, value] : members.items()) {
      if (unset.contains(name) && unset[name] == value) continue;
      lines.push_back(StrCat("  ", section, ".", name, " = ", value.dump(), "\n"));
    }
  }
  return lines;
}

}  // namespace

Result<nlohmann::json> JobMetrics(const nlohmann::json& job) {
  nlohmann::json metrics = nlohmann::json::object();
  try {
    const auto evaluations = job.value("evaluations", nlohmann::json::object());
    if (evaluations.empty()) return metrics;
    PENSTOCK_ASSIGN_OR_RETURN(const JobSpec spec, JobFromJson(job.at("spec").at("options")));
    const auto plan = job.at("spec").at("data_plan").get<JobPlan>();
    PENSTOCK_ASSIGN_OR_RETURN(const auto model, CreateModel(spec, plan.shape()));
    for (const char* role : {"train", "test"}) {
      const auto parts = evaluations.find(role);
      if (parts == evaluations.end() || !parts->is_array() || parts->empty()) continue;
      PENSTOCK_ASSIGN_OR_RETURN(const Evaluation merged, MergeParts(*parts));
      // The norm belongs to the objective that was minimised, which is that of the training data; on other
      // data it is the same formula.
      metrics[role] = merged.Results(model->objective());
    }
  } catch (const nlohmann::json::exception& e) {
    return Internal(std::string("what the scheduler says of the job cannot be understood: ") + e.what());
  }
  return metrics;
}

nlohmann::json JobReport(const nlohmann::json& job, const nlohmann::json& metrics) {
  return {{"job", job.value("name", "")},
          {"status", job.value("state", "")},
          {"seconds", job.value("seconds", 0.0)},
          {"examples", job.value("examples", uint64_t{0})},
          {"examples_per_second", job.value("examples_per_second", 0.0)},
          {"skipped_records", job.value("bad_records", uint64_t{0})},
          {"skipped_held_out_records",
           job.value(nlohmann::json::json_pointer("/spec/data_plan/test/bad_records"), uint64_t{0})},
          {"servers", job.value("servers", uint64_t{0})},
          {"workers", job.value("workers", uint64_t{0})},
          {"metrics", metrics},
          {"history", job.value("history", nlohmann::json::array())},
          {"best_pass", job.value("best_pass", nlohmann::json())},
          {"stopped", job.value("stopped", "")},
          {"options", job.value("spec", nlohmann::json::object()).value("options", nlohmann::json())}};
}

std::string OptionsText(const nlohmann::json& job) {
  const auto options = job.value("spec", nlohmann::json::object()).value("options", nlohmann::json::object());
  const JobSpec unset;
  // A job does not record what was left to its model or to the kind of its optimizer: the fewest options that
  // make it are listed.
  const auto by_model = NotDefault(options, unset.table.optimizer.kind);
  const auto by_kind = NotDefault(options, KindOf(options, "optimizer"));
  const auto& lines = by_model.size() < by_kind.size() ? by_model : by_kind;
  return lines.empty() ? "" : "options that are not at their defaults:\n" + StrJoin(lines, "");
}

std::string HistoryLine(const nlohmann::json& entry) {
  std::string text = StrCat("pass ", entry.value("pass", 0)), separator = ": ";
  for (const auto& [role, title] : {std::pair{"train", "training data:"}, {"test", "held-out data:"}}) {
    const auto part = entry.find(role);
    if (part == entry.end() || !part->is_object()) continue;
    StrAppend(&text, separator, title, Metrics(*part));
    separator = "; ";
  }
  return text;
}

std::string MetricsText(const nlohmann::json& metrics) {
  std::string text;
  for (const auto& [role, title] :
       {std::pair{"train", "training data"}, {"test", "held-out data"}, {"data", "the given data"}}) {
    const auto part = metrics.find(role);
    if (part == metrics.end()) continue;
    StrAppend(&text, title, ":", Metrics(*part), " (", FormatCount(part->value("examples", uint64_t{0})),
              " examples)\n");
  }
  return text;
}

}  // namespace penstock
