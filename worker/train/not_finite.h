// What a job is told when its numbers are not finite any more: which table, which row, at which step, and
// what can be done. No further step mends that, so the job ends.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "client/client_types.h"
#include "model/model.h"

namespace penstock {

// Where a model's loss was computed.
struct LossAt {
  std::string where;                  // "step 1017", "evaluation"
  std::span<const TableSpec> tables;  // of the model
  const PreparedBatch& prepared;      // whose rows `values` are
  const TableValues& values;
  const TableGradients* gradients = nullptr;  // nullptr: there are none
};
// Whether loss and gradients are; servers would refuse the latter as a whole.
bool IsFinite(double loss, const TableGradients& gradients);
// kInvalidArgument of a loss or gradients that are not finite, naming the first row that is not; where all
// are, the loss itself has overflowed.
Status NotFiniteLoss(double loss, const LossAt& at);
// The same, and ok where all rows are finite: other weights may do better on these data.
Status NotFiniteEvaluation(double loss, const LossAt& at);

// kInvalidArgument where servers have said that rows of the model's tables are not finite after a step, else
// ok.
Status CheckRows(const PushResult& pushed, std::span<const TableSpec> tables, const std::string& where);

}  // namespace penstock
