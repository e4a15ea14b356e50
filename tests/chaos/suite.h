// What a suite of the chaos tool is: something that does one fault after the other to clusters, and says of
// each whether all that Penstock promises was kept.
//
// A new suite is a file with a SuiteRun and a line in suites.cc.
#pragma once

#include <cmath>
#include <cstdint>
#include <memory>
#include <random>
#include <string>
#include <vector>

#include "common/cluster/table_spec.h"

namespace penstock {

struct ChaosOptions {
  uint64_t seed = 1;
  Durability level = Durability::kLogged;  // of the tables of the load
  int servers = 2;
  uint32_t copies = 1, min_copies = 1;
};

// One fault and what came of it.
struct Iteration {
  std::string what;         // what was done to whom
  int in_flight = -1;       // pushes at the fault; -1: not counted
  double gap_ms = -1;       // longest time between two acknowledgements since
  double recovery_ms = -1;  // from the fault until a push that was begun after it was acknowledged
  std::string note;         // what else is worth a look
  std::string error;        // empty: all promises were kept
  std::string skipped;      // why nothing was done here
};

class SuiteRun {
 public:
  virtual ~SuiteRun() = default;
  // All that is drawn is drawn from `random`. After an error the run is kept and a new one begun.
  virtual Iteration Iterate(std::mt19937_64& random) = 0;
  // The data of the last iteration is not to be removed; where it is.
  virtual std::string Keep() = 0;
};

struct Suite {
  const char* name;
  const char* description;
  uint64_t count;  // iterations, where nothing else is said
  std::unique_ptr<SuiteRun> (*begin)(const ChaosOptions& options);
};

// In the order in which `all` runs them.
const std::vector<Suite>& AllSuites();

std::unique_ptr<SuiteRun> BeginServerKill(const ChaosOptions& options);
std::unique_ptr<SuiteRun> BeginSchedulerKill(const ChaosOptions& options);
std::unique_ptr<SuiteRun> BeginWorkerKill(const ChaosOptions& options);
std::unique_ptr<SuiteRun> BeginJobKill(const ChaosOptions& options);
std::unique_ptr<SuiteRun> BeginPause(const ChaosOptions& options);
std::unique_ptr<SuiteRun> BeginPartition(const ChaosOptions& options);
std::unique_ptr<SuiteRun> BeginNetwork(const ChaosOptions& options);
std::unique_ptr<SuiteRun> BeginCorrupt(const ChaosOptions& options);
std::unique_ptr<SuiteRun> BeginAcceptLoss(const ChaosOptions& options);
std::unique_ptr<SuiteRun> BeginDisk(const ChaosOptions& options);
std::unique_ptr<SuiteRun> BeginMoveKill(const ChaosOptions& options);
std::unique_ptr<SuiteRun> BeginChurn(const ChaosOptions& options);
std::unique_ptr<SuiteRun> BeginResize(const ChaosOptions& options);

// --- Draws. Not std::uniform_*_distribution, whose numbers differ between libraries.

inline uint64_t DrawBelow(std::mt19937_64& random, uint64_t bound) { return random() % bound; }
// From `low` to `high`, as often short as long on a scale of factors.
inline uint64_t DrawLogUniform(std::mt19937_64& random, double low, double high) {
  const double share = static_cast<double>(random() >> 11) * 0x1p-53;
  return static_cast<uint64_t>(low * std::pow(high / low, share));
}
template <typename T>
const T& DrawOne(std::mt19937_64& random, const std::vector<T>& from) {
  return from[DrawBelow(random, from.size())];
}

}  // namespace penstock
