// TrainPolicy: what the scheduler itself must know of a job's [train] section: how it gives out partitions.
//
// A member "policy" of the submitted JSON; journaled with the job, so that a later version of the program
// decides by what the job was submitted with.
#pragma once

#include <cstdint>
#include <nlohmann/json.hpp>

#include "common/base/status.h"

namespace penstock {

struct TrainPolicy {
  uint64_t seed = 1;
  bool shuffle = false;  // the order of partitions, anew in every pass
  NLOHMANN_DEFINE_TYPE_INTRUSIVE_WITH_DEFAULT(TrainPolicy, seed, shuffle)
};

// Of a submitted job; the defaults where it has none. kInvalidArgument names the member.
Result<TrainPolicy> ReadTrainPolicy(const nlohmann::json& submission);

}  // namespace penstock
