// TableSpec: everything that defines a table, validated once and then passed around by value.
//
// A row of a table is `dim` float32 values, then slots() optimizer slots, then (in tables that accumulate) an
// accumulator of `dim`, in one block of floats. The spec travels as proto::TableSpec (proto/common.capnp),
// stands in the scheduler's journal as JSON, and every server keeps the specs of its tables locally, so that
// a restart needs no scheduler.
#pragma once

#include <cstdint>
#include <nlohmann/json_fwd.hpp>
#include <string>

#include "common/base/ids.h"
#include "common/base/status.h"
#include "common/cluster/codec.h"

namespace penstock {

// When a push is answered. A level decides only that: deltas of every table flow all the time.
enum class Durability : uint8_t { kMemory = 0, kLogged = 1, kSynced = 2 };

// What a server does with pushed values. g is the pushed row, w the stored row, per element.
enum class OptimizerKind : uint8_t {
  kAssign = 0,   // w = g
  kAdd = 1,      // w += g
  kSgd = 2,      // w -= lr * (g + l2*w)
  kAdagrad = 3,  // h += g'^2; w -= lr * g' / (sqrt(h) + eps), g' = g + l2*w; h starts at initial_accumulator
                 // (1 slot)
  kAdam = 4,     // Kingma and Ba 2015 with bias correction by the row's own push count (2 slots: m, v)
  kFtrl = 5,     // FTRL-proximal, McMahan et al. 2013, Algorithm 1 (2 slots: z, n); w is derived from z and n
  kMomentum = 6,     // m = momentum*m + g'; w -= lr * m (1 slot a value)
  kNesterov = 7,     // m = momentum*m + g'; w -= lr * (g' + momentum*m) (1)
  kRmsprop = 8,      // v = beta2*v + (1-beta2)*g'^2; w -= lr * g' / (sqrt(v) + eps) (1)
  kAdamw = 9,        // Adam on g, and w -= lr * l2 * w: decoupled decay, Loshchilov and Hutter 2019 (2)
  kLamb = 10,        // You et al. 2020: Adam's step plus l2*w, scaled by |w| / |step| of the row (2)
  kAdagradRow = 11,  // AdaGrad with one accumulator a row: h += mean of g'^2 (1 slot a row)
  kAdamRow = 12,     // Adam with one second moment a row: v of mean g'^2 (dim slots and 1 a row)
};

struct OptimizerSpec {
  OptimizerKind kind = OptimizerKind::kSgd;
  float learning_rate = 0.01f;    // all but assign and add; alpha of FTRL
  float l1 = 0;                   // FTRL only (others refuse it)
  float l2 = 0;                   // on touched rows only, at each push that touches them; FTRL's lambda_2
  float beta1 = 0.9f;             // Adam, AdamW, LAMB, row-wise Adam
  float beta2 = 0.999f;           // the same, and RMSProp
  float epsilon = 1e-8f;          // all that divide by a root (PyTorch's defaults are 1e-8, of AdaGrad 1e-10)
  float beta = 1.0f;              // FTRL
  float initial_accumulator = 0;  // AdaGrad, row-wise too
  float momentum = 0.9f;          // momentum, Nesterov
  float clip_value = 0;           // each pushed gradient is cut to [-clip_value, clip_value]; 0: not
  float clip_norm = 0;            // then a row's gradient is scaled down to this L2 norm; 0: not. Not for
                                  // assign and add
  bool operator==(const OptimizerSpec&) const = default;
};

// The factor of the learning rate at step t = 1, 2, ...: the step that a push or commit carries, or, where it
// carries none, the row's own push count. Not for assign, add and FTRL. During the first warmup_steps it
// rises from 1/warmup_steps to 1, t / warmup_steps; then, with s = t - warmup_steps:
//   constant      1
//   step          decay_rate ^ floor(s / decay_steps)
//   cosine        minimum + (1 - minimum) * (1 + cos(pi * min(s, decay_steps) / decay_steps)) / 2
//   inverse_sqrt  1 / sqrt(1 + s / decay_steps)
enum class ScheduleKind : uint8_t { kConstant = 0, kStep = 1, kCosine = 2, kInverseSqrt = 3 };
struct ScheduleSpec {
  ScheduleKind kind = ScheduleKind::kConstant;
  uint64_t warmup_steps = 0;
  uint64_t decay_steps = 0;  // all but constant: at least 1
  float decay_rate = 0.1f;   // step
  float minimum = 0;         // cosine: 0 to 1
  bool operator==(const ScheduleSpec&) const = default;
};

// When a key gets a row (the primary decides): until it is admitted its pushes change nothing and pulls give
// the initial value. A key whose row has expired must be admitted again. Neither these rules nor those of
// expiry are for dense tensors or for tables that accumulate.
struct AdmissionSpec {
  // At the push that makes it so many; counted in the memory of the shard only (server/shard/admission.h); 0,
  // 1: at the first. At most 2^24 - 1.
  uint32_t min_count = 0;
  // Each push counts with this probability, above 0: a pure function of (seed, producer, sequence, key).
  float probability = 1;
  bool operator==(const AdmissionSpec&) const = default;
};

// When a row leaves the table. One of ttl_seconds and unused_passes at most.
struct ExpirySpec {
  uint32_t ttl_seconds = 0;    // so long after its last push; 0: never; at most 2^25
  uint32_t unused_passes = 0;  // after so many whole passes of its job without a push; 0: never
  float min_norm =
      0;  // when the L2 norm of its values is below, and it was not pushed for a while: not since
          // the pass before with unused_passes, else for server.expire_interval_ms; 0: never
  bool any() const { return ttl_seconds > 0 || unused_passes > 0 || min_norm > 0; }
  bool operator==(const ExpirySpec&) const = default;
};

enum class InitializerKind : uint8_t {
  kZeros = 0,
  kConstant = 1,
  kUniform = 2,
  kNormal = 3,
  kXavier = 4,  // uniform in +-sqrt(6 / (fan_in + fan_out)), Glorot and Bengio 2010
  kTruncatedNormal =
      5,  // normal, drawn again outside of two standard deviations (its own is then 0.88 of it)
};

// The value of a row that was never pushed: a pure function of (spec.seed, table, key), see
// server/shard/initializer.h. Uniform draws from [low, high), normal has the given mean and standard
// deviation.
struct InitializerSpec {
  InitializerKind kind = InitializerKind::kZeros;
  float value = 0;  // constant
  float low = 0, high = 0;
  float mean = 0, stddev = 0;
  uint32_t fan_in = 0, fan_out = 0;  // xavier: at least 1 each
  bool operator==(const InitializerSpec&) const = default;
};

struct TableSpec {
  TableId id = 0;    // 0 until the scheduler assigns it
  std::string name;  // 1..255 of [A-Za-z0-9_./-]
  uint32_t dim = 1;  // floats a row, 1..65536
  OptimizerSpec optimizer;
  InitializerSpec initializer;
  uint64_t seed = 0;
  Durability durability = Durability::kLogged;
  bool allow_non_finite = false;  // accept NaN and Inf in pushes (refused and counted by default)
  uint64_t dense_size = 0;        // > 0: a dense tensor of so many floats, row r = floats [r*dim, (r+1)*dim)
  ScheduleSpec schedule;
  bool accumulate =
      false;  // pushes carry a round and are summed until its commit (jobs with consistency sync)
  AdmissionSpec admission;
  ExpirySpec expiry;
  Codec codec = Codec::kF32;  // how values travel in calls that say nothing else; see CheckCodec

  // Optimizer floats a row: a multiple of dim, plus 1 for row-wise kinds.
  uint32_t slots() const;
  uint32_t row_floats() const { return dim + slots(); }  // without the accumulator
  // InvalidArgument naming the field, its value and what is allowed.
  Status Validate() const;
  bool operator==(const TableSpec&) const = default;
};

// The parts of Validate that jobs check for themselves: ranges, and that a field which has no meaning for the
// kind is at its default. InvalidArgument names the field as <section><name>.
Status ValidateOptimizer(const OptimizerSpec&, const ScheduleSpec&,
                         const std::string& optimizer_section = "optimizer.",
                         const std::string& schedule_section = "schedule.");
Status ValidateInitializer(const InitializerSpec&, OptimizerKind,
                           const std::string& section = "initializer.");

// Tables with optimizer add or assign are never sent lossy (rule 17 of docs/protocol.md): what is pushed
// there is what is kept. InvalidArgument otherwise.
Status CheckCodec(OptimizerKind, Codec);

std::string_view ToString(Durability);
std::string_view ToString(OptimizerKind);
std::string_view ToString(InitializerKind);
std::string_view ToString(ScheduleKind);
// Each names the allowed words in its error.
Result<Durability> ParseDurability(std::string_view);
Result<OptimizerKind> ParseOptimizerKind(std::string_view);
Result<InitializerKind> ParseInitializerKind(std::string_view);
Result<ScheduleKind> ParseScheduleKind(std::string_view);

// JSON as it stands in the journal and in `penstock table describe`; unknown or missing members throw
// nlohmann's exceptions.
void to_json(nlohmann::json&, const TableSpec&);
void from_json(const nlohmann::json&, TableSpec&);

}  // namespace penstock
