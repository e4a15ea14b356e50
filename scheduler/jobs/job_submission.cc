#include "scheduler/jobs/job_submission.h"

#include <algorithm>
#include <cctype>

#include "common/base/strings.h"

namespace penstock {
namespace {

using nlohmann::json;

constexpr size_t kMaxSpecBytes = 1 << 20;
constexpr uint64_t kMaxPartitions = 65536;
constexpr uint64_t kMaxPasses = 1000000;
constexpr size_t kMaxTables = 1000;

Result<uint64_t> Number(const json& in, const char* name, const std::string& context, uint64_t low,
                        uint64_t high) {
  auto it = in.find(name);
  const std::string allowed = StrCat(", allowed is a whole number from ", low, " to ", high);
  if (it == in.end()) return InvalidArgument(StrCat(context, name, " is missing", allowed));
  if (!it->is_number_unsigned() || it->get<uint64_t>() < low || it->get<uint64_t>() > high) {
    return InvalidArgument(StrCat(context, name, " is ", it->dump(), allowed));
  }
  return it->get<uint64_t>();
}

Result<bool> Flag(const json& in, const char* name) {
  auto it = in.find(name);
  if (it == in.end()) return false;
  if (!it->is_boolean())
    return InvalidArgument(StrCat("job: ", name, " is ", it->dump(), ", allowed is true or false"));
  return it->get<bool>();
}

Result<std::string> Name(const json& in) {
  auto it = in.find("name");
  const std::string allowed = ", allowed are 1 to 100 letters, digits and _ . -";
  if (it == in.end() || !it->is_string()) return InvalidArgument("job: name is missing" + allowed);
  const std::string name = it->get<std::string>();
  bool good = !name.empty() && name.size() <= 100;
  for (char c : name)
    good = good && (std::isalnum(static_cast<unsigned char>(c)) || c == '_' || c == '.' || c == '-');
  if (!good) return InvalidArgument("job: name is '" + name + "'" + allowed);
  return name;
}

// The word and what the policy says belong together.
Status CheckConsistency(const json& in, const TrainPolicy& policy) {
  const json consistency = in.value("consistency", json("async"));
  const bool known = consistency == "async" || consistency == "ssp" || consistency == "sync";
  if (!known) {
    return InvalidArgument(
        StrCat("job: consistency is ", consistency.dump(), ", allowed are \"async\", \"ssp\" and \"sync\""));
  }
  if ((consistency == "ssp") != policy.ssp())
    return InvalidArgument(
        StrCat("job: policy.staleness is ", policy.staleness, " and consistency ", consistency.dump()));
  if ((consistency == "sync") != policy.sync())
    return InvalidArgument(
        StrCat("job: policy.rounds is ", policy.rounds, " and consistency ", consistency.dump()));
  return Status::Ok();
}

Status ReadPlan(const json& in, SubmitJob* out) {
  auto plan = in.find("plan");
  if (plan == in.end() || !plan->is_object()) return InvalidArgument("job: plan is missing");
  auto train = plan->find("train");
  if (train != plan->end() && train->is_object()) {
    PENSTOCK_ASSIGN_OR_RETURN(const uint64_t partitions,
                              Number(*train, "partitions", "job: plan.train.", 1, kMaxPartitions));
    PENSTOCK_ASSIGN_OR_RETURN(out->train_records,
                              Number(*train, "records", "job: plan.train.", 0, uint64_t{1} << 60));
    out->train_partitions = static_cast<uint32_t>(partitions);
  }
  auto test = plan->find("test");
  if (test != plan->end() && test->is_object()) {
    PENSTOCK_ASSIGN_OR_RETURN(const uint64_t partitions,
                              Number(*test, "partitions", "job: plan.test.", 1, kMaxPartitions));
    out->test_partitions = static_cast<uint32_t>(partitions);
  }
  if (out->train_partitions == 0 && (out->passes > 0 || out->evaluate_train))
    return InvalidArgument("job: plan.train is missing");
  if (out->test_partitions == 0 && out->evaluate_test)
    return InvalidArgument("job: evaluate_test is true, but plan.test is missing");
  if (out->test_partitions == 0 && out->policy.patience > 0)
    return InvalidArgument("job: policy: patience needs test data, but plan.test is missing");
  if (out->test_partitions == 0 && out->policy.keep_best)
    return InvalidArgument("job: policy: keep_best needs test data, but plan.test is missing");
  if (out->passes == 0 && !out->evaluate_train && !out->evaluate_test) {
    return InvalidArgument("job: nothing to do: passes is 0, and evaluate_train and evaluate_test are false");
  }
  return Status::Ok();
}

// Of the names of all tables of the job.
std::string JobPrefix(const SubmitJob& job) { return StrCat(job.name, ".", job.job, "/"); }

bool NameTaken(const ClusterState& state, const std::string& prefix) {
  const auto& tables = state.data().tables;
  return std::any_of(tables.begin(), tables.end(),
                     [&](const auto& table) { return table.second.name.starts_with(prefix); });
}

Status ReadTables(const json& in, TableId next, SubmitJob* out) {
  auto tables = in.find("tables");
  if (tables == in.end() || !tables->is_array() || tables->size() > kMaxTables) {
    return InvalidArgument(StrCat("job: tables must be a list of at most ", kMaxTables));
  }
  for (const json& table : *tables) {
    TableSpec spec;
    try {
      spec = table.get<TableSpec>();
    } catch (const std::exception& e) {
      return InvalidArgument(StrCat("job: tables: ", e.what()));
    }
    spec.id = next++;
    spec.name = JobPrefix(*out) + spec.name;
    PENSTOCK_RETURN_IF_ERROR(spec.Validate().Prepend("job: tables"));
    if (spec.accumulate && !out->policy.sync())
      return InvalidArgument(
          StrCat("job: table '", spec.name, "' accumulates, which only those of sync jobs do"));
    out->tables.push_back(std::move(spec));
  }
  return Status::Ok();
}

}  // namespace

Result<SubmitJob> ReadSubmission(const std::string& spec, const ClusterState& state, int64_t wall_ms) {
  if (spec.size() > kMaxSpecBytes)
    return InvalidArgument(StrCat("job: its text has ", spec.size(), " bytes, allowed are ", kMaxSpecBytes));
  const json in = json::parse(spec, nullptr, false);
  if (!in.is_object()) return InvalidArgument("job: its text is not a JSON object");
  SubmitJob out;
  out.job = state.data().last_job + 1;
  out.spec = spec;
  out.at_ms = wall_ms;
  PENSTOCK_ASSIGN_OR_RETURN(out.name, Name(in));
  // Tables of others may have names as a job gives them to its own.
  while (NameTaken(state, JobPrefix(out))) ++out.job;
  PENSTOCK_ASSIGN_OR_RETURN(const uint64_t passes, Number(in, "passes", "job: ", 0, kMaxPasses));
  out.passes = static_cast<uint32_t>(passes);
  PENSTOCK_ASSIGN_OR_RETURN(out.evaluate_train, Flag(in, "evaluate_train"));
  PENSTOCK_ASSIGN_OR_RETURN(out.evaluate_test, Flag(in, "evaluate_test"));
  PENSTOCK_ASSIGN_OR_RETURN(out.policy, ReadTrainPolicy(in));
  PENSTOCK_RETURN_IF_ERROR(CheckConsistency(in, out.policy));
  PENSTOCK_RETURN_IF_ERROR(ReadPlan(in, &out));
  PENSTOCK_RETURN_IF_ERROR(ReadTables(in, state.data().last_table + 1, &out));
  return out;
}

}  // namespace penstock
