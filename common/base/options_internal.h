// The parts of an OptionSet, shared by its loading (options.cc) and its printing (options_print.cc).
#pragma once

#include <absl/strings/ascii.h>

#include <memory>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "common/base/options.h"

namespace penstock {

struct OptionSet::Option {
  std::string section;
  std::string name;
  OptionTarget target;
  OptionInfo info;
  nlohmann::json default_value;
  std::string origin = "default";
  bool is_set = false;

  std::string key() const { return section + "." + name; }
  std::string variable() const { return absl::AsciiStrToUpper("PENSTOCK_" + section + "_" + name); }
};

struct OptionSet::Section {
  std::string name;
  std::string help;
  std::vector<std::unique_ptr<Option>> options;
};

struct OptionSet::Family {
  std::string name;
  std::string help;
  nlohmann::json* values;
  std::shared_ptr<void> targets;       // what the options are bound to; never written
  std::unique_ptr<OptionSet> options;  // of each thing
};

// A checked value on its way to its option, or to the values of a thing in a family.
struct OptionSet::Assignment {
  Option* option;
  nlohmann::json value;
  std::string origin;
  Family* family = nullptr;
  std::string thing = {};
};

}  // namespace penstock
