// AddBenchCommands: the part of the command line that `penstock bench` has.
#pragma once

#include <functional>
#include <string>

#include "tools/cli/arguments.h"

namespace CLI {
class App;
class Option;
}  // namespace CLI

namespace penstock {

// What commands of all kinds are made of.
struct CommandParts {
  std::function<CLI::App*(CLI::App* parent, const std::string& name, const std::string& help)> command;
  std::function<void(CLI::App*)> output;          // --output
  std::function<CLI::Option*(CLI::App*)> target;  // --data-dir and --scheduler, which it gives back
};

void AddBenchCommands(CLI::App* bench, Arguments* arguments, const CommandParts& parts);

}  // namespace penstock
