// The chaos tool: runs suites of faults against clusters of real processes, and says of each whether all that
// Penstock promises was kept (tools/chaos builds and starts it).
#include <CLI/CLI.hpp>
#include <algorithm>
#include <cstdio>
#include <optional>
#include <string>
#include <vector>

#include "common/base/hash.h"
#include "common/base/strings.h"
#include "tests/chaos/suite.h"

namespace penstock {
namespace {

constexpr int kUsage = 2;

struct Arguments {
  std::vector<std::string> suites;
  std::optional<uint64_t> count, iteration;
  std::string level = "logged";
  ChaosOptions chaos;
};

struct Totals {
  uint64_t passed = 0, failed = 0;
};

double Median(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  return values[values.size() / 2];
}

// Each iteration draws from a generator of its own, so that it can be run again alone.
std::mt19937_64 Generator(const Suite& suite, uint64_t seed, uint64_t iteration) {
  uint64_t mixed = Mix64(seed);
  for (const char* c = suite.name; *c != '\0'; ++c) mixed = Mix64(mixed + static_cast<unsigned char>(*c));
  return std::mt19937_64(Mix64(mixed + iteration));
}

std::string Milliseconds(double ms) {
  char text[32];
  std::snprintf(text, sizeof text, "%.0f ms", ms);
  return text;
}

std::string Line(const Suite& suite, uint64_t number, const Iteration& iteration) {
  std::string line = StrCat(suite.name, " ", number, ": ", iteration.what);
  if (!iteration.skipped.empty()) return line + ": skipped, " + iteration.skipped;
  if (iteration.in_flight >= 0) line += StrCat("; ", iteration.in_flight, " in flight");
  if (iteration.gap_ms >= 0) line += "; longest gap " + Milliseconds(iteration.gap_ms);
  if (iteration.recovery_ms >= 0) line += "; went on after " + Milliseconds(iteration.recovery_ms);
  if (!iteration.note.empty()) line += "; " + iteration.note;
  return line + (iteration.error.empty() ? "" : "; FAILED");
}

std::string AgainLine(const Arguments& arguments, const Suite& suite, uint64_t number) {
  std::string line = StrCat("tools/chaos ", suite.name, " --seed ", arguments.chaos.seed, " --iteration ",
                            number, " --level ", arguments.level, " --servers ", arguments.chaos.servers);
  if (arguments.chaos.copies > 1)
    line += StrCat(" --copies ", arguments.chaos.copies, " --min-copies ", arguments.chaos.min_copies);
  return line;
}

void Summary(const Suite& suite, const std::vector<double>& recoveries, const Totals& totals,
             uint64_t skipped) {
  std::string line = StrCat(suite.name, ": ", totals.passed, " passed, ", totals.failed, " failed");
  if (skipped > 0) line += StrCat(", ", skipped, " skipped");
  if (!recoveries.empty())
    line += StrCat("; went on after ", Milliseconds(Median(recoveries)), " (median), ",
                   Milliseconds(*std::max_element(recoveries.begin(), recoveries.end())), " (most)");
  std::printf("%s\n", line.c_str());
}

Totals RunSuite(const Suite& suite, const Arguments& arguments) {
  Totals totals;
  uint64_t skipped = 0;
  std::vector<double> recoveries;
  std::unique_ptr<SuiteRun> run;
  const uint64_t first = arguments.iteration.value_or(1);
  const uint64_t count = arguments.iteration ? 1 : arguments.count.value_or(suite.count);
  for (uint64_t number = first; number < first + count; ++number) {
    if (run == nullptr) run = suite.begin(arguments.chaos);
    std::mt19937_64 random = Generator(suite, arguments.chaos.seed, number);
    const Iteration iteration = run->Iterate(random);
    std::printf("%s\n", Line(suite, number, iteration).c_str());
    if (iteration.recovery_ms >= 0) recoveries.push_back(iteration.recovery_ms);
    if (!iteration.skipped.empty()) {
      ++skipped;
    } else if (iteration.error.empty()) {
      ++totals.passed;
    } else {
      ++totals.failed;
      std::printf("  %s\n  data: %s\n  again: %s\n", iteration.error.c_str(), run->Keep().c_str(),
                  AgainLine(arguments, suite, number).c_str());
      run.reset();
    }
    std::fflush(stdout);
  }
  Summary(suite, recoveries, totals, skipped);
  return totals;
}

std::vector<std::string> SuiteNames() {
  std::vector<std::string> names;
  for (const Suite& suite : AllSuites()) names.emplace_back(suite.name);
  return names;
}

// What is wrong with them, or empty.
std::string Refuse(const Arguments& arguments) {
  const auto names = SuiteNames();
  for (const auto& name : arguments.suites) {
    if (name != "all" && std::find(names.begin(), names.end(), name) == names.end())
      return StrCat("'", name, "' is no suite: allowed are all, ", StrJoin(names, ", "));
    if (name == "disk" && arguments.chaos.copies > 1)
      return StrCat("disk has one server, and so one copy: --copies ", arguments.chaos.copies);
    if (name == "resize" && arguments.chaos.copies > 2)
      return StrCat("resize goes down to two servers: --copies ", arguments.chaos.copies,
                    ", allowed are 1 and 2");
  }
  if (arguments.chaos.copies > static_cast<uint32_t>(arguments.chaos.servers))
    return StrCat("--copies ", arguments.chaos.copies, " needs as many servers: --servers");
  return "";
}

void Describe(CLI::App* app, Arguments* arguments) {
  std::string suites = "Suites:\n";
  for (const Suite& suite : AllSuites())
    suites += StrCat("  ", suite.name, std::string(16 - std::string(suite.name).size(), ' '),
                     suite.description, " (", suite.count, ")\n");
  app->footer(suites +
              "  all             one after the other\nIn brackets: iterations, where --count says nothing.");
  app->add_option("SUITE", arguments->suites, "Which suites to run, or all")->required();
  app->add_option("--count", arguments->count, "Iterations of each suite")->check(CLI::Range(1, 1000000));
  app->add_option("--seed", arguments->chaos.seed, "What all draws come from")->capture_default_str();
  app->add_option("--iteration", arguments->iteration, "Only this one, on a fresh cluster");
  app->add_option("--level", arguments->level, "Durability of the load's tables")
      ->check(CLI::IsMember({"memory", "logged", "synced"}))
      ->capture_default_str();
  app->add_option("--servers", arguments->chaos.servers, "Servers of a cluster")
      ->check(CLI::Range(1, 16))
      ->capture_default_str();
  app->add_option("--copies", arguments->chaos.copies, "Copies of each shard")
      ->check(CLI::Range(1, 3))
      ->capture_default_str();
  app->add_option("--min-copies", arguments->chaos.min_copies, "Copies that a push needs")
      ->check(CLI::Range(1, 3))
      ->capture_default_str();
}

int Main(int argc, char** argv) {
  Arguments arguments;
  CLI::App app("Faults against clusters of real processes, and whether all promises are kept.",
               "tools/chaos");
  Describe(&app, &arguments);
  std::string wrong;
  try {
    app.parse(argc, argv);
    wrong = Refuse(arguments);
  } catch (const CLI::CallForHelp&) {
    std::printf("%s", app.help().c_str());
    return 0;
  } catch (const CLI::ParseError& error) {
    wrong = error.what();
  }
  if (!wrong.empty()) {
    std::fprintf(stderr, "tools/chaos: %s\n\n%s", wrong.c_str(), app.help().c_str());
    return kUsage;
  }
  arguments.chaos.level = arguments.level == "memory"   ? Durability::kMemory
                          : arguments.level == "synced" ? Durability::kSynced
                                                        : Durability::kLogged;
  std::vector<std::string> names = arguments.suites;
  if (std::find(names.begin(), names.end(), "all") != names.end()) names = SuiteNames();
  Totals all;
  for (const Suite& suite : AllSuites()) {
    if (std::find(names.begin(), names.end(), suite.name) == names.end()) continue;
    std::printf("== %s: %s (seed %llu, level %s)\n", suite.name, suite.description,
                static_cast<unsigned long long>(arguments.chaos.seed), arguments.level.c_str());
    const Totals totals = RunSuite(suite, arguments);
    all.passed += totals.passed;
    all.failed += totals.failed;
  }
  std::printf("%llu passed, %llu failed\n", static_cast<unsigned long long>(all.passed),
              static_cast<unsigned long long>(all.failed));
  return all.failed > 0 ? 1 : 0;
}

}  // namespace
}  // namespace penstock

int main(int argc, char** argv) { return penstock::Main(argc, argv); }
