// penstock-scheduler: the process that knows who is in the cluster, which server holds which shard, and what
// the jobs do.
#include "common/config/process.h"
#include "scheduler/node/scheduler.h"

namespace penstock {
namespace {

Status Schedule(const ClusterOptions& options, EndingSignals& signals) {
  PENSTOCK_ASSIGN_OR_RETURN(auto scheduler, Scheduler::Start(options));
  while (!signals.Wait(1000)) {
  }
  scheduler->Stop();
  return Status::Ok();
}

}  // namespace
}  // namespace penstock

int main(int argc, char** argv) {
  return penstock::RunProcess(argc, argv,
                              {.program = "penstock-scheduler",
                               .summary = "The Penstock scheduler: membership, shard map, tables, jobs.",
                               .needs_scheduler = false},
                              penstock::Schedule);
}
