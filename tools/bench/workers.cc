#include "tools/bench/workers.h"

#include <chrono>
#include <nlohmann/json.hpp>
#include <thread>

#include "tools/bench/pinning.h"

namespace penstock {
namespace {

using Clock = std::chrono::steady_clock;

// From an order to the moment that all have it and wait for the beginning.
constexpr auto kLead = std::chrono::milliseconds(20);

}  // namespace

Status Workers::Prepare(const std::function<nlohmann::json(uint32_t)>& order) {
  for (uint32_t i = 0; i < options_.count; ++i) {
    PENSTOCK_ASSIGN_OR_RETURN(WorkerProcess process, WorkerProcess::Start());
    if (options_.pin_from)
      PENSTOCK_RETURN_IF_ERROR(PinProcess(process.pid(), ProcessorAt(*options_.pin_from + i)));
    nlohmann::json prepare = order(i);
    prepare["do"] = "prepare";
    prepare["scheduler"] = options_.scheduler;
    prepare["token_file"] = options_.token_file;
    prepare["spin_us"] = options_.spin_us;
    PENSTOCK_RETURN_IF_ERROR(process.Send(prepare));
    processes_.push_back(std::move(process));
  }
  return ReceiveAll().status();
}

Result<std::vector<nlohmann::json>> Workers::Go(double seconds, nlohmann::json order,
                                                const std::function<Status()>& meanwhile) {
  const auto begin = Clock::now() + kLead;
  order["do"] = "go";
  order["begin_ns"] = std::chrono::duration_cast<std::chrono::nanoseconds>(begin.time_since_epoch()).count();
  order["seconds"] = seconds;
  for (WorkerProcess& process : processes_) PENSTOCK_RETURN_IF_ERROR(process.Send(order));
  if (meanwhile) {
    std::this_thread::sleep_until(
        begin + std::chrono::duration_cast<Clock::duration>(std::chrono::duration<double>(seconds / 4)));
    PENSTOCK_RETURN_IF_ERROR(meanwhile());
  }
  return ReceiveAll();
}

Result<std::vector<nlohmann::json>> Workers::ReceiveAll() {
  std::vector<nlohmann::json> answers;
  for (WorkerProcess& process : processes_) {
    PENSTOCK_ASSIGN_OR_RETURN(nlohmann::json answer, process.Receive(interrupted_));
    answers.push_back(std::move(answer));
  }
  return answers;
}

}  // namespace penstock
