// The measurements of `penstock bench`, each as a function from what the command line says to the elements of
// "results".
#pragma once

#include <nlohmann/json_fwd.hpp>

#include "common/base/status.h"
#include "tools/bench/limit.h"
#include "tools/cli/arguments.h"
#include "tools/cli/console.h"
#include "tools/launch/interrupt.h"

namespace penstock {

struct BenchContext {
  const Arguments& arguments;
  Console& console;
  InterruptSignals& signals;
  Limit limit;

  bool Interrupted() const { return signals.Received(); }
};

// bench_rows.cc
Result<nlohmann::json> MeasureRows(BenchContext& context);     // pull, push, step
Result<nlohmann::json> MeasureDense(BenchContext& context);    // push, then pull
Result<nlohmann::json> MeasureLatency(BenchContext& context);  // pull, then push; then spinning
Result<nlohmann::json> MeasureLogged(BenchContext& context);   // step at `logged` over `memory`
Result<nlohmann::json> MeasureLarge(BenchContext& context);    // step over a large table and a small one
// bench_server.cc
Result<nlohmann::json> MeasureStore(BenchContext& context);
Result<nlohmann::json> MeasureLog(BenchContext& context);
Result<nlohmann::json> MeasureMemory(BenchContext& context);
Result<nlohmann::json> MeasureResident(BenchContext& context);
Result<nlohmann::json> MeasureRecover(BenchContext& context);
// bench_move.cc
Result<nlohmann::json> MeasureMove(BenchContext& context);  // an idle pair, under steps, a hot shard
// bench_train.cc
Result<nlohmann::json> MeasureTrain(BenchContext& context);
Result<nlohmann::json> MeasureParse(BenchContext& context);

// What is wrong with the options of the command, before anything is measured: kInvalidArgument.
Status CheckBenchArguments(const Arguments& arguments);

// bench_all.cc: runs the commands of the acceptance table, each as a process of its own, and writes
// docs/benchmarks.md.
Result<int> RunBenchAll(const Arguments& arguments, Console& console);

}  // namespace penstock
