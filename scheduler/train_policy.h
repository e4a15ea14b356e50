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
  bool shuffle = false;    // the order of partitions, anew in every pass
  uint32_t staleness = 0;  // ssp: the bound; 0 in other jobs
  uint64_t rounds = 0;     // sync: optimizer steps a pass; its partitions are the streams. 0 in other jobs
  bool ssp() const { return staleness > 0; }
  bool sync() const { return rounds > 0; }
  NLOHMANN_DEFINE_TYPE_INTRUSIVE_WITH_DEFAULT(TrainPolicy, seed, shuffle, staleness, rounds)
};

// Of a submitted job; the defaults where it has none. kInvalidArgument names the member.
Result<TrainPolicy> ReadTrainPolicy(const nlohmann::json& submission);

}  // namespace penstock
