// FeatureSchema: what a record is: its columns, the place of each in a Batch, and the ids of categories.
//
// Readers fill batches by it, models size their tables by it, and serving will read requests by it, so that
// training and serving cannot differ; so scales of numbers are part of it. Made from data.columns (csv, tsv)
// or fixed by the format (ratings, click logs); libsvm and idx have no schema. Immutable once it has its
// scales.
//
// A column is declared as NAME:KIND or NAME:KIND:MISSING, e.g. "age:numeric:0", where KIND is
//   numeric      a float, in the order of declaration one of Batch::features
//   categorical  one value: a field of Batch::categories, in the order of declaration
//   multi        any number of values: likewise a field
//   label, weight, timestamp   of the example; one label, at most one of each other
//   ignore       not read
// and MISSING is what an empty value stands for. Without it an empty category is no category (the field
// contributes nothing) and an empty number is malformed. Only numeric, categorical and weight may have it.
//
// The id of a category is a pure function of the column's name, the value's bytes as written (so "7" and "07"
// are two) and data.hash_buckets:
//   h  = mix64(FNV-1a 64 over  name, the byte 0x1f, value)        (mix64: common/base/hash.h)
//   id = h >> 1 without buckets (63 bits: collisions are negligible below about 10^8 categories),
//        h mod buckets otherwise (all fields share the buckets)
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "common/base/hash.h"
#include "common/base/status.h"

namespace penstock {

enum class ColumnKind : uint8_t {
  kNumeric = 0,
  kCategorical = 1,
  kMulti = 2,
  kLabel = 3,
  kWeight = 4,
  kTimestamp = 5,
  kIgnore = 6,
};
std::string_view ToString(ColumnKind);

struct ColumnSpec {
  std::string name;
  ColumnKind kind = ColumnKind::kIgnore;
  std::optional<std::string> missing = {};  // numeric and weight: text of a finite number
  bool operator==(const ColumnSpec&) const = default;

  bool is_field() const { return kind == ColumnKind::kCategorical || kind == ColumnKind::kMulti; }
};

// What the values of a numeric column become before a model sees them.
struct NumericScale {
  bool logarithm = false;       // sign(x) * log(1 + |x|) first,
  double mean = 0, factor = 1;  // then (x - mean) * factor
  double Of(double x) const;
  bool operator==(const NumericScale&) const = default;
};

// "NAME:KIND[:MISSING]". InvalidArgument names the declaration and what is allowed.
Result<ColumnSpec> ParseColumn(std::string_view declaration);

class FeatureSchema {
 public:
  // InvalidArgument where names repeat, the label is missing or there are two, or nothing is left to learn
  // from.
  static Result<FeatureSchema> Create(std::vector<ColumnSpec> columns, uint64_t hash_buckets);
  static Result<FeatureSchema> Parse(const std::vector<std::string>& declarations, uint64_t hash_buckets);
  // user and item (categorical), label (the rating), timestamp.
  static FeatureSchema Ratings(uint64_t hash_buckets);
  // As Criteo publishes its logs: label, i1 to i13 (numeric, missing is 0), c1 to c26 (categorical).
  static FeatureSchema ClickLog(uint64_t hash_buckets);
  // The schema of a data format ("csv", "tsv", "ratings", "clicklog"); nullopt for formats without one.
  static Result<std::optional<FeatureSchema>> Of(std::string_view format,
                                                 const std::vector<std::string>& declarations,
                                                 uint64_t hash_buckets);

  const std::vector<ColumnSpec>& columns() const { return columns_; }
  // Of a numeric column: its place in an example's features; of a categorical or multi one: its field.
  size_t slot(size_t column) const { return slots_[column]; }
  size_t dim() const { return dim_; }                      // numeric columns
  size_t fields() const { return field_states_.size(); }   // categorical and multi columns
  uint64_t hash_buckets() const { return hash_buckets_; }  // 0: ids have 63 bits
  // The number of the column of that kind, which occurs once at most (label, weight, timestamp).
  std::optional<size_t> ColumnOf(ColumnKind kind) const;

  // By slot, as the job's plan has them (data.scale); empty: numbers are taken as they are written.
  const std::vector<NumericScale>& scales() const { return scales_; }
  void set_scales(std::vector<NumericScale> scales) { scales_ = std::move(scales); }

  uint64_t CategoryId(size_t field, std::string_view value) const {
    const uint64_t hash = Mix64(Fnv1a(field_states_[field], value));
    if (hash_buckets_ == 0) return hash >> 1;
    const uint64_t mask = hash_buckets_ - 1;
    return (hash_buckets_ & mask) == 0 ? hash & mask : hash % hash_buckets_;  // a division is slow
  }

 private:
  FeatureSchema(std::vector<ColumnSpec> columns, uint64_t hash_buckets);

  static uint64_t Fnv1a(uint64_t state, std::string_view bytes) {
    constexpr uint64_t kPrime = 0x100000001b3ULL;
    if (bytes.size() == 8) {  // hexadecimal digests, the categories of most click logs
      for (size_t i = 0; i < 8; ++i) state = (state ^ static_cast<unsigned char>(bytes[i])) * kPrime;
      return state;
    }
    for (const char c : bytes) state = (state ^ static_cast<unsigned char>(c)) * kPrime;
    return state;
  }

  std::vector<ColumnSpec> columns_;
  std::vector<size_t> slots_;  // [columns]
  size_t dim_ = 0;
  std::vector<NumericScale> scales_;  // [dim] or empty
  uint64_t hash_buckets_ = 0;
  std::vector<uint64_t> field_states_;  // [fields]: FNV-1a after name and separator
};

}  // namespace penstock
