#include "tools/bench/step_loop.h"

#include <algorithm>
#include <thread>

#include "client/spin_get.h"

namespace penstock {
namespace {

// The gradient in every row of `values`.
void Fill(std::span<const float> gradient, std::vector<float>* values) {
  for (size_t i = 0; i < values->size(); i += gradient.size())
    std::copy(gradient.begin(), gradient.end(), values->begin() + static_cast<ptrdiff_t>(i));
}

}  // namespace

StepLoop::StepLoop(Client& client, const Options& options, std::shared_ptr<Producer> producer,
                   std::vector<float> gradient)
    : client_(client), options_(options), producer_(std::move(producer)), gradient_(std::move(gradient)) {}

void StepLoop::SetGradient(std::vector<float> gradient) {
  gradient_ = std::move(gradient);
  filled_.clear();
}

Result<double> StepLoop::Run(const std::vector<std::vector<Key>>& pool, Clock::time_point begin,
                             double seconds, const Hooks& hooks) {
  const auto end =
      begin + std::chrono::duration_cast<Clock::duration>(std::chrono::duration<double>(seconds));
  uint64_t rows = 0;
  const auto advance = [&](Flight& flight) -> Status {
    PENSTOCK_RETURN_IF_ERROR(Advance(pool, flight, hooks));
    if (flight.flies()) return Status::Ok();
    const auto now = Clock::now();
    if (now <= end) rows += pool[flight.batch].size();
    return hooks.done(flight.batch, now - flight.begun);
  };
  std::this_thread::sleep_until(begin);
  std::vector<Flight> flights(options_.inflight);
  // When the next batch may begin. What was lost by waiting is not made up for.
  Clock::time_point due = begin;
  for (size_t turn = 0; Clock::now() < end; ++turn) {
    if (hooks.interrupted()) return Cancelled("interrupted");
    Flight& flight = flights[turn % flights.size()];
    if (flight.flies()) PENSTOCK_RETURN_IF_ERROR(advance(flight));
    if (flight.flies()) continue;
    const auto now = Clock::now();
    if (due <= now) {
      Begin(pool, flight);
      if (rows_per_second_ <= 0) continue;
      const auto rows = static_cast<double>(pool[flight.batch].size());
      due = now + std::chrono::duration_cast<Clock::duration>(
                      std::chrono::duration<double>(rows / rows_per_second_));
    } else if (std::ranges::none_of(flights, [](const Flight& other) { return other.flies(); })) {
      std::this_thread::sleep_until(std::min(end, due));
    }
  }
  for (Flight& flight : flights) {
    while (flight.flies()) PENSTOCK_RETURN_IF_ERROR(advance(flight));
  }
  return static_cast<double>(rows) / seconds;
}

void StepLoop::Begin(const std::vector<std::vector<Key>>& pool, Flight& flight) {
  flight.batch = next_batch_++ % pool.size();
  flight.begun = Clock::now();
  const std::vector<Key>& keys = pool[flight.batch];
  if (options_.work == Work::kPush) {
    if (filled_.size() != keys.size() * gradient_.size()) {
      filled_.resize(keys.size() * gradient_.size());
      Fill(gradient_, &filled_);
    }
    return Push(keys, filled_, flight);
  }
  flight.values.resize(keys.size() * gradient_.size());
  const TablePullView rows{options_.table, keys, flight.values};
  flight.pull = client_.PullInto(std::span(&rows, 1), {.deadline_ms = options_.deadline_ms});
}

void StepLoop::Push(const std::vector<Key>& keys, std::span<const float> values, Flight& flight) {
  const TablePushView rows{options_.table, keys, values};
  flight.push = client_.Push(*producer_, std::span(&rows, 1),
                             {.deadline_ms = options_.deadline_ms, .combine = options_.combine});
}

Status StepLoop::Advance(const std::vector<std::vector<Key>>& pool, Flight& flight, const Hooks& hooks) {
  const uint64_t spin_us = client_.options().spin_us;
  if (flight.push.valid()) return SpinGet(std::move(flight.push), spin_us).status().Prepend("push");
  PENSTOCK_RETURN_IF_ERROR(SpinGet(std::move(flight.pull), spin_us).Prepend("pull"));
  if (hooks.pulled) PENSTOCK_RETURN_IF_ERROR(hooks.pulled(flight.batch, flight.values));
  if (options_.work == Work::kPull) return Status::Ok();
  // The gradient is written over the pulled rows, as a model that computes in place would: the memory is
  // there and warm.
  Fill(gradient_, &flight.values);
  Push(pool[flight.batch], flight.values, flight);
  return Status::Ok();
}

}  // namespace penstock
