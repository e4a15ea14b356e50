#include "worker/train/not_finite.h"

#include <algorithm>
#include <cmath>

#include "common/base/not_finite.h"
#include "common/base/strings.h"

namespace penstock {
namespace {

constexpr char kAdvice[] =
    "lower optimizer.learning_rate, set optimizer.clip_value or optimizer.clip_norm, or scale the data "
    "(data.scale)";

// The first row of [keys, dim] with a number that is not finite; keys.size(): there is none.
size_t FirstNotFinite(std::span<const float> values, size_t keys) {
  const auto bad =
      std::find_if(values.begin(), values.end(), [](float value) { return !std::isfinite(value); });
  if (bad == values.end() || keys == 0) return keys;
  return static_cast<size_t>(bad - values.begin()) / (values.size() / keys);
}

std::string RowOf(const TableSpec& table, Key key) {
  return StrCat("key ", key, " of table '", table.name, "'");
}

}  // namespace

bool IsFinite(double loss, const TableGradients& gradients) {
  if (!std::isfinite(loss)) return false;
  for (const std::vector<float>& table : gradients) {
    uint32_t bits = 0;
    for (const float g : table) bits |= NotFiniteBit(g);
    if (HasNotFinite(bits)) return false;
  }
  return true;
}

Status NotFiniteEvaluation(double loss, const LossAt& at) {
  for (size_t t = 0; t < at.values.size(); ++t) {
    const size_t keys = at.prepared.keys[t].size();
    if (FirstNotFinite(at.values[t], keys) < keys) return NotFiniteLoss(loss, at);
  }
  return Status::Ok();
}

Status NotFiniteLoss(double loss, const LossAt& at) {
  std::string which = ", though all of its rows are finite";
  const auto look = [&](size_t table, std::span<const float> numbers, const char* what) {
    const auto& keys = at.prepared.keys[table];
    const size_t row = FirstNotFinite(numbers, keys.size());
    if (row < keys.size()) which = StrCat(": ", what, RowOf(at.tables[table], keys[row]), " is not finite");
    return row < keys.size();
  };
  bool found = false;
  for (size_t t = 0; t < at.values.size() && !found; ++t) found = look(t, at.values[t], "");
  for (size_t t = 0; at.gradients != nullptr && t < at.gradients->size() && !found; ++t)
    found = look(t, (*at.gradients)[t], "the gradient of ");
  return InvalidArgument(StrCat(at.where, ": the loss is ", loss, which, "; ", kAdvice));
}

Status CheckRows(const PushResult& pushed, std::span<const TableSpec> tables, const std::string& where) {
  for (const NotFiniteInTable& bad : pushed.not_finite) {
    const auto table =
        std::find_if(tables.begin(), tables.end(), [&](const TableSpec& t) { return t.id == bad.table; });
    if (table == tables.end()) continue;
    return InvalidArgument(StrCat(where, ": steps have left rows that are not finite, the last ",
                                  RowOf(*table, bad.key), "; ", kAdvice));
  }
  return Status::Ok();
}

}  // namespace penstock
