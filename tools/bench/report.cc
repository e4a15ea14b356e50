#include "tools/bench/report.h"

#include <cstdio>
#include <nlohmann/json.hpp>

#include "common/base/strings.h"

namespace penstock {
namespace {

std::string Text(const char* format, double value) {
  char text[48];
  std::snprintf(text, sizeof text, format, value);
  return text;
}

// Three significant digits, without an exponent.
std::string Short(double value) { return Text(value >= 100 ? "%.0f" : value >= 10 ? "%.1f" : "%.2f", value); }

Result<nlohmann::json> At(const nlohmann::json& report, const std::string& pointer) {
  const nlohmann::json::json_pointer at(pointer);
  if (report.contains(at)) return report.at(at);
  return NotFound("the report has no " + pointer);
}

double Median(const nlohmann::json& figure) {
  return figure.is_object() ? figure.at("median").get<double>() : figure.get<double>();
}

std::string Figure(const nlohmann::json& figure, double unit, const std::string& unit_name) {
  if (!figure.is_object()) return StrCat(Short(figure.get<double>() / unit), " ", unit_name);
  return StrCat(Short(figure.at("min").get<double>() / unit), " / ", Short(Median(figure) / unit), " / ",
                Short(figure.at("max").get<double>() / unit), " ", unit_name);
}

std::vector<std::string> Joined(std::vector<std::string> words, const std::vector<std::string>& more) {
  words.insert(words.end(), more.begin(), more.end());
  return words;
}

const std::vector<std::string> kQuick = {"--seconds", "0.2", "--memory-lag-ms", "100", "--repeats", "1"};
const std::vector<std::string> kQuickRows =
    Joined(kQuick, {"--rows", "5000", "--keys", "100", "--batches", "50"});

ReportRow Step(const std::string& work, std::vector<std::string> options, double target) {
  ReportRow row{.work = work,
                .arguments = Joined({"step"}, options),
                .quick = Joined(Joined({"step"}, options), kQuickRows),
                .figure = "/results/0/rows_per_second",
                .unit = 1e6,
                .unit_name = "M rows/s",
                .ratio = "/results/0/ratio_to_limit",
                .target = target};
  row.beside = "/results/1/rows_per_second";
  row.beside_name = "log and fold off";
  return row;
}

void AddRows(std::vector<ReportRow>* rows) {
  rows->push_back(Step("step of 16 floats, 1 server + 1 worker", {"--dim", "16"}, 0.36));
  rows->push_back(Step("step of 64 floats, 1 + 1", {"--dim", "64"}, 0.43));
  rows->push_back(Step("step of 1 float, 1 + 1", {"--dim", "1"}, 0.11));
  rows->push_back(Step("step of 16 floats, 2 servers + 2 workers",
                       {"--dim", "16", "--servers", "2", "--workers", "2"}, 0.50));
  rows->push_back(
      Step("step of 64 floats, 2 + 2", {"--dim", "64", "--servers", "2", "--workers", "2"}, 0.60));
  ReportRow push = Step("push of 64 floats with AdaGrad, 8 in flight",
                        {"--dim", "64", "--optimizer", "adagrad", "--inflight", "8"}, 0.45);
  push.arguments[0] = push.quick[0] = "push";
  rows->push_back(push);
}

void AddDense(std::vector<ReportRow>* rows) {
  for (const int i : {0, 1}) {
    rows->push_back({.work = StrCat("dense tensor of 64 MiB, ", i == 0 ? "push" : "pull", ", 4 in flight"),
                     .arguments = {"dense", "--mib", "64"},
                     .quick = Joined({"dense", "--mib", "4"}, kQuick),
                     .figure = StrCat("/results/", i, "/payload_bytes_per_second"),
                     .unit = 1e9,
                     .unit_name = "GB/s",
                     .ratio = StrCat("/results/", i, "/ratio_to_limit"),
                     .target = 0.80,
                     .beside = i == 0 ? "/results/2/payload_bytes_per_second" : "",
                     .beside_name = "log and fold off"});
  }
}

void AddLatency(std::vector<ReportRow>* rows) {
  for (const bool spin : {false, true}) {
    const std::string result = spin ? "/results/2" : "/results/0";
    rows->push_back({.work = StrCat("pull of one row, ", spin ? "spinning" : "sleeping",
                                    ", p50 over that of the same ping-pong"),
                     .arguments = {"latency"},
                     .quick = Joined({"latency", "--rows", "1000"}, kQuick),
                     .figure = result + "/p50_us",
                     .unit = 1,
                     .unit_name = "us",
                     .ratio = result + "/ratio_to_pingpong",
                     .target = spin ? 5 : 1.6,
                     .at_most = true,
                     .beside = result + "/p999_us",
                     .beside_name = "p99.9"});
  }
}

void AddRatios(std::vector<ReportRow>* rows) {
  for (const bool skewed : {false, true}) {
    const std::vector<std::string> skew =
        skewed ? std::vector<std::string>{"--skew", "zipf:1.05"} : std::vector<std::string>{};
    rows->push_back({.work = StrCat("step of 64 floats at `logged` over the same at `memory`, ",
                                    skewed ? "Zipf 1.05" : "uniform"),
                     .arguments = Joined({"logged", "--dim", "64"}, skew),
                     .quick = Joined(Joined({"logged", "--dim", "64", "--pairs", "1"}, skew),
                                     {"--seconds", "0.2", "--memory-lag-ms", "100", "--rows", "5000",
                                      "--keys", "100", "--batches", "50"}),
                     .figure = "/results/0/first_rows_per_second",
                     .unit = 1e6,
                     .unit_name = "M rows/s",
                     .ratio = "/results/0/ratio",
                     .target = skewed ? 0.55 : 0.45,
                     .beside = "/results/0/second_rows_per_second",
                     .beside_name = "at `memory`"});
  }
  rows->push_back({.work = "table of 10M rows over one of 1M rows, step of 16 floats",
                   .arguments = {"large"},
                   .quick = {"large", "--rows", "20000", "--over", "5000", "--keys", "100", "--batches", "50",
                             "--pairs", "1", "--seconds", "0.2", "--memory-lag-ms", "100"},
                   .figure = "/results/0/first_rows_per_second",
                   .unit = 1e6,
                   .unit_name = "M rows/s",
                   .ratio = "/results/0/ratio",
                   .target = 0.75,
                   .beside = "/results/0/second_rows_per_second",
                   .beside_name = "1M rows"});
}

void AddServer(std::vector<ReportRow>* rows) {
  rows->push_back({.work = "resident memory of 10M rows of 16 floats with AdaGrad, after a fold, over the "
                           "bytes of values and slots",
                   .arguments = {"resident"},
                   .quick = {"resident", "--rows", "20000", "--repeats", "1"},
                   .figure = "/results/0/resident_bytes",
                   .unit = 1e9,
                   .unit_name = "GB",
                   .ratio = "/results/0/ratio_to_values",
                   .target = 1.35,
                   .at_most = true,
                   .pinned = false});
  rows->push_back({.work = "restart with 1 GiB of unfolded log: replay",
                   .arguments = {"recover"},
                   .quick = {"recover", "--mib", "8", "--rows", "20000", "--repeats", "1"},
                   .figure = "/results/0/replay_bytes_per_second",
                   .unit = 1e9,
                   .unit_name = "GB/s",
                   .ratio = "/results/0/replay_bytes_per_second",
                   .target = 0.5e9,
                   .pinned = false,
                   .target_name = "0.5 GB/s"});
  rows->push_back(
      {.work =
           "restart with 10M rows and 256 MiB of unfolded log: from the kill to the first pull, less replay",
       .arguments = {"recover", "--rows", "10000000", "--dim", "16", "--mib", "256"},
       .quick = {"recover", "--mib", "8", "--rows", "20000", "--repeats", "1"},
       .figure = "/results/0/beyond_replay_seconds",
       .unit = 1,
       .unit_name = "s",
       .ratio = "/results/0/beyond_replay_seconds",
       .target = 2,
       .at_most = true,
       .pinned = false,
       .target_name = "2 s"});
}

void AddTraining(const std::string& job, std::vector<ReportRow>* rows) {
  const char* const kFormats[] = {"libsvm", "clicklog", "csv"};
  for (size_t i = 0; i < std::size(kFormats); ++i) {
    rows->push_back({.work = StrCat("reader of ", kFormats[i], ", one core"),
                     .arguments = {"parse"},
                     .quick = {"parse", "--mib", "1", "--repeats", "1"},
                     .figure = StrCat("/results/", i, "/bytes_per_second"),
                     .unit = 1e6,
                     .unit_name = "MB/s",
                     .ratio = StrCat("/results/", i, "/bytes_per_second"),
                     .target = 250e6,
                     .pinned = false,
                     .target_name = "250 MB/s"});
  }
  struct Model {
    const char* name;
    double target;
  };
  for (const Model& model : {Model{"linear", 400'000}, Model{"deep", 90'000}}) {
    rows->push_back(
        {.work = StrCat("training of `", model.name, "` on the generated click log, 1 + 1"),
         .arguments = {"train", "--model", model.name},
         .quick = {"train", "--model", model.name, "--records", "20000", "--passes", "1", "--repeats", "1"},
         .figure = "/results/0/examples_per_second",
         .unit = 1e3,
         .unit_name = "k examples/s",
         .ratio = "/results/0/examples_per_second",
         .target = model.target,
         .target_name = StrCat(static_cast<int>(model.target / 1000), " k/s"),
         .beside = "/results/0/waiting_share",
         .beside_name = "of the workers' time waiting"});
  }
  if (job.empty()) return;
  const std::vector<std::string> words = {"train", "--job", job, "--servers", "2", "--workers", "2"};
  rows->push_back({.work = "training of " + job + ", 2 + 2",
                   .arguments = words,
                   .quick = Joined(words, {"--passes", "1", "--repeats", "1"}),
                   .figure = "/results/0/examples_per_second",
                   .unit = 1e3,
                   .unit_name = "k examples/s",
                   .ratio = "/results/0/examples_per_second",
                   .target = 60'000,
                   .target_name = "60 k/s",
                   .beside = "/results/0/waiting_share",
                   .beside_name = "of the workers' time waiting"});
}

}  // namespace

std::vector<ReportRow> AcceptanceRows(const std::string& job) {
  std::vector<ReportRow> rows;
  AddRows(&rows);
  AddDense(&rows);
  AddLatency(&rows);
  AddRatios(&rows);
  AddServer(&rows);
  AddTraining(job, &rows);
  return rows;
}

Result<ReportLine> MakeLine(const ReportRow& row, const nlohmann::json& report) {
  ReportLine line{
      .work = row.work, .command = CommandOf(row.arguments), .figure = {}, .ratio = {}, .target = {}};
  PENSTOCK_ASSIGN_OR_RETURN(const nlohmann::json figure, At(report, row.figure));
  PENSTOCK_ASSIGN_OR_RETURN(const nlohmann::json ratio, At(report, row.ratio));
  line.figure = Figure(figure, row.unit, row.unit_name);
  // What stands beside may be left out by an option.
  if (const auto beside = row.beside.empty() ? NotFound("") : At(report, row.beside); beside.ok()) {
    const bool share = !beside->is_object();
    StrAppend(&line.figure, "; ",
              share ? Text("%.2f", beside->get<double>()) : Short(Median(*beside) / row.unit), " ",
              row.beside_name);
  }
  if (row.ratio != row.figure) line.ratio = Text("%.3f", Median(ratio));
  line.target = StrCat(row.at_most ? "at most " : "",
                       row.target_name.empty() ? Text("%.2f", row.target) : row.target_name);
  line.reached = row.at_most ? Median(ratio) <= row.target : Median(ratio) >= row.target;
  return line;
}

std::string CommandOf(const std::vector<std::string>& arguments) {
  return "penstock bench " + StrJoin(arguments, " ");
}

std::string ReportMarkdown(const nlohmann::json& machine, const nlohmann::json& limit,
                           const std::vector<ReportLine>& lines, const std::string& options) {
  const auto gigabytes = [](const nlohmann::json& bytes) { return Short(bytes.get<double>() / 1e9); };
  std::string text = StrCat(
      "# Benchmarks\n\nWritten by `penstock bench all", options, " --report docs/benchmarks.md`",
      " with the release preset. Every row is a command that can be run alone; it brings a cluster of its "
      "own, "
      "measures\nthe limits of the machine in the same run, and gives the least, the median and the greatest "
      "of "
      "its repeats. Log and fold are on, the time measured covers\ntwice `server.memory_lag_ms`, every "
      "repeat "
      "has a fold begun in it, and ends with every row read back and compared with what was acknowledged.\n"
      "Ratios are of medians; those of payloads (keys and values, both ways) are over the best raw TCP "
      "bandwidth of the same run.\n\n",
      "Machine: ", machine.at("processor").get<std::string>(), ", ", machine.at("cpus").get<int>(),
      " processors, ", gigabytes(machine.at("memory_bytes")), " GB of memory, ",
      machine.at("kernel").get<std::string>(), ". Limits in the first row's run: TCP on loopback ",
      gigabytes(limit.at("tcp_bytes_per_second")), " GB/s, ping-pong of 64 bytes ",
      Short(limit.at("pingpong_p50_us").get<double>()), " us, spinning ",
      Short(limit.at("pingpong_spin_p50_us").get<double>()), " us, memcpy ",
      gigabytes(limit.at("memcpy_bytes_per_second")), " GB/s.\n\n",
      "| work | command | min / median / max | ratio | to reach | reached |\n| --- | --- | --- | --- | --- | "
      "--- "
      "|\n");
  for (const ReportLine& line : lines) {
    StrAppend(&text, "| ", line.work, " | `", line.command, "` | ",
              line.error.empty() ? line.figure : "not measured: " + line.error, " | ", line.ratio, " | ",
              line.target, " | ",
              !line.error.empty() ? "-"
              : line.reached      ? "yes"
                                  : "no",
              " |\n");
  }
  return text;
}

}  // namespace penstock
