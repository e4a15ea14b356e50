#include "tests/chaos/ledger_job.h"

#include <algorithm>
#include <fstream>
#include <nlohmann/json.hpp>
#include <numeric>

#include "client/admin.h"
#include "common/base/atomic_file.h"
#include "common/base/strings.h"
#include "tests/cluster/training_data.h"

namespace penstock {
namespace {

constexpr uint64_t kRecords = 4000;
constexpr Key kFeatures = 124;  // of the generated data: ids below it

}  // namespace

Status LedgerJob::Begin() {
  const std::string data = cluster_.dir() + "/train.libsvm", test = cluster_.dir() + "/test.libsvm";
  if (!ReadWholeFile(data).ok()) {
    PENSTOCK_RETURN_IF_ERROR(WriteFileAtomically(data, GenerateLibsvm(kRecords, 2)));
    PENSTOCK_RETURN_IF_ERROR(WriteFileAtomically(test, GenerateLibsvm(kRecords, 3)));
  }
  std::vector<std::string> argv{ProgramFolder() + "/penstock", "train",
                                std::string(PENSTOCK_SOURCE_DIR) + "/conf/jobs/" + file_ + ".toml",
                                "--data-dir", cluster_.dir()};
  const auto set = [&](const std::string& assignment) { argv.insert(argv.end(), {"--set", assignment}); };
  set("job.name=" + name_);
  set("data.train=" + data);
  set("data.test=");
  if (file_ == "a9a_logistic") set("model.l2_all=false");
  set("train.ledger=true");
  set("train.evaluate=false");
  set("train.batch_size=8");
  set("train.consistency=" + consistency_);
  set(StrCat("train.passes=", passes_));
  if (consistency_ != "sync") set("data.partitions=8");
  for (const std::string& assignment : set_) set(assignment);
  PENSTOCK_ASSIGN_OR_RETURN(
      ChildProgram train,
      ChildProgram::Start({.argv = argv, .output = Path(".out"), .errors = "", .environment = {}}));
  train_ = std::move(train);
  return Status::Ok();
}

std::string LedgerJob::Output() const {
  auto text = ReadWholeFile(Path(".out"));
  return text.ok() ? *text : "";
}

LedgerJob::Seen LedgerJob::Look() {
  auto job = Admin(cluster_.client()).Inspect("job", name_);
  if (!job.ok()) return {};
  return {.state = job->value("state", ""),
          .id = job->value("id", uint64_t{0}),
          .examples = job->value("examples", uint64_t{0}),
          .pass = std::max(job->value("pass", uint64_t{1}), uint64_t{1}) - 1};
}

Result<uint64_t> LedgerJob::Pass() {
  const Seen seen = Look();
  if (seen.state.empty()) return Unavailable("the scheduler does not show the job");
  return seen.pass;
}

Status LedgerJob::WaitShare(double share, int deadline_ms) {
  const double wanted = share * static_cast<double>(passes_ * kRecords);
  Seen seen;
  bool over = false;
  const bool reached = WaitFor(deadline_ms, [&] {
    seen = Look();
    over = !train_->Running() || seen.state == "done" || seen.state == "failed";
    return over || static_cast<double>(seen.examples) >= wanted;
  });
  if (over) return FailedPrecondition("the job is over: " + seen.state + " " + Output());
  return reached
             ? Status::Ok()
             : DeadlineExceeded(StrCat("the job does not get on, ", seen.examples, " examples: ", Output()));
}

Status LedgerJob::WaitProgress(int deadline_ms) {
  const uint64_t before = Look().examples;
  const bool more = WaitFor(deadline_ms, [&] {
    const Seen seen = Look();
    return seen.examples > before || seen.state == "done" || !train_->Running();
  });
  return more ? Status::Ok() : DeadlineExceeded("the job does not get on: " + Output());
}

std::string LedgerJob::Finish(const Loss& loss, int deadline_ms) {
  const int code = train_->WaitExit(deadline_ms);
  if (code != 0) return StrCat("penstock train ended with ", code, ": ", Output());
  const Seen seen = Look();
  if (seen.examples != passes_ * kRecords)
    return StrCat("the job counts ", seen.examples, " examples of ", passes_ * kRecords);
  const auto job = Admin(cluster_.client()).Inspect("job", name_);
  if (!job.ok()) return job.status().ToString();
  if (std::string wrong = CheckHistory(*job); !wrong.empty()) return wrong;
  return CheckLedger(seen.id, loss);
}

Result<std::vector<float>> LedgerJob::Weights() {
  PENSTOCK_ASSIGN_OR_RETURN(const TableSpec table,
                            cluster_.client().OpenTable(StrCat(name_, ".", Look().id, "/weights")));
  TableKeys keys{table.id, std::vector<Key>(kFeatures)};
  std::iota(keys.keys.begin(), keys.keys.end(), 0);
  PENSTOCK_ASSIGN_OR_RETURN(PullResult pulled, cluster_.client().Pull({std::move(keys)}).get());
  return std::move(pulled.values[0]);
}

// Evaluations are of whole passes: one after the other, each of all records.
std::string LedgerJob::CheckHistory(const nlohmann::json& job) const {
  uint64_t last = 0;
  for (const auto& entry : job.value("history", nlohmann::json::array())) {
    const auto pass = entry.value("pass", uint64_t{0});
    if (pass <= last)
      return StrCat("an evaluation after pass ", pass, " comes behind that after pass ", last);
    last = pass;
    for (const char* data : {"train", "test"}) {
      if (!entry.contains(data) || !entry[data].is_object()) continue;
      const auto examples = entry[data].value("examples", uint64_t{0});
      if (examples != kRecords)
        return StrCat("pass ", pass, " has ", examples, " examples of ", data, " data");
    }
  }
  return "";
}

std::string LedgerJob::CheckLedger(uint64_t id, const Loss& loss) {
  Client& client = cluster_.client();
  const auto table = client.OpenTable(StrCat(name_, ".", id, "/ledger"));
  if (!table.ok()) return table.status().ToString();
  uint64_t rows = 0;
  for (uint64_t pass = 0; pass < passes_; ++pass) {
    TableKeys keys{table->id, std::vector<Key>(kRecords)};
    std::iota(keys.keys.begin(), keys.keys.end(), pass * kRecords);
    const auto pulled = client.Pull({keys}).get();
    if (!pulled.ok()) return pulled.status().ToString();
    const auto& counts = pulled->values[0];
    const bool may_lack = loss.any && pass < loss.pass;
    const auto wrong = std::find_if(counts.begin(), counts.end(),
                                    [&](float count) { return count != 1 && !(may_lack && count == 0); });
    rows += static_cast<uint64_t>(std::count(counts.begin(), counts.end(), 1.0f));
    if (wrong != counts.end())
      return StrCat("pass ", pass, ", example ", wrong - counts.begin(), " was counted ",
                    std::to_string(*wrong), " times");
  }
  const auto stats = Admin(client).Stats({table->id});
  if (!stats.ok()) return stats.status().ToString();
  if (stats->front().rows != rows) return StrCat("the ledger has ", stats->front().rows, " rows, not ", rows);
  return "";
}

}  // namespace penstock
