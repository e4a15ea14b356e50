# The control plane: what servers, workers, clients and the admin command call on the scheduler.
#
# Everything that changes the cluster's state is journaled and synced before it is answered, so every answer survives a crash of
# the scheduler. `term` rises with every start of a leading scheduler; servers refuse a lower one (rule 21).
#
# Which token may call what stands in common/net/access.h: acceptLoss, setCopies, forceShard, moveShard, drainNode, rebalance and removeNode are the operator's, cannotStart is of nodes,
# and only nodes register and report as servers. Everything else is anybody's who has proven a token. Terms, map versions and
# shards are believed of nodes alone.
@0xc7b0a5d1e2f34a05;
using Cxx = import "/capnp/c++.capnp";
$Cxx.namespace("penstock::proto");
using Common = import "common.capnp";

enum Role { server @0; worker @1; }

struct ShardReport {
  # What a server has of a shard. Sent in register (what its disk holds) and in every heartbeat (what it serves or follows).
  shard @0 :UInt32;
  incarnation @1 :UInt64;  # which life of the shard on this node
  epoch @2 :UInt64;        # the one that it serves as primary; 0: it serves in none
  applied @3 :UInt64;      # primary: last lsn given out. Otherwise: of the last delta it holds
  logged @4 :UInt64;       # lsns; primary: what is logged on all in-sync copies. Otherwise: what it has logged itself
  synced @5 :UInt64;
  core @6 :UInt32;         # which of the server's endpoints serves it
  rows @7 :UInt64;
  bytes @8 :UInt64;
  damage @9 :Text;         # not empty: this shard cannot be served or followed as it is, and why
  seen @10 :UInt64;        # the highest epoch of the shard that this copy has seen
  complete @11 :Bool;      # a copy whose seed has ended: it holds everything up to `applied`. Always set of a primary
  backups @12 :List(BackupReport);  # primary: what it knows of the backups it was granted
  fenced @13 :UInt64;      # primary: the fence of its grant, once all that it holds is in deltas; 0: it takes pushes
  delayMs @15 :UInt32;     # primary: by so much answers to pushes are delayed now, so that a copy catches up
  servedRows @14 :UInt64;  # pushed to and pulled from it since this server began to hold it
}

struct BackupReport {
  # What a primary says of one of its backups.
  node @0 :UInt32;
  incarnation @1 :UInt64;
  caughtUp @2 :Bool;       # it holds all deltas but the latest few, and may become an in-sync copy
  failed @3 :Text;         # not empty: it cannot go on as it is, or is silent, and must be seeded again, and why
  seededBytes @4 :UInt64;  # of rows that its seed has brought to it so far
  behindBytes @5 :UInt64;  # of deltas that it has not confirmed
}

struct ShardGrant {
  # What a server shall serve. It serves exactly what the latest answer grants, and refuses any other epoch.
  shard @0 :UInt32;
  incarnation @1 :UInt64;
  epoch @2 :UInt64;
  minLsn @3 :UInt64;       # the first delta of this epoch gets at least this lsn (above any that was ever reported)
  backups @4 :List(Backup);
  minCopies @5 :UInt32;    # with fewer in-sync copies, itself included, pushes at `logged` and `synced` are refused
  rewind @6 :UInt64;       # pushes and commits of jobs with a lower rewind number are refused
  fence @7 :UInt64;        # not 0: the shard is handed over; nothing new is taken before a grant of an epoch above this one, in which
                           # nobody ever serves. What `memory` tables hold back goes into a last delta, synced on all copies

  struct Backup {
    node @0 :UInt32;
    name @1 :Text;
    incarnation @2 :UInt64;
    endpoint @3 :Text;     # host:port of the core that follows; empty while that node has not reported it
    inSync @4 :Bool;       # no answer at `logged` or `synced` without it; otherwise it is to be seeded
  }
}

struct ShardFollow {
  # What a server shall hold as a backup. A copy of another incarnation, or a primary of it, is discarded for it.
  shard @0 :UInt32;
  incarnation @1 :UInt64;
  epoch @2 :UInt64;        # deltas of older epochs are refused
}

struct ShardEntry {
  shard @0 :UInt32;
  epoch @1 :UInt64;
  node @2 :UInt32;         # primary; 0: not placed yet
  endpoint @3 :Text;       # host:port of the core that serves it; empty while nobody does
  state @4 :State;
  detail @5 :Text;         # why it is not serving
  backups @6 :List(UInt32);  # nodes of the in-sync copies beside the primary
  enum State { unplaced @0; granting @1; serving @2; unavailable @3; quarantined @4; }
}

struct ShardMap {
  version @0 :UInt64;      # of the whole map, rising
  term @1 :UInt64;
  shards @2 :List(ShardEntry);   # all of them, in order
}

struct Lease {
  # A partition of a job's phase, given to one worker until it finishes it or goes silent.
  job @0 :UInt32;
  jobName @1 :Text;
  spec @2 :Text;           # the job, as JSON; empty when the worker said that it knows the job
  phase @3 :Phase;
  pass @4 :UInt32;         # 0-based
  partition @5 :UInt32;
  partitions @6 :UInt32;   # how many there are in this phase
  token @7 :UInt64;        # every report names it; an old token is refused
  producer @8 :UInt64;     # the same for every worker that ever takes this (job, pass, partition)
  begin @9 :UInt64;        # minibatch to begin with: all before it are recorded as logged
  clock @10 :UInt64;       # ssp: the clock at which the worker joins
  position @11 :UInt32;    # how many partitions of this phase come before it in the order in which they are given out
  best @12 :Bool;          # an evaluation of what keepBest copied, not of the weights as they are
  rewind @13 :UInt64;      # the cluster's rewind number, which everything that is pushed under this lease carries; 0: it pushes nothing
  limitFiles @14 :Bool;    # the job came with a client's token: its files must stand below the worker's worker.data_roots
  enum Phase { train @0; evaluateTrain @1; evaluateTest @2; keepBest @3; }
  # train: `passes` times over the training data. An evaluation goes once over its data, after everything was pushed and logged: between
  # passes where the job asks for it (train.evaluate_every), and at the end. keepBest: copy the rows that the partition's examples need to the
  # job's tables best/..., under the partition's producer, while nothing trains.
}

struct Progress {
  # One lease's state, in a worker's report.
  job @0 :UInt32;
  token @1 :UInt64;
  recorded @2 :UInt64;     # every minibatch below this one is logged on all copies (rule 16)
  examples @3 :UInt64;     # of those, by this lease
  lossSum @4 :Float64;
  badRecords @5 :UInt64;
  done @6 :Bool;           # the partition is finished and everything of it logged
  result @7 :Text;         # with done, evaluation phases: metrics as JSON, merged by the scheduler's caller
  error @8 :Common.Status; # not ok: the worker gives the lease back; a permanent code fails the job, a transient one leases it again
  clock @9 :UInt64;        # ssp: the worker's clock, so that a restarted scheduler knows it
  answered @10 :UInt64;    # every minibatch below this one is answered, logged or not: how fast the worker is
  pushed @11 :Bool;        # all are, and only logs are waited for: the worker asks for other leases meanwhile
}

struct FinishedMinibatch {
  # A sync job's minibatch, every unit of which is logged on all shards.
  round @0 :UInt64;        # 0: none
  stream @1 :UInt32;
  examples @2 :UInt64;
  lossSum @3 :Float64;
  badRecords @4 :UInt64;
}

interface Scheduler {
  register @0 (role :Role, node :UInt32, name :Text, endpoints :List(Text), httpEndpoint :Text, shards :List(ShardReport),
               highestTerm :UInt64, highestMapVersion :UInt64, pid :UInt32, logPath :Text, host :Text, zone :Text,
               memoryBytes :UInt64)
      -> (status :Common.Status, node :UInt32, cluster :UInt64, term :UInt64, shardCount :UInt32, tables :List(Common.TableSpec),
          session :UInt64);
  # By a server or worker after it started. node 0 asks for a new id. `endpoints` has one host:port per core. `session` names this life of the
  # node: a later register of the same node ends it, and heartbeats of an ended session are refused with failedPrecondition.
  # `pid` and `logPath` are for operators: its process on its machine, and the file there that it logs to (empty: standard error).
  # `host` and `zone`: of a server, its machine and what that stands in (empty: none); copies of a shard are kept apart.
  # `memoryBytes`: of a server, what rows may take of its memory; its share of all rows is by it.

  heartbeat @1 (node :UInt32, session :UInt64, shards :List(ShardReport), busy :Bool, tableVersion :UInt64,
                hold :Bool, mapVersion :UInt64, note :Text, trouble :Text, loading :Bool, leaving :Bool)
      -> (status :Common.Status, term :UInt64, mapVersion :UInt64, grants :List(ShardGrant), tableVersion :UInt64, tables :List(Common.TableSpec),
          droppedTables :List(UInt32), forgetFloor :UInt64, finishedProducers :List(UInt64), exit :Bool,
          follows :List(ShardFollow), completeProducers :List(UInt64), rewind :UInt64, discards :List(ShardFollow),
          mayLeave :Bool);
  # By servers and workers every heartbeat_ms: report up, wanted state down. `hold`: the caller asks again at once, and is answered when
  # there is something new, or after heartbeat_ms. failedPrecondition: register again. `tables` is sent when
  # the node's tableVersion is behind. `finishedProducers` and `completeProducers` are ascending pairs
  # first, last (inclusive). All that a complete producer will ever push is logged. `grants` and `follows` are all that the
  # server shall hold. `discards`: lives of shards that nobody needs there any more; their epochs say nothing. `rewind`: leases with a lower rewind number have ended. `note`: what an operator should look at though the node works, which the status shows as a problem; empty: nothing.
  # `trouble`: what keeps the node from its work now, with the cause, which is a problem of the status as long as it is said; empty: nothing does.
  # `loading`: it is still reading the rows of its base, so that it reports fewer bytes than it will have.
  # `leaving`: a server wants to end: until it registers again it is drained. `mayLeave`: it holds nothing more that another server
  # could take.

  shardMap @2 (knownVersion :UInt64) -> (status :Common.Status, map :ShardMap);
  # `map` is null when knownVersion is current.

  createTable @3 (spec :Common.TableSpec) -> (status :Common.Status, spec :Common.TableSpec);
  # By clients. The same name and an equal spec is ok and answers the existing one (safe to repeat); another spec is alreadyExists.
  # Answered once journaled; a server that does not have the table yet answers unavailable for a moment, and clients retry.
  openTable @4 (name :Text) -> (status :Common.Status, spec :Common.TableSpec);
  dropTable @5 (name :Text) -> (status :Common.Status);

  newProducers @6 (count :UInt32) -> (status :Common.Status, first :UInt64, shardCount :UInt32, cluster :UInt64);
  # Ids first .. first+count-1, never given before.

  submitJob @7 (spec :Text) -> (status :Common.Status, job :UInt32);
  # `spec` is the JSON of a validated job file with the `plan` that its submitter made: partitions and fingerprints of its data. At most
  # 1 MiB, nested at most 64 deep.
  cancelJob @8 (job :UInt32) -> (status :Common.Status);

  lease @9 (node :UInt32, session :UInt64, count :UInt32, knownJobs :List(UInt32)) -> (status :Common.Status, leases :List(Lease), retryAfterMs :UInt32);
  # By workers: at most `count` (1 to 64) partitions to work on; none: ask again after retryAfterMs.
  report @10 (node :UInt32, session :UInt64, progress :List(Progress)) -> (status :Common.Status, results :List(Common.Status));
  # By workers, at least every heartbeat. A result other than ok (an old token, a cancelled job, a rewind): drop that lease at once.

  inspect @11 (what :Text, name :Text) -> (status :Common.Status, json :Text);
  # For the admin command: what = status | nodes | shards | shard | tables | table | jobs | job | clocks | plan (what rebalance would move) | events (name: only those after that number). The answer is the value that `penstock -o json` prints.

  acceptLoss @12 (shard :UInt32) -> (status :Common.Status);
  # The operator's word: a quarantined shard goes on with what its owner still has. Jobs that run are rewound to the start of their pass, and the
  # rewind number rises.

  clock @13 (node :UInt32, session :UInt64, job :UInt32, token :UInt64, clock :UInt64, want :UInt64)
      -> (status :Common.Status, minimum :UInt64);
  # ssp, by workers: `clock` is what the lease's holder has reached. Answered when the slowest worker of the job has reached `want` (0: at once),
  # or after a second with the minimum as it is.

  minibatch @14 (node :UInt32, session :UInt64, job :UInt32, token :UInt64, finished :FinishedMinibatch, committed :UInt64)
      -> (status :Common.Status, action :SyncAction, round :UInt64, stream :UInt32, producer :UInt64, examples :UInt64, step :UInt64);
  # sync, by workers that hold a seat (a lease of a sync job's train phase): says what was finished (again after a lost answer is fine) and which
  # round the caller has committed on all shards (0: none), and asks what to do next. Answered after at most a second.
  #   work    compute minibatch `round` of `stream` and push its sums as (producer, round)
  #   commit  send commitRound(round, examples, step) to all shards, then say so
  #   wait    ask again
  #   end     the pass is over, or the seat is gone: give the lease up
  enum SyncAction { wait @0; work @1; commit @2; end @3; }

  pauseJob @15 (job :UInt32) -> (status :Common.Status);
  resumeJob @16 (job :UInt32) -> (status :Common.Status);
  # Paused: no partition is leased; those that are leased are given back at the next report. Both may be repeated.

  setCopies @17 (copies :UInt32, minCopies :UInt32) -> (status :Common.Status);
  # The operator's word: how many servers shall hold each shard (1 to 3), and with how few in sync pushes go on. While the cluster runs.

  forceShard @18 (shard :UInt32, node :UInt32) -> (status :Common.Status);
  # The operator's word: of the last in-sync copies of a shard that nobody serves, this node's goes on, though others have not been heard. If it
  # holds less than was reported as logged, the shard is quarantined, and acceptLoss decides.

  cannotStart @19 (name :Text, reason :Text) -> (status :Common.Status);
  # By a server that ends because it cannot start. The status says why until a server of that name registers.

  removeJob @20 (job :UInt32, dropTables :Bool) -> (status :Common.Status);
  # Forgets a job that has ended (else failedPrecondition), with its tables if `dropTables` is set.
  removeNode @21 (node :UInt32) -> (status :Common.Status);
  # Forgets a dead node that holds no shard and no copy of one (else failedPrecondition). Should it come back, it is taken up again.

  moveShard @22 (shard :UInt32, from :UInt32, to :UInt32) -> (status :Common.Status);
  # The operator's word: the copy of a shard on node `from` (0: its primary's) goes to node `to` (0: it stays, a move that was begun ends). Answered once
  # journaled; the move goes on by itself.

  drainNode @23 (node :UInt32, drained :Bool) -> (status :Common.Status);
  # The operator's word: a server's copies go to others, one shard after the other, and none come; or they may again. Answered once journaled.

  rebalance @24 (word :Word) -> (status :Common.Status);
  # The operator's word of how shards move to even out bytes and load:
  #   now  until nothing is left to be gained, also where that is off
  #   on   by themselves; as in a new cluster
  #   off  not by themselves, but away from drained servers
  enum Word { now @0; on @1; off @2; }
}
