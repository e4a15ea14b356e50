// penstock evaluate: the metrics of a job, or of its weights as they are now on other data.
#include <nlohmann/json.hpp>
#include <string_view>

#include "client/admin.h"
#include "data/data_plan.h"
#include "data/minibatch_plan.h"
#include "job/job_table_names.h"
#include "model/model.h"
#include "tools/cli/commands.h"
#include "tools/cli/exit_code.h"
#include "tools/cli/job_metrics.h"
#include "tools/cli/print.h"
#include "tools/cli/target.h"
#include "tools/launch/data_dir.h"

namespace penstock {
namespace {

constexpr uint32_t kBatch = 1024;
constexpr uint64_t kPullDeadlineMs = 30000;

struct TrainedModel {
  JobSpec spec;
  JobPlan plan;
  std::unique_ptr<Model> model;
  std::vector<TableSpec> tables;
};

Result<TrainedModel> OpenModel(Client& client, const nlohmann::json& job) {
  TrainedModel trained;
  try {
    PENSTOCK_ASSIGN_OR_RETURN(trained.spec, JobFromJson(job.at("spec").at("options")));
    trained.plan = job.at("spec").at("data_plan").get<JobPlan>();
    PENSTOCK_ASSIGN_OR_RETURN(trained.model, CreateModel(trained.spec, trained.plan.shape()));
    // Of a job that runs, the weights as they are.
    const bool best =
        trained.spec.train.keep_best && job.at("state") == "done" && !job.at("best_pass").is_null();
    const auto name = job.at("name").get<std::string>();
    const auto id = job.at("id").get<uint32_t>();
    for (const TableSpec& wanted : trained.model->Tables()) {
      PENSTOCK_ASSIGN_OR_RETURN(TableSpec table,
                                client.OpenTable(best ? BestTableName(name, id, wanted.name)
                                                      : JobTableName(name, id, wanted.name)));
      trained.tables.push_back(std::move(table));
    }
  } catch (const nlohmann::json::exception& e) {
    return Internal(std::string("what the scheduler says of the job cannot be understood: ") + e.what());
  }
  return trained;
}

Result<Evaluation> EvaluateExamples(Client& client, TrainedModel& trained, const Examples& examples) {
  const MinibatchPlan plan(kBatch, /*shuffle=*/false, 0, 0, 0, examples.size());
  Evaluation evaluation;
  Batch batch;
  PreparedBatch prepared;
  for (uint64_t k = 0; k < plan.count(); ++k) {
    examples.Gather(plan.Indices(k), &batch);
    trained.model->Prepare(batch, Purpose::kEvaluate, &prepared);
    std::vector<TableKeys> keys;
    for (size_t t = 0; t < trained.tables.size(); ++t)
      keys.push_back({trained.tables[t].id, prepared.keys[t]});
    PENSTOCK_ASSIGN_OR_RETURN(const PullResult pulled,
                              client.Pull(keys, {.deadline_ms = kPullDeadlineMs}).get());
    trained.model->Evaluate(batch, prepared, TableValues(pulled.values.begin(), pulled.values.end()),
                            &evaluation);
  }
  return evaluation;
}

Result<nlohmann::json> EvaluateFile(Client& client, const nlohmann::json& job, const Arguments& arguments,
                                    Console& console) {
  PENSTOCK_ASSIGN_OR_RETURN(TrainedModel trained, OpenModel(client, job));
  const std::string& format = trained.spec.data.format;
  if (!arguments.labels.empty() && format != "idx")
    return InvalidArgument("--labels has a meaning only with idx data, those of the job are '" + format +
                           "'");
  trained.spec.data.test = AbsoluteFiles(arguments.data);
  trained.spec.data.test_labels = arguments.labels.empty() ? "" : AbsolutePath(arguments.labels);
  auto data = OpenJobData(trained.spec, trained.plan, DataRole::kTest);
  if (!data.ok()) {
    constexpr std::string_view kOption = "data.test: ";  // whose place the files take
    const std::string message = data.status().message();
    return FailedPrecondition("--data: " + message.substr(message.starts_with(kOption) ? kOption.size() : 0));
  }
  if ((*data)->dense() &&
      (*data)->features() != job["spec"]["data_plan"]["train"]["features"].get<uint64_t>()) {
    return FailedPrecondition(arguments.data + " has " + std::to_string((*data)->features()) +
                              " features an example, the job's data has " +
                              job["spec"]["data_plan"]["train"]["features"].dump());
  }
  // Piece by piece, so that a file may be larger than memory.
  constexpr uint64_t kPieceBytes = 64 << 20;
  auto index = (*data)->Index();
  if (!index.ok()) return FailedPrecondition(index.status().message());
  Evaluation all;
  RecordTally tally;
  for (const PartitionRange& piece :
       index->Cut(static_cast<uint32_t>((*data)->size_bytes() / kPieceBytes + 1))) {
    auto examples = (*data)->ReadPartition(piece);
    if (!examples.ok()) return FailedPrecondition(examples.status().message());
    PENSTOCK_ASSIGN_OR_RETURN(const Evaluation part, EvaluateExamples(client, trained, *examples));
    all.Merge(part);
    tally.Add(*examples);
  }
  if (const Status sound = tally.Check(trained.spec, arguments.data); !sound.ok())
    return FailedPrecondition(sound.message());
  if (tally.bad > 0)
    console.err << "penstock: skipped records: " << tally.bad << ", the first: " << tally.first_bad << "\n";
  if (all.examples() == 0) return FailedPrecondition(arguments.data + " has no examples");
  // The regulariser belongs to the training objective, so there is no objective of other data.
  return nlohmann::json{{"data", all.Results(Objective{.loss = trained.model->loss(), .known = false})}};
}

}  // namespace

Result<int> RunEvaluate(const Arguments& arguments, Console& console) {
  PENSTOCK_ASSIGN_OR_RETURN(auto client, ConnectTo(arguments.target, "penstock evaluate"));
  PENSTOCK_ASSIGN_OR_RETURN(const nlohmann::json job,
                            Admin(*client).Inspect("job", std::to_string(arguments.id)));
  auto metrics = arguments.data.empty() ? JobMetrics(job) : EvaluateFile(*client, job, arguments, console);
  if (!metrics.ok()) return metrics.status();
  if (metrics->empty()) {
    return FailedPrecondition("job " + std::to_string(arguments.id) + " has not been evaluated" +
                              (job.value("state", "") == "running" ? " yet" : "") +
                              "; --data FILE evaluates its weights as they are");
  }
  console.out << (arguments.output == OutputFormat::kJson ? RenderJson(*metrics) : MetricsText(*metrics));
  return kExitOk;
}

}  // namespace penstock
