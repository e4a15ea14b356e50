// TrainPolicy: what the scheduler itself must know of a job's [train] section: in which order it gives out
// partitions, when it evaluates and when it stops.
//
// A member "policy" of the submitted JSON; journaled with the job, so that a later version of the program
// decides by what the job was submitted with.
#pragma once

#include <cstdint>
#include <nlohmann/json.hpp>
#include <string>

#include "common/base/status.h"

namespace penstock {

struct TrainPolicy {
  uint64_t seed = 1;
  bool shuffle = false;    // the order of partitions, anew in every pass
  uint32_t staleness = 0;  // ssp: the bound; 0 in other jobs
  uint64_t rounds = 0;     // sync: optimizer steps a pass; its partitions are the streams. 0 in other jobs
  std::string loss = "logistic";  // of the model: which metrics an evaluation has
  uint32_t evaluate_every = 0;    // passes between evaluations; 0: only at the end
  uint32_t patience = 0;          // evaluations without improvement that end the training; 0: none do
  std::string metric = "loss";    // on the test data, that decides which pass is the best
  double min_delta = 0;           // what counts as improvement is more than this
  bool keep_best = false;         // the weights after the best pass are copied, and evaluated at the end
  bool ssp() const { return staleness > 0; }
  bool sync() const { return rounds > 0; }
  NLOHMANN_DEFINE_TYPE_INTRUSIVE_WITH_DEFAULT(TrainPolicy, seed, shuffle, staleness, rounds, loss,
                                              evaluate_every, patience, metric, min_delta, keep_best)
};

// Of a submitted job; the defaults where it has none. kInvalidArgument names the member.
Result<TrainPolicy> ReadTrainPolicy(const nlohmann::json& submission);

}  // namespace penstock
