#include "tools/bench/step_loop.h"

#include <algorithm>
#include <chrono>

namespace penstock {

StepLoop::StepLoop(Client& client, TableId table, std::shared_ptr<Producer> producer,
                   std::vector<float> gradient, size_t inflight, uint64_t deadline_ms)
    : client_(client),
      table_(table),
      producer_(std::move(producer)),
      gradient_(std::move(gradient)),
      inflight_(inflight),
      deadline_ms_(deadline_ms) {}

Result<double> StepLoop::Run(const std::vector<std::vector<Key>>& pool, double seconds,
                             const std::function<bool()>& interrupted,
                             const std::function<Status(size_t batch)>& acknowledged) {
  const auto begin = std::chrono::steady_clock::now();
  const auto elapsed = [&] {
    return std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
  };
  uint64_t rows = 0;
  const auto advance = [&](Flight& flight) -> Status {
    ASSIGN_OR_RETURN(const bool done, Advance(pool, flight));
    if (!done) return Status::Ok();
    rows += pool[flight.batch].size();
    return acknowledged(flight.batch);
  };
  std::vector<Flight> flights(inflight_);
  for (Flight& flight : flights) Pull(pool, flight);
  for (size_t turn = 0; elapsed() < seconds; ++turn) {
    if (interrupted()) return Cancelled("interrupted");
    Flight& flight = flights[turn % flights.size()];
    RETURN_IF_ERROR(advance(flight));
    if (!flight.pulling && !flight.pushing) Pull(pool, flight);
  }
  for (Flight& flight : flights) {
    while (flight.pulling || flight.pushing) RETURN_IF_ERROR(advance(flight));
  }
  return static_cast<double>(rows) / elapsed();
}

void StepLoop::Pull(const std::vector<std::vector<Key>>& pool, Flight& flight) {
  flight.batch = next_batch_++ % pool.size();
  flight.pull = client_.Pull({{table_, pool[flight.batch]}}, deadline_ms_);
  flight.pulling = true;
}

Result<bool> StepLoop::Advance(const std::vector<std::vector<Key>>& pool, Flight& flight) {
  if (flight.pulling) {
    auto pulled = flight.pull.get();
    flight.pulling = false;
    if (!pulled.ok()) return pulled.status().Prepend("pull");
    // The gradient is written over the pulled rows, as a model that computes in place would: the memory is
    // there and warm.
    std::vector<float> values = std::move(pulled->values[0]);
    for (size_t i = 0; i < values.size(); i += gradient_.size())
      std::copy(gradient_.begin(), gradient_.end(), values.begin() + static_cast<ptrdiff_t>(i));
    flight.push = client_.Push(*producer_, {{table_, pool[flight.batch], std::move(values)}},
                               {.deadline_ms = deadline_ms_});
    flight.pushing = true;
    return false;
  }
  const auto pushed = flight.push.get();
  flight.pushing = false;
  if (!pushed.ok()) return pushed.status().Prepend("push");
  return true;
}

}  // namespace penstock
