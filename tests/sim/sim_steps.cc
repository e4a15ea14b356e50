#include "tests/sim/sim_steps.h"

#include <cstdio>

namespace penstock::sim {

const char* NameOf(Step step) {
  static constexpr const char* kNames[] = {"-",
                                           "push sent",
                                           "push applied",
                                           "delta built",
                                           "delta appended",
                                           "delta synced",
                                           "delta sent",
                                           "delta taken",
                                           "delta confirmed",
                                           "push answered",
                                           "attach sent",
                                           "attach answered",
                                           "seed begun",
                                           "piece sent",
                                           "seed finishing",
                                           "last piece sent",
                                           "epoch committed",
                                           "grant delivered",
                                           "promoted",
                                           "epoch confirmed",
                                           "fenced",
                                           "handed over",
                                           "register sent",
                                           "heartbeat sent",
                                           "lease given",
                                           "report sent",
                                           "report taken",
                                           "taken over",
                                           "replay begun",
                                           "fold begun"};
  static_assert(std::size(kNames) == static_cast<size_t>(Step::kCount));
  return kNames[static_cast<size_t>(step)];
}

StepCounts& StepCounts::operator+=(const StepCounts& other) {
  for (size_t i = 0; i < reached.size(); ++i) {
    reached[i] += other.reached[i];
    interrupted[i] += other.interrupted[i];
  }
  return *this;
}

std::string StepCounts::Table() const {
  std::string table = "step                  reached   interrupted\n";
  for (size_t i = 1; i < reached.size(); ++i) {
    char line[80];
    std::snprintf(line, sizeof(line), "%-18s %10llu %13llu\n", NameOf(static_cast<Step>(i)),
                  static_cast<unsigned long long>(reached[i]),
                  static_cast<unsigned long long>(interrupted[i]));
    table += line;
  }
  return table;
}

std::string StepCounts::NeverInterrupted() const {
  std::string names;
  for (size_t i = 1; i < reached.size(); ++i) {
    if (interrupted[i] == 0) names += (names.empty() ? "" : ", ") + std::string(NameOf(static_cast<Step>(i)));
  }
  return names;
}

}  // namespace penstock::sim
