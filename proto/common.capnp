# Words that every Penstock schema uses: status, table specification, endpoints.
@0xc7b0a5d1e2f34a01;
using Cxx = import "/capnp/c++.capnp";
$Cxx.namespace("penstock::proto");

enum Code {
  # What the caller should do; same order as common/base/status.h, where each is explained.
  ok @0;
  invalidArgument @1;
  notFound @2;
  alreadyExists @3;
  permissionDenied @4;
  unavailable @5;
  wrongEpoch @6;
  overloaded @7;
  notEnoughCopies @8;
  unknownProducer @9;
  deadlineExceeded @10;
  outcomeUnknown @11;
  dataLoss @12;
  failedPrecondition @13;
  cancelled @14;
  internal @15;
}

struct Status {
  # The result of a call. Calls answer with a Status instead of throwing; an RPC exception means that the
  # connection failed and nothing is known about the outcome.
  code @0 :Code;
  message @1 :Text;
  retryAfterMs @2 :UInt32;  # milliseconds; 0 where a retry has no sense
}

enum Codec {
  # How values travel; the same order as common/cluster/codec.h, where each is explained.
  f32 @0;
  bf16 @1;
}

enum Durability { memory @0; logged @1; synced @2; }

struct TableSpec {
  # A table. A field that is left unset has the default that stands here, and no other meaning: name and optimizer.kind are enough for
  # a table. A field that has no meaning for the kinds that are chosen must be left at its default. g is a pushed row, w the
  # stored one, per element. A row that was never pushed has the value that the initializer gives it.
  id @0 :UInt32;                      # given by the scheduler; 0 in createTable
  name @1 :Text;                      # 1 to 255 of letters, digits and _ . / -
  dim @2 :UInt32 = 1;                 # values of a row, 1 to 65536
  optimizer :group {
    kind @3 :UInt8 = 2;
    #  0 assign       w = g
    #  1 add          w += g
    #  2 sgd          w -= rate * (g + l2*w)
    #  3 adagrad      h += g'^2; w -= rate * g' / (sqrt(h) + epsilon), g' = g + l2*w
    #  4 adam         with bias correction
    #  5 ftrl         FTRL-proximal
    #  6 momentum     m = momentum*m + g'; w -= rate * m
    #  7 nesterov     m = momentum*m + g'; w -= rate * (g' + momentum*m)
    #  8 rmsprop      v = beta2*v + (1-beta2)*g'^2; w -= rate * g' / (sqrt(v) + epsilon)
    #  9 adamw        adam on g, and w -= rate * l2 * w
    # 10 lamb         adam's step plus l2*w, scaled by |w| / |step| of the row
    # 11 adagrad_row  adagrad with one accumulator a row
    # 12 adam_row     adam with one second moment a row
    learningRate @4 :Float32 = 0.01;  # all but assign and add; of ftrl: alpha, above 0. 0 to 1e6
    l1 @5 :Float32 = 0;               # ftrl; 0 to 1e6
    l2 @6 :Float32 = 0;               # all but assign and add, on rows that are pushed; 0 to 1e6
    beta1 @7 :Float32 = 0.9;          # adam, adamw, lamb, adam_row; 0 to below 1
    beta2 @8 :Float32 = 0.999;        # the same and rmsprop; 0 to below 1
    epsilon @9 :Float32 = 1e-8;       # all that divide by a root; 0 to 1
    beta @10 :Float32 = 1;            # ftrl; 0 to 1e6
    initialAccumulator @11 :Float32 = 0;  # adagrad, adagrad_row: h at first; 0 to 1e6
    momentum @22 :Float32 = 0.9;      # momentum, nesterov; 0 to below 1
    clipValue @23 :Float32 = 0;       # all but assign and add: g is cut to [-clipValue, clipValue] first; 0: not
    clipNorm @24 :Float32 = 0;        # and then scaled down to this L2 norm; 0: not
  }
  initializer :group {
    kind @12 :UInt8 = 0;              # 0 zeros, 1 constant, 2 uniform, 3 normal, 4 xavier, 5 truncated_normal. ftrl: zeros alone
    value @13 :Float32 = 0;           # constant
    low @14 :Float32 = 0;             # uniform: from low to below high
    high @15 :Float32 = 0;
    mean @16 :Float32 = 0;            # normal, truncated_normal
    stddev @17 :Float32 = 0;
    fanIn @25 :UInt32 = 0;            # xavier: at least 1 each
    fanOut @26 :UInt32 = 0;
  }
  seed @18 :UInt64 = 0;               # of initial values, and of admission
  durability @19 :Durability = logged;  # when a push is answered
  allowNonFinite @20 :Bool = false;   # false: a unit with NaN or infinity is refused
  denseSize @21 :UInt64 = 0;          # above 0: a dense tensor of so many floats; row r has those from r * dim on
  schedule :group {
    # The rate's factor at step t from 1: t / warmupSteps at first, then, with s = t - warmupSteps, by kind. Not for assign, add and ftrl.
    kind @27 :UInt8 = 0;              # 0 constant 1; 1 step decayRate ^ floor(s / decaySteps); 2 cosine from 1 to minimum over decaySteps;
                                      # 3 inverse_sqrt 1 / sqrt(1 + s / decaySteps)
    warmupSteps @28 :UInt64 = 0;
    decaySteps @29 :UInt64 = 0;       # step, cosine, inverse_sqrt: at least 1
    decayRate @30 :Float32 = 0.1;     # step
    minimum @31 :Float32 = 0;         # cosine; 0 to 1
  }
  accumulate @32 :Bool = false;       # tables of sync jobs: pushes carry a round and are summed until its commit
  admission :group {
    # When a key gets a row. Not for dense tensors, and not with accumulate; the same holds for expiry.
    minCount @33 :UInt32 = 0;         # at the push that makes it so many; 0, 1: at the first. At most 2^24 - 1
    probability @34 :Float32 = 1;     # of a push to count; above 0
  }
  expiry :group {
    # When a row leaves the table. One of ttlSeconds and unusedPasses at most.
    ttlSeconds @35 :UInt32 = 0;       # so long after its last push; 0: never. At most 2^25
    unusedPasses @36 :UInt32 = 0;     # after so many whole passes of its job without a push; 0: never
    minNorm @37 :Float32 = 0;         # when its L2 norm is below and it was not pushed for a while; 0: never
  }
  codec @38 :Codec = f32;             # of values in calls that say nothing else; assign and add: f32 alone
}
