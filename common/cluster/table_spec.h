// TableSpec: everything that defines a table, validated once and then passed around by value.
//
// A row of a table is `dim` float32 values, then slots_per_value() * dim optimizer slots, in one block of
// floats. The spec travels as proto::TableSpec (proto/common.capnp), stands in the scheduler's journal as
// JSON, and every server keeps the specs of its tables locally, so that a restart needs no scheduler.
#pragma once

#include <cstdint>
#include <nlohmann/json_fwd.hpp>
#include <string>

#include "common/base/ids.h"
#include "common/base/status.h"

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
};

struct OptimizerSpec {
  OptimizerKind kind = OptimizerKind::kSgd;
  float learning_rate = 0.01f;    // SGD, AdaGrad, Adam; alpha of FTRL
  float l1 = 0;                   // FTRL only (others refuse it)
  float l2 = 0;                   // on touched rows only, at each push that touches them; FTRL's lambda_2
  float beta1 = 0.9f;             // Adam
  float beta2 = 0.999f;           // Adam
  float epsilon = 1e-8f;          // Adam, AdaGrad (PyTorch's defaults are 1e-8 and 1e-10)
  float beta = 1.0f;              // FTRL
  float initial_accumulator = 0;  // AdaGrad
  bool operator==(const OptimizerSpec&) const = default;
};

enum class InitializerKind : uint8_t { kZeros = 0, kConstant = 1, kUniform = 2, kNormal = 3 };

// The value of a row that was never pushed: a pure function of (spec.seed, table, key), see
// server/shard/initializer.h. Uniform draws from [low, high), normal has the given mean and standard
// deviation.
struct InitializerSpec {
  InitializerKind kind = InitializerKind::kZeros;
  float value = 0;  // constant
  float low = 0, high = 0;
  float mean = 0, stddev = 0;
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

  uint32_t slots_per_value() const;  // 0, 1 or 2
  uint32_t row_floats() const { return dim * (1 + slots_per_value()); }
  // InvalidArgument naming the field, its value and what is allowed.
  Status Validate() const;
  bool operator==(const TableSpec&) const = default;
};

std::string_view ToString(Durability);
std::string_view ToString(OptimizerKind);
std::string_view ToString(InitializerKind);
// Each names the allowed words in its error.
Result<Durability> ParseDurability(std::string_view);
Result<OptimizerKind> ParseOptimizerKind(std::string_view);
Result<InitializerKind> ParseInitializerKind(std::string_view);

// JSON as it stands in the journal and in `penstock table describe`; unknown or missing members throw
// nlohmann's exceptions.
void to_json(nlohmann::json&, const TableSpec&);
void from_json(const nlohmann::json&, TableSpec&);

}  // namespace penstock
