// sim --count N --first S [--seed S] [--mutant NAME] [--mutants] [--twice] [--trace]
//
// Runs seeds and checks the invariants of each (sim_invariants.h). A seed that fails prints which, the end of
// its trace, and the line that runs it again. `--mutants` switches off one defence of the product after the
// other (common/base/mutant.h) and runs until an invariant says so.
#include <glog/logging.h>

#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>

#include "common/base/mutant.h"
#include "tests/sim/sim_cluster.h"

namespace penstock::sim {
namespace {

struct Arguments {
  uint64_t first = 1, count = 1;
  bool trace = false, mutants = false, twice = false;
  Defence mutant = Defence::kNone;
  uint64_t limit = 3000;  // of seeds for a mutant
};

struct MutantName {
  const char* name;
  Defence defence;
};
constexpr MutantName kMutants[] = {{"marks", Defence::kMarks},
                                   {"epoch-check", Defence::kEpoch},
                                   {"marks-in-fold", Defence::kFoldMarks},
                                   {"atomic-unit", Defence::kAtomicUnit},
                                   {"duplicate-waits", Defence::kDuplicateWait},
                                   {"content-chain", Defence::kContentChain},
                                   {"lease-token", Defence::kLeaseToken},
                                   {"log-before-answer", Defence::kAppendFirst},
                                   {"promote-in-sync", Defence::kPromoteInSync},
                                   {"promote-confirmed", Defence::kPromoteSettled},
                                   {"backup-confirms-dropped", Defence::kConfirmHeld},
                                   {"quarantine", Defence::kQuarantine},
                                   {"rewind-number", Defence::kRewind},
                                   {"told-is-logged", Defence::kToldIsLogged},
                                   {"held-before", Defence::kHeldBefore},
                                   {"fence", Defence::kFence},
                                   {"last-delta", Defence::kLastDelta},
                                   {"hand-over-equal", Defence::kHandOverEqual},
                                   {"unfence", Defence::kUnfence}};

struct Outcome {
  std::string failed;
  uint64_t hash = 0, events = 0;
};

struct Totals {
  StepCounts steps;
  uint64_t events = 0, acknowledged = 0, promotions = 0, losses = 0;
};

Outcome RunSeed(uint64_t seed, Defence mutant, bool trace, bool say, Totals* totals) {
  mutant_internal::off = mutant;
  SimOptions options = DrawOptions(seed);
  options.print_trace = trace;
  SimCluster cluster(options);
  cluster.Run();
  if (totals != nullptr) {
    totals->steps += cluster.world.steps();
    totals->events += cluster.world.events();
    totals->acknowledged += cluster.truth.acknowledged();
    totals->promotions += cluster.truth.promotions();
    totals->losses += cluster.truth.losses_accepted();
  }
  if (say && !cluster.world.failed().empty()) {
    std::printf("%s\n", Describe(options).c_str());
    for (const std::string& line : cluster.world.tail()) std::printf("  %s\n", line.c_str());
    std::printf("seed %llu: invariant %s does not hold: %s\n", static_cast<unsigned long long>(seed),
                cluster.world.failed().c_str(), cluster.world.failure().c_str());
  }
  return {cluster.world.failed(), cluster.world.trace_hash(), cluster.world.events()};
}

const char* NameOf(Defence defence) {
  for (const MutantName& mutant : kMutants) {
    if (mutant.defence == defence) return mutant.name;
  }
  return "";
}

int RunSeeds(const Arguments& arguments) {
  Totals totals;
  uint64_t passed = 0, failed = 0;
  for (uint64_t seed = arguments.first; seed < arguments.first + arguments.count; ++seed) {
    const Outcome outcome = RunSeed(seed, arguments.mutant, arguments.trace, true, &totals);
    bool good = outcome.failed.empty();
    if (good && arguments.twice) {
      const Outcome again = RunSeed(seed, arguments.mutant, false, false, nullptr);
      good = again.hash == outcome.hash && again.events == outcome.events;
      if (!good) std::printf("seed %llu: two runs differ\n", static_cast<unsigned long long>(seed));
    }
    ++(good ? passed : failed);
    if (good) continue;
    std::printf("again: sim --seed %llu%s%s --trace\n\n", static_cast<unsigned long long>(seed),
                arguments.mutant == Defence::kNone ? "" : " --mutant ", NameOf(arguments.mutant));
    std::fflush(stdout);
  }
  if (arguments.count > 1) {
    std::printf("%s%llu events, %llu units acknowledged, %llu promotions, %llu losses accepted\n",
                totals.steps.Table().c_str(), static_cast<unsigned long long>(totals.events),
                static_cast<unsigned long long>(totals.acknowledged),
                static_cast<unsigned long long>(totals.promotions),
                static_cast<unsigned long long>(totals.losses));
  }
  const std::string never = totals.steps.NeverInterrupted();
  const bool all = arguments.count < 1000 || never.empty();
  if (!all) std::printf("no fault ever interrupted: %s\n", never.c_str());
  std::printf("%llu passed, %llu failed\n", static_cast<unsigned long long>(passed),
              static_cast<unsigned long long>(failed));
  return failed == 0 && all ? 0 : 1;
}

// Whether the defence can matter in such a seed.
bool Fits(Defence defence, const SimOptions& options) {
  switch (defence) {
    case Defence::kFoldMarks:
      return options.with_base;
    case Defence::kEpoch:
    case Defence::kConfirmHeld:
    case Defence::kPromoteInSync:
    case Defence::kPromoteSettled:
      return options.copies > 1;
    case Defence::kHeldBefore:
      return options.weights == Durability::kMemory;
    case Defence::kContentChain:
      return options.isolation;
    case Defence::kFence:
    case Defence::kLastDelta:
    case Defence::kHandOverEqual:
    case Defence::kUnfence:
      return options.moves;
    case Defence::kRewind:
    case Defence::kLeaseToken:  // a late report does harm when what it says is logged was lost and accepted
      return options.losses;
    default:
      return true;
  }
}

// The first seed that notices must be one that passes with the defence.
bool Catch(const MutantName& mutant, const Arguments& arguments) {
  uint64_t tried = 0;
  for (uint64_t seed = arguments.first; tried < arguments.limit; ++seed) {
    const bool fits = Fits(mutant.defence, DrawOptions(seed));
    if (!fits) continue;
    ++tried;
    const Outcome outcome = RunSeed(seed, mutant.defence, false, false, nullptr);
    if (outcome.failed.empty()) continue;
    const Outcome defended = RunSeed(seed, Defence::kNone, false, false, nullptr);
    if (!defended.failed.empty()) continue;
    std::printf("%-23s caught by %s after %llu seeds, in seed %llu\n", mutant.name, outcome.failed.c_str(),
                static_cast<unsigned long long>(tried), static_cast<unsigned long long>(seed));
    std::fflush(stdout);
    return true;
  }
  std::printf("%-23s NOT caught in %llu seeds\n", mutant.name, static_cast<unsigned long long>(tried));
  return false;
}

int RunMutants(const Arguments& arguments) {
  int caught = 0;
  for (const MutantName& mutant : kMutants) {
    if (arguments.mutant == Defence::kNone || arguments.mutant == mutant.defence)
      caught += Catch(mutant, arguments);
  }
  const int wanted = arguments.mutant == Defence::kNone ? static_cast<int>(std::size(kMutants)) : 1;
  std::printf("%d passed, %d failed\n", caught, wanted - caught);
  return caught == wanted ? 0 : 1;
}

int Usage() {
  std::fprintf(stderr,
               "sim [--count N] [--first S] [--seed S] [--mutant NAME] [--mutants] [--limit N] [--twice] "
               "[--trace]\nmutants:");
  for (const MutantName& mutant : kMutants) std::fprintf(stderr, " %s", mutant.name);
  std::fprintf(stderr, "\n");
  return 2;
}

bool Parse(int argc, char** argv, Arguments* out) {
  for (int i = 1; i < argc; ++i) {
    const std::string name = argv[i];
    if (name == "--trace") {
      out->trace = true;
    } else if (name == "--mutants") {
      out->mutants = true;
    } else if (name == "--twice") {
      out->twice = true;
    } else if (i + 1 == argc) {
      return false;
    } else if (name == "--mutant") {
      for (const MutantName& mutant : kMutants) {
        if (mutant.name == std::string(argv[i + 1])) out->mutant = mutant.defence;
      }
      if (out->mutant == Defence::kNone) return false;
      ++i;
    } else {
      char* end = nullptr;
      const uint64_t value = std::strtoull(argv[++i], &end, 10);
      if (*argv[i] == '\0' || *end != '\0') return false;
      if (name == "--count") {
        out->count = value;
      } else if (name == "--first" || name == "--seed") {
        out->first = value;
      } else if (name == "--limit") {
        out->limit = value;
      } else {
        return false;
      }
    }
  }
  return true;
}

}  // namespace
}  // namespace penstock::sim

int main(int argc, char** argv) {
  FLAGS_logtostderr = true;
  FLAGS_minloglevel = google::GLOG_FATAL;  // the trace says what happens
  google::InitGoogleLogging(argv[0]);
  penstock::sim::Arguments arguments;
  if (!penstock::sim::Parse(argc, argv, &arguments)) return penstock::sim::Usage();
  return arguments.mutants ? penstock::sim::RunMutants(arguments) : penstock::sim::RunSeeds(arguments);
}
