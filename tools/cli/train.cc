// penstock train: submits a job to a running cluster or to a private one, follows it, and says how well it
// did.
#include <nlohmann/json.hpp>

#include "client/admin.h"
#include "common/base/atomic_file.h"
#include "tools/cli/commands.h"
#include "tools/cli/exit_code.h"
#include "tools/cli/follow.h"
#include "tools/cli/job_metrics.h"
#include "tools/cli/job_submission.h"
#include "tools/cli/print.h"
#include "tools/cli/private_cluster.h"
#include "tools/cli/target.h"
#include "tools/launch/data_dir.h"

namespace penstock {
namespace {

// A result that cannot be written after an hour of training is said before it.
Status CheckReport(const std::string& path) {
  return path.empty() ? Status::Ok() : CheckReplaceable(AbsolutePath(path)).Prepend("--report " + path);
}

// Of what workers will not learn from or test on.
std::string Skipped(const nlohmann::json& submission) {
  std::string text;
  for (const auto& [role, title] : {std::pair{"train", "training"}, {"test", "held-out"}}) {
    const auto plan = submission["data_plan"].find(role);
    if (plan == submission["data_plan"].end()) continue;
    const auto bad = plan->value("bad_records", uint64_t{0});
    if (bad > 0)
      text += "; " + FormatCount(bad) + " malformed records of the " + title + " data are passed over";
  }
  return text;
}

std::string HowToReach(const TargetArguments& target) {
  if (!target.scheduler.empty()) {
    return " --scheduler " + target.scheduler +
           (target.token_file.empty() ? "" : " --token-file " + target.token_file);
  }
  return " --data-dir " + AbsolutePath(target.data_dir.empty() ? DefaultDataDir() : target.data_dir);
}

void SayJobGoesOn(uint32_t job, const Arguments& arguments, Console& console) {
  const std::string reach = HowToReach(arguments.target);
  console.err << "penstock: job " << job << " goes on in the cluster.\n  penstock job show " << job << reach
              << "    shows it\n  penstock job cancel " << job << reach << "  ends it" << std::endl;
}

Result<int> Finish(const nlohmann::json& job, const Arguments& arguments, Console& console) {
  PENSTOCK_ASSIGN_OR_RETURN(const nlohmann::json metrics, JobMetrics(job));
  const nlohmann::json report = JobReport(job, metrics);
  console.out << job.value("name", "") << ": " << report["status"].get<std::string>() << ", "
              << FormatCount(report["examples"].get<uint64_t>()) << " examples in "
              << FormatSeconds(report["seconds"].get<double>()) << " ("
              << FormatCount(static_cast<uint64_t>(report["examples_per_second"].get<double>()))
              << " a second)\n"
              << MetricsText(metrics);
  if (!arguments.report.empty())
    PENSTOCK_RETURN_IF_ERROR(WriteFileAtomically(AbsolutePath(arguments.report), report.dump(2) + "\n"));
  if (report["status"] == "done") return kExitOk;
  const std::string error =
      job.contains("error") && job["error"].is_string() ? job["error"].get<std::string>() : "";
  return FailedPrecondition("job " + std::to_string(job.value("id", 0)) + " " +
                            report["status"].get<std::string>() + (error.empty() ? "" : ": " + error));
}

}  // namespace

Result<int> RunTrain(const Arguments& arguments, Console& console) {
  InterruptSignals signals;
  PENSTOCK_RETURN_IF_ERROR(CheckReport(arguments.report));
  PENSTOCK_ASSIGN_OR_RETURN(const JobSpec spec, LoadJob(arguments.job_file, arguments.assignments));
  std::unique_ptr<Client> client;  // a cluster that is not there is said before the data are read
  if (!arguments.local) {
    PENSTOCK_ASSIGN_OR_RETURN(client, ConnectTo(arguments.target, "penstock train"));
  }
  PENSTOCK_ASSIGN_OR_RETURN(const nlohmann::json submission, MakeSubmission(spec));
  std::unique_ptr<PrivateCluster> own;
  if (arguments.local) {
    PENSTOCK_ASSIGN_OR_RETURN(own, PrivateCluster::Start(arguments.servers.value_or(1),
                                                         arguments.workers.value_or(1), signals, console));
    PENSTOCK_ASSIGN_OR_RETURN(client, ConnectTo(own->target(), "penstock train"));
  }
  if (signals.Received()) return Cancelled("interrupted before the job was submitted");
  PENSTOCK_ASSIGN_OR_RETURN(const uint32_t id, Admin(*client).SubmitJob(submission));
  console.err << "job " << id << " '" << spec.name << "': " << submission["plan"]["train"]["records"]
              << " examples in " << submission["plan"]["train"]["partitions"] << " partitions, "
              << spec.train.passes << " passes" << Skipped(submission) << std::endl;
  auto job = FollowJob(*client, id, {}, signals, console);
  if (!job.ok()) {
    if (!arguments.local && job.status().code() == Code::kCancelled) SayJobGoesOn(id, arguments, console);
    return job.status();
  }
  return Finish(*job, arguments, console);
}

}  // namespace penstock
