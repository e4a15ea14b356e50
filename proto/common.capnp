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
  # Fields, units and ranges: common/cluster/table_spec.h.
  id @0 :UInt32;
  name @1 :Text;
  dim @2 :UInt32;
  optimizer :group {
    kind @3 :UInt8;
    learningRate @4 :Float32;
    l1 @5 :Float32;
    l2 @6 :Float32;
    beta1 @7 :Float32;
    beta2 @8 :Float32;
    epsilon @9 :Float32;
    beta @10 :Float32;
    initialAccumulator @11 :Float32;
    momentum @22 :Float32;
    clipValue @23 :Float32;
    clipNorm @24 :Float32;
  }
  initializer :group {
    kind @12 :UInt8;
    value @13 :Float32;
    low @14 :Float32;
    high @15 :Float32;
    mean @16 :Float32;
    stddev @17 :Float32;
    fanIn @25 :UInt32;
    fanOut @26 :UInt32;
  }
  seed @18 :UInt64;
  durability @19 :Durability;
  allowNonFinite @20 :Bool;
  denseSize @21 :UInt64;
  schedule :group {
    kind @27 :UInt8;
    warmupSteps @28 :UInt64;
    decaySteps @29 :UInt64;
    decayRate @30 :Float32;
    minimum @31 :Float32;
  }
  accumulate @32 :Bool;
  admission :group {
    minCount @33 :UInt32;
    probability @34 :Float32;
  }
  expiry :group {
    ttlSeconds @35 :UInt32;
    unusedPasses @36 :UInt32;
    minNorm @37 :Float32;
  }
  codec @38 :Codec;
}
