// penstock bench: measures the machine, and clusters on it.
//
// Every command gives one report: {"machine", "limit", "results"}. The limit is measured first, before there
// are threads and a cluster.
#include <unistd.h>

#include <map>
#include <nlohmann/json.hpp>

#include "tools/bench/bench_worker.h"
#include "tools/cli/bench_measure.h"
#include "tools/cli/bench_text.h"
#include "tools/cli/commands.h"
#include "tools/cli/exit_code.h"
#include "tools/cli/print.h"

namespace penstock {
namespace {

using Measurement = Result<nlohmann::json> (*)(BenchContext&);

Measurement MeasurementOf(const std::string& command) {
  static const std::map<std::string, Measurement> kMeasurements = {
      {"bench limit", [](BenchContext&) -> Result<nlohmann::json> { return nlohmann::json::array(); }},
      {"bench pull", MeasureRows},
      {"bench push", MeasureRows},
      {"bench step", MeasureRows},
      {"bench dense", MeasureDense},
      {"bench latency", MeasureLatency},
      {"bench logged", MeasureLogged},
      {"bench large", MeasureLarge},
      {"bench store", MeasureStore},
      {"bench log", MeasureLog},
      {"bench memory", MeasureMemory},
      {"bench resident", MeasureResident},
      {"bench recover", MeasureRecover},
      {"bench move", MeasureMove},
      {"bench train", MeasureTrain},
      {"bench parse", MeasureParse}};
  return kMeasurements.at(command);
}

}  // namespace

Status CheckBenchArguments(const Arguments& a) {
  const std::string& command = a.command;
  if (command == "bench dense") {
    DenseOptions pushes = a.dense;
    pushes.work = Work::kPush;
    return CheckDenseOptions(pushes);
  }
  if (command == "bench memory") return CheckMemoryOptions(a.memory);
  if (command == "bench log") return CheckLogOptions(a.log);
  return CheckWorkloadOptions(a.workload);
}

Result<int> RunBench(const Arguments& arguments, Console& console) {
  if (arguments.command == "bench worker") {
    RunBenchWorker(STDIN_FILENO, STDOUT_FILENO);
    return kExitOk;
  }
  if (arguments.command == "bench all") return RunBenchAll(arguments, console);
  PENSTOCK_RETURN_IF_ERROR(CheckBenchArguments(arguments));
  PENSTOCK_ASSIGN_OR_RETURN(const Limit limit,
                            MeasureLimit({.seconds = arguments.limit_seconds, .pin = arguments.pin}));
  InterruptSignals signals;
  BenchContext context{arguments, console, signals, limit};
  PENSTOCK_ASSIGN_OR_RETURN(const nlohmann::json results, MeasurementOf(arguments.command)(context));
  const nlohmann::json report = {
      {"machine", DescribeMachine()}, {"limit", LimitJson(limit)}, {"results", results}};
  console.out << (arguments.output == OutputFormat::kJson ? RenderJson(report) : BenchText(report));
  return kExitOk;
}

}  // namespace penstock
