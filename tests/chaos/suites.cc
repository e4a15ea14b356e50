// The one list of suites.
#include "tests/chaos/suite.h"

namespace penstock {

const std::vector<Suite>& AllSuites() {
  static const std::vector<Suite> suites{
      {"server-kill", "kill -9 of a server under load", 30, BeginServerKill},
      {"scheduler-kill", "kill -9 of the scheduler under load and while a job trains", 20,
       BeginSchedulerKill},
      {"worker-kill", "kill -9 of workers of a job whose ledger must come out exact", 20, BeginWorkerKill},
      {"job-kill",
       "kill -9 of workers and servers of ledger jobs in tables of level memory, also both within one lag",
       40, BeginJobKill},
      {"pause", "SIGSTOP of a server for 0.5 to 20 s, then SIGCONT", 20, BeginPause},
      {"partition", "links between client, servers and scheduler cut one way and both ways", 30,
       BeginPartition},
      {"network",
       "any two of client, servers and scheduler, or one and all others, apart in networks of their own", 40,
       BeginNetwork},
      {"corrupt", "files of servers and scheduler flipped, cut, zeroed, deleted, put back to an older state",
       30, BeginCorrupt},
      {"accept-loss",
       "a log damaged while jobs train, and the loss accepted with workers parked, stopped and alive", 30,
       BeginAcceptLoss},
      {"disk", "a full disk, and errors of writes and syncs, of a server that is the only one", 20,
       BeginDisk},
      {"move-kill",
       "a shard on its way to another server, and one who takes part killed, stopped or cut off at each step",
       60, BeginMoveKill},
      {"churn", "servers join, are drained and leave, die and come back while jobs with a ledger train", 60,
       BeginChurn},
      {"resize", "three servers become five, two and three again while an async, an ssp and a sync job train",
       3, BeginResize},
  };
  return suites;
}

}  // namespace penstock
