// CountingLoad: threads that push +1 to random rows of an `add` table and keep account of what was
// acknowledged.
//
// Values are whole numbers, so the sums are exact; a final error leaves a push's increments uncertain, each 0
// or 1 times. It may be stopped, checked and started again; the account goes on.
#pragma once

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdint>
#include <functional>
#include <mutex>
#include <numeric>
#include <random>
#include <string>
#include <thread>
#include <vector>

#include "client/client.h"

namespace penstock {

class CountingLoad {
 public:
  struct Options {
    std::string table = "counters";
    uint32_t rows = 1000;
    uint32_t keys = 20;  // a push
    uint32_t dim = 1;
    int threads = 2;
    int inflight = 4;  // a thread
    uint64_t seed = 1;
    Durability durability = Durability::kLogged;
    // Of every answer, on the thread that pushed: when its push was begun.
    std::function<void(std::chrono::steady_clock::time_point begun, const Status& answer)> on_answer =
        nullptr;
  };

  CountingLoad(Client& client, const Options& options)
      : client_(client),
        options_(options),
        acknowledged_(options.rows),
        confirmed_(options.rows),
        uncertain_(options.rows) {}
  ~CountingLoad() { Stop(); }

  Status Start() {
    TableSpec spec;
    spec.name = options_.table;
    spec.dim = options_.dim;
    spec.optimizer.kind = OptimizerKind::kAdd;
    spec.durability = options_.durability;
    auto table = client_.CreateTable(spec);
    if (!table.ok()) return table.status();
    table_ = *table;
    stopping_ = false;
    ++lives_;
    for (int i = 0; i < options_.threads; ++i) {
      auto producer = client_.NewProducer();
      if (!producer.ok()) return producer.status();
      threads_.emplace_back([this, i, producer = *producer] { Run(i, *producer); });
    }
    return Status::Ok();
  }
  void Stop() {
    stopping_ = true;
    for (auto& thread : threads_) thread.join();
    threads_.clear();
  }

  // For tables of level memory: what is acknowledged now, a kill of servers cannot take back.
  Status Confirm() {
    std::unique_lock lock(mutex_);
    std::vector<uint64_t> before = acknowledged_;
    lock.unlock();
    if (Status flushed = client_.Flush(); !flushed.ok()) return flushed;
    lock.lock();
    confirmed_ = std::move(before);
    return Status::Ok();
  }
  // A server was killed: of a `memory` table all that was not confirmed is uncertain now.
  void MayHaveLost() {
    std::lock_guard lock(mutex_);
    for (size_t row = 0; row < acknowledged_.size(); ++row) {
      uncertain_[row] += acknowledged_[row] - confirmed_[row];
      acknowledged_[row] = confirmed_[row];
    }
  }

  const TableSpec& table() const { return table_; }
  uint64_t pushes() const { return pushes_; }
  int in_flight() const { return in_flight_; }
  uint64_t failed() const { return failed_; }
  std::string first_error() const {
    std::lock_guard lock(mutex_);
    return first_error_;
  }

  // After Stop: every row's values are what was acknowledged, plus at most what is uncertain; a push counts
  // in all columns of its rows or in none. Empty, or what is wrong.
  std::string Check() {
    constexpr uint32_t kAtOnce = 1 << 16;
    for (uint32_t first = 0; first < options_.rows; first += kAtOnce) {
      std::vector<Key> rows(std::min(kAtOnce, options_.rows - first));
      std::iota(rows.begin(), rows.end(), first);
      const auto pulled = client_.Pull({{table_.id, rows}}).get();
      std::string wrong = pulled.ok() ? Check(rows, pulled->values[0]) : pulled.status().ToString();
      if (!wrong.empty()) return wrong;
    }
    return "";
  }
  // The same of some rows, as they were pulled.
  std::string Check(const std::vector<Key>& rows, const std::vector<float>& pulled) const {
    for (size_t i = 0; i < rows.size(); ++i) {
      const Key row = rows[i];
      const float* values = pulled.data() + i * options_.dim;
      const double value = values[0];
      const double low = static_cast<double>(acknowledged_[row]),
                   high = low + static_cast<double>(uncertain_[row]);
      if (value < low || value > high) {
        return "row " + std::to_string(row) + " is " + std::to_string(value) + ", acknowledged " +
               std::to_string(low) + ", uncertain " + std::to_string(uncertain_[row]);
      }
      if (std::count(values, values + options_.dim, values[0]) != options_.dim)
        return "row " + std::to_string(row) + " has columns that differ";
    }
    return "";
  }

 private:
  struct Pending {
    std::chrono::steady_clock::time_point begun;
    std::vector<Key> keys;
    std::future<Result<PushResult>> answer;
  };

  void Run(int thread, Producer& producer) {
    std::mt19937_64 random((options_.seed * 1000 + thread) * 1000 + lives_);
    std::vector<Pending> pending;
    while (!stopping_ || !pending.empty()) {
      if (!stopping_ && pending.size() < static_cast<size_t>(options_.inflight)) {
        pending.push_back(Push(producer, random));
        continue;
      }
      Settle(pending.front());
      pending.erase(pending.begin());
    }
  }

  Pending Push(Producer& producer, std::mt19937_64& random) {
    Pending push;
    std::vector<bool> taken(options_.rows);
    while (push.keys.size() < options_.keys) {
      const uint32_t row = random() % options_.rows;
      if (!taken[row]) push.keys.push_back(row);
      taken[row] = true;
    }
    ++in_flight_;
    push.begun = std::chrono::steady_clock::now();
    push.answer = client_.Push(
        producer, {{table_.id, push.keys, std::vector<float>(push.keys.size() * options_.dim, 1.0f)}});
    return push;
  }

  void Settle(Pending& push) {
    const auto result = push.answer.get();
    --in_flight_;
    if (options_.on_answer) options_.on_answer(push.begun, result.status());
    std::lock_guard lock(mutex_);
    if (!result.ok() && failed_++ == 0) first_error_ = result.status().ToString();
    for (Key key : push.keys) ++(result.ok() ? acknowledged_ : uncertain_)[key];
    ++pushes_;
  }

  Client& client_;
  const Options options_;
  TableSpec table_;
  std::atomic<bool> stopping_{false};
  std::atomic<uint64_t> pushes_{0}, failed_{0};
  std::atomic<int> in_flight_{0};
  mutable std::mutex mutex_;
  std::vector<uint64_t> acknowledged_, confirmed_, uncertain_;  // guarded by mutex_ while threads run
  std::string first_error_;                                     // guarded by mutex_
  int lives_ = 0;                                               // changes while no thread runs
  std::vector<std::thread> threads_;
};

}  // namespace penstock
