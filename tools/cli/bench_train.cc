// bench train and parse: training data on their way into a model.
#include <chrono>
#include <nlohmann/json.hpp>

#include "client/admin.h"
#include "common/base/atomic_file.h"
#include "common/base/strings.h"
#include "data/data_plan.h"
#include "tools/bench/metrics_page.h"
#include "tools/bench/training_text.h"
#include "tools/bench/workload.h"
#include "tools/cli/bench_cluster.h"
#include "tools/cli/bench_measure.h"
#include "tools/cli/follow.h"
#include "tools/cli/job_metrics.h"
#include "tools/cli/job_submission.h"

namespace penstock {
namespace {

using Clock = std::chrono::steady_clock;
using Results = nlohmann::json;  // an array, as in the report

// A folder for made-up data.
class DataFolder {
 public:
  static Result<std::unique_ptr<DataFolder>> Make() {
    PENSTOCK_ASSIGN_OR_RETURN(const std::string path, MakeTemporaryFolder());
    return std::make_unique<DataFolder>(path);
  }
  explicit DataFolder(const std::string& path) : path_(path) {}
  ~DataFolder() { RemoveFolder(path_); }
  std::string Of(const std::string& name) const { return path_ + "/" + name; }

 private:
  const std::string path_;
};

// The job of `bench train` on the click log at `data`.
std::string TrainJob(const std::string& model, const std::string& data) {
  const std::string shape = model == "fm"     ? "factors = 16\n"
                            : model == "deep" ? "embedding_dim = 16\nhidden = [64, 32]\n"
                                              : "";
  return StrCat("[job]\nname = \"bench_", model, "\"\n[data]\nformat = \"clicklog\"\ntrain = \"", data,
                "\"\nhash_buckets = 1048576\n[model]\nkind = \"", model, "\"\nloss = \"logistic\"\n", shape,
                "[optimizer]\nkind = \"adagrad\"\nlearning_rate = 0.02\n[train]\nbatch_size = 4096\n");
}

Result<double> WaitedSeconds(const BenchCluster& cluster, uint32_t workers) {
  double sum = 0;
  for (uint32_t worker = 1; worker <= workers; ++worker) {
    const std::string address = cluster.processes().paths().node(StrCat("worker-", worker)) + "/http_address";
    PENSTOCK_ASSIGN_OR_RETURN(const double waited, ReadMetric(address, "penstock_worker_wait_seconds_total"));
    sum += waited;
  }
  return sum;
}

// Trains the job `repeats` times in one cluster.
Result<nlohmann::json> MeasureJob(BenchContext& context, const std::string& model, const JobSpec& job) {
  const Arguments& a = context.arguments;
  const uint32_t workers = a.workers.value_or(1);
  PENSTOCK_ASSIGN_OR_RETURN(const nlohmann::json submission, MakeSubmission(job));
  const auto records = submission.at("plan").at("train").at("records").get<uint64_t>();
  PENSTOCK_ASSIGN_OR_RETURN(
      const auto cluster,
      BenchCluster::Start({}, {.servers = a.servers.value_or(1), .workers = workers, .pin = a.pin},
                          context.signals, context.console));
  std::vector<double> rates, shares;
  for (uint32_t i = 0; i < a.workload.repeats; ++i) {
    PENSTOCK_ASSIGN_OR_RETURN(const double waited, WaitedSeconds(*cluster, workers));
    PENSTOCK_ASSIGN_OR_RETURN(const uint32_t id, Admin(cluster->client()).SubmitJob(submission));
    PENSTOCK_ASSIGN_OR_RETURN(const nlohmann::json done,
                              FollowJob(cluster->client(), id, {}, context.signals, context.console));
    PENSTOCK_ASSIGN_OR_RETURN(const nlohmann::json metrics, JobMetrics(done));
    const nlohmann::json report = JobReport(done, metrics);
    if (report.at("status") != "done")
      return FailedPrecondition(
          StrCat("the job ended as ", report.at("status").get<std::string>(), ": ", done.value("error", "")));
    const uint64_t examples = records * job.train.passes;
    if (report.at("examples").get<uint64_t>() != examples)
      return DataLoss(
          StrCat("the job counts ", report.at("examples").get<uint64_t>(), " examples of ", examples));
    const double rate = report.at("examples_per_second").get<double>();
    rates.push_back(rate);
    PENSTOCK_ASSIGN_OR_RETURN(const double waited_now, WaitedSeconds(*cluster, workers));
    shares.push_back((waited_now - waited) / (static_cast<double>(examples) / rate * workers));
  }
  return nlohmann::json{{"work", "train " + model},
                        {"job", job.name},
                        {"servers", a.servers.value_or(1)},
                        {"workers", workers},
                        {"batch_size", job.train.batch_size},
                        {"consistency", job.train.consistency},
                        {"records", records},
                        {"passes", job.train.passes},
                        {"repeats", a.workload.repeats},
                        {"checked", true},
                        {"examples_per_second", SpreadJson(Spread::Of(std::move(rates)))},
                        {"waiting_share", Spread::Of(std::move(shares)).median}};
}

}  // namespace

Result<nlohmann::json> MeasureTrain(BenchContext& context) {
  const Arguments& a = context.arguments;
  std::vector<std::string> overrides = {"train.evaluate=false"};
  if (a.passes || a.job_file.empty()) overrides.push_back(StrCat("train.passes=", a.passes.value_or(2)));
  Results results = Results::array();
  if (!a.job_file.empty()) {
    PENSTOCK_ASSIGN_OR_RETURN(const JobSpec job, LoadJob(a.job_file, overrides));
    PENSTOCK_ASSIGN_OR_RETURN(const nlohmann::json result, MeasureJob(context, job.name, job));
    results.push_back(result);
    return results;
  }
  PENSTOCK_ASSIGN_OR_RETURN(const auto folder, DataFolder::Make());
  const std::string data = folder->Of("clicks.tsv");
  PENSTOCK_RETURN_IF_ERROR(WriteTrainingText(data, "clicklog", 0, a.records, a.workload.seed).status());
  for (const std::string model : {"linear", "fm", "deep"}) {
    if (!a.model.empty() && model != a.model) continue;
    const std::string file = folder->Of(model + ".toml");
    PENSTOCK_RETURN_IF_ERROR(WriteFileAtomically(file, TrainJob(model, data)));
    PENSTOCK_ASSIGN_OR_RETURN(const JobSpec job, LoadJob(file, overrides));
    PENSTOCK_ASSIGN_OR_RETURN(const nlohmann::json result, MeasureJob(context, model, job));
    results.push_back(result);
  }
  return results;
}

Result<nlohmann::json> MeasureParse(BenchContext& context) {
  const Arguments& a = context.arguments;
  PENSTOCK_ASSIGN_OR_RETURN(const auto folder, DataFolder::Make());
  Results results = Results::array();
  for (const std::string format : {"libsvm", "clicklog", "csv", "ratings"}) {
    const std::string data = folder->Of(format);
    PENSTOCK_ASSIGN_OR_RETURN(const uint64_t records,
                              WriteTrainingText(data, format, a.mib << 20, 0, a.workload.seed));
    const std::string job_text =
        StrCat("[job]\nname = \"bench\"\n[data]\nformat = \"", format, "\"\ntrain = \"", data, "\"\n",
               format == "csv" ? StrCat("columns = ", kCsvColumns, "\n") : "", "[model]\nkind = \"",
               format == "ratings" ? "mf" : "linear", "\"\nloss = \"",
               format == "ratings" ? "squared" : "logistic", "\"\n");
    PENSTOCK_RETURN_IF_ERROR(WriteFileAtomically(data + ".toml", job_text));
    PENSTOCK_ASSIGN_OR_RETURN(const JobSpec job, LoadJob(data + ".toml", {}));
    PENSTOCK_ASSIGN_OR_RETURN(const auto dataset, OpenJobData(job, JobPlan(), DataRole::kTrain));
    PENSTOCK_ASSIGN_OR_RETURN(const DataIndex index, dataset->Index());
    const auto pieces = static_cast<uint32_t>(std::max<uint64_t>(1, dataset->size_bytes() >> 24));
    std::vector<double> rates;
    for (uint32_t i = 0; i < a.workload.repeats; ++i) {
      if (context.Interrupted()) return Cancelled("interrupted");
      uint64_t read = 0;
      const auto begin = Clock::now();
      for (const PartitionRange& range : index.Cut(pieces)) {
        PENSTOCK_ASSIGN_OR_RETURN(const Examples examples, dataset->ReadPartition(range));
        read += examples.size();
      }
      const double seconds = std::chrono::duration<double>(Clock::now() - begin).count();
      if (read != records) return DataLoss(StrCat(format, ": ", read, " records were read of ", records));
      rates.push_back(static_cast<double>(dataset->size_bytes()) / seconds);
    }
    results.push_back({{"work", "parse " + format},
                       {"bytes", dataset->size_bytes()},
                       {"records", records},
                       {"repeats", a.workload.repeats},
                       {"checked", true},
                       {"bytes_per_second", SpreadJson(Spread::Of(std::move(rates)))}});
  }
  return results;
}

}  // namespace penstock
