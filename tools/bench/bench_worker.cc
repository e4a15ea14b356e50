#include "tools/bench/bench_worker.h"

#include <unistd.h>

#include <cstdio>
#include <nlohmann/json.hpp>

namespace penstock {
namespace {

// Longer than any stall of a server that is to be measured and not to be reported as an error.
constexpr uint64_t kDeadlineMs = 120'000;

class BenchWorker {
 public:
  Result<nlohmann::json> Do(const nlohmann::json& order) {
    const std::string what = order.at("do").get<std::string>();
    if (what == "prepare") return Prepare(order);
    if (what != "go" || task_ == nullptr) return InvalidArgument("bench worker: '" + what + "' out of turn");
    const StepLoop::Clock::time_point begin{std::chrono::nanoseconds(order.at("begin_ns").get<int64_t>())};
    return task_->Go(begin, order.at("seconds").get<double>(), order);
  }

 private:
  Result<nlohmann::json> Prepare(const nlohmann::json& order) {
    PENSTOCK_ASSIGN_OR_RETURN(client_,
                              Client::Connect({.scheduler = order.at("scheduler").get<std::string>(),
                                               .token_file = order.at("token_file").get<std::string>(),
                                               .name = "bench worker",
                                               .deadline_ms = kDeadlineMs,
                                               .attempt_timeout_ms = kDeadlineMs,
                                               .spin_us = order.at("spin_us").get<uint64_t>()}));
    const bool dense = order.at("kind") == "dense";
    PENSTOCK_ASSIGN_OR_RETURN(task_, dense ? MakeDenseTask(*client_, order) : MakeRowsTask(*client_, order));
    return nlohmann::json::object();
  }

  std::unique_ptr<Client> client_;
  std::unique_ptr<BenchTask> task_;  // uses the client
};

Result<nlohmann::json> Answer(BenchWorker& worker, const std::string& line) {
  try {
    return worker.Do(nlohmann::json::parse(line));
  } catch (const nlohmann::json::exception& e) {
    return InvalidArgument(std::string("bench worker: ") + e.what());
  }
}

}  // namespace

void RunBenchWorker(int in, int out) {
  BenchWorker worker;
  std::FILE* orders = ::fdopen(in, "r");
  char* line = nullptr;
  size_t size = 0;
  for (ssize_t n; (n = ::getline(&line, &size, orders)) > 0;) {
    const auto answer = Answer(worker, std::string(line, static_cast<size_t>(n)));
    nlohmann::json json;
    if (answer.ok()) {
      json = *answer;
    } else {
      json = {{"error", {{"code", answer.status().code()}, {"message", answer.status().message()}}}};
    }
    const std::string text = json.dump() + "\n";
    if (::write(out, text.data(), text.size()) != static_cast<ssize_t>(text.size())) break;
  }
  std::free(line);
  std::fclose(orders);
}

}  // namespace penstock
