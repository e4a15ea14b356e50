// OptionSet: declaration, lookup, and loading from TOML, the environment, flags and JSON.
#include "common/base/options.h"

#include <glog/logging.h>
#include <toml++/toml.h>

#include <algorithm>
#include <nlohmann/json.hpp>

#include "common/base/atomic_file.h"
#include "common/base/options_internal.h"
#include "common/base/strings.h"
#include "common/base/suggest.h"

namespace penstock {
namespace {

using nlohmann::json;

bool IsOptionName(std::string_view name) {
  return !name.empty() && std::ranges::all_of(name, [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '_';
  });
}

// What has no counterpart among the option types becomes a string that no check accepts but that reads well
// in an error.
json FromToml(const toml::node& node) {
  if (const auto* value = node.as_string()) return value->get();
  if (const auto* value = node.as_boolean()) return value->get();
  if (const auto* value = node.as_integer()) return value->get();
  if (const auto* value = node.as_floating_point()) return value->get();
  if (const auto* array = node.as_array()) {
    json list = json::array();
    for (const toml::node& element : *array) list.push_back(FromToml(element));
    return list;
  }
  return json::object({{"a", node.is_table() ? "table" : "date or time"}});
}

std::string ShowValue(const json& value) {
  return value.is_object() ? StrCat("(a ", value.value("a", "table"), ")") : OptionLiteral(value);
}

std::string At(const std::string& origin, const toml::node& node) {
  return StrCat(origin, ":", node.source().begin.line);
}

}  // namespace

OptionSet::OptionSet() = default;
OptionSet::~OptionSet() = default;

OptionSet::Section* OptionSet::FindSection(std::string_view name) const {
  const auto found =
      std::ranges::find_if(sections_, [&](const auto& section) { return section->name == name; });
  return found == sections_.end() ? nullptr : found->get();
}

OptionSet::Option* OptionSet::Find(std::string_view key) const {
  for (const auto& section : sections_) {
    for (const auto& option : section->options) {
      if (option->key() == key) return option.get();
    }
  }
  return nullptr;
}

void OptionSet::DescribeSection(std::string_view section, std::string_view help) {
  Section* found = FindSection(section);
  if (found == nullptr) {
    CHECK(IsOptionName(section)) << "section '" << section << "' must be of a-z, 0-9 and _";
    found = sections_.emplace_back(std::make_unique<Section>()).get();
    found->name = section;
  }
  if (!help.empty()) found->help = help;
}

void OptionSet::AddTarget(std::string_view section, std::string_view name, OptionTarget target,
                          OptionInfo info) {
  DescribeSection(section, "");
  auto option = std::make_unique<Option>();
  option->section = section;
  option->name = name;
  option->target = target;
  option->info = std::move(info);
  option->default_value = ReadOption(target);
  CHECK(IsOptionName(name)) << "option '" << option->key() << "' must be of a-z, 0-9 and _";
  CHECK(Find(option->key()) == nullptr) << "option '" << option->key() << "' is declared twice";
  FindSection(section)->options.push_back(std::move(option));
}

Status OptionSet::UnknownSection(std::string_view section) const {
  std::vector<std::string> names;
  for (const auto& known : sections_) names.push_back(known->name);
  const std::string near = Suggest(section, names);
  return InvalidArgument(
      near.empty() ? StrCat("there is no section [", section, "]; there are: ", StrJoin(names, ", "))
                   : StrCat("there is no section [", section, "]: did you mean '", near, "'?"));
}

Status OptionSet::UnknownName(const Section& section, std::string_view name) const {
  const std::string what = StrCat("section [", section.name, "] has no option '", name, "'");
  std::vector<std::string> names;
  for (const auto& option : section.options) names.push_back(option->name);
  if (const std::string near = Suggest(name, names); !near.empty()) {
    return InvalidArgument(StrCat(what, ": did you mean '", near, "'?"));
  }
  for (const auto& other : sections_) {
    for (const auto& option : other->options) {
      if (option->name == name) return InvalidArgument(StrCat(what, ": did you mean '", option->key(), "'?"));
    }
  }
  return InvalidArgument(StrCat(what, "; it has: ", StrJoin(names, ", ")));
}

Result<OptionSet::Option*> OptionSet::Lookup(std::string_view section, std::string_view name) const {
  const Section* found = FindSection(section);
  if (found == nullptr) return UnknownSection(section);
  for (const auto& option : found->options) {
    if (option->name == name) return option.get();
  }
  return UnknownName(*found, name);
}

Status OptionSet::Note(Option& option, json value, const std::string& origin,
                       std::vector<Assignment>* noted) {
  const Status status = CheckOption(option.target, option.info, value);
  if (!status.ok()) {
    const std::string shown = option.info.secret ? "(secret)" : ShowValue(value);
    return status.Prepend(StrCat(origin, ": ", option.key(), " = ", shown));
  }
  noted->push_back({&option, std::move(value), origin});
  return Status::Ok();
}

void OptionSet::Apply(std::vector<Assignment> noted) {
  for (Assignment& assignment : noted) {
    WriteOption(assignment.option->target, assignment.value);
    assignment.option->origin = std::move(assignment.origin);
    assignment.option->is_set = true;
  }
}

Status OptionSet::LoadFile(const std::string& path) {
  ASSIGN_OR_RETURN(const std::string text, ReadWholeFile(path));
  return LoadText(text, path);
}

Status OptionSet::LoadText(std::string_view text, const std::string& origin) {
  toml::table document;
  try {
    document = toml::parse(text);
  } catch (const toml::parse_error& error) {
    return InvalidArgument(
        StrCat(origin, ":", error.source().begin.line, ": not TOML: ", error.description()));
  }
  std::vector<Assignment> noted;
  for (const auto& [section_key, section_node] : document) {
    const std::string_view section = section_key.str();
    const std::string section_at = StrCat(origin, ":", section_key.source().begin.line);
    const toml::table* table = section_node.as_table();
    if (table == nullptr) {
      return InvalidArgument(
          StrCat(section_at, ": '", section, "' stands outside of a section; write [section] above it"));
    }
    if (FindSection(section) == nullptr) return UnknownSection(section).Prepend(section_at);
    for (const auto& [name, node] : *table) {
      const std::string at = StrCat(origin, ":", name.source().begin.line);
      Result<Option*> option = Lookup(section, name.str());
      if (!option.ok()) return option.status().Prepend(at);
      RETURN_IF_ERROR(Note(**option, FromToml(node), At(origin, node), &noted));
    }
  }
  Apply(std::move(noted));
  return Status::Ok();
}

Status OptionSet::LoadEnvironment(const std::function<const char*(const char*)>& getenv) {
  std::vector<Assignment> noted;
  for (const auto& section : sections_) {
    for (const auto& option : section->options) {
      const std::string variable = option->variable();
      const char* value = getenv(variable.c_str());
      if (value == nullptr) continue;
      RETURN_IF_ERROR(
          Note(*option, ParseOptionText(option->target, value), "environment " + variable, &noted));
    }
  }
  Apply(std::move(noted));
  return Status::Ok();
}

Status OptionSet::Set(std::string_view assignment, const std::string& origin) {
  const size_t equals = assignment.find('=');
  const size_t dot = assignment.substr(0, equals).find('.');
  if (equals == std::string_view::npos || dot == std::string_view::npos) {
    return InvalidArgument(StrCat(origin, ": '", assignment, "' is not of the form section.name=value"));
  }
  Result<Option*> option = Lookup(assignment.substr(0, dot), assignment.substr(dot + 1, equals - dot - 1));
  if (!option.ok()) return option.status().Prepend(origin);
  std::vector<Assignment> noted;
  RETURN_IF_ERROR(
      Note(**option, ParseOptionText((*option)->target, assignment.substr(equals + 1)), origin, &noted));
  Apply(std::move(noted));
  return Status::Ok();
}

Status OptionSet::FromJson(const json& values, const std::string& origin) {
  if (!values.is_object()) return InvalidArgument(origin + ": must be an object of sections");
  std::vector<Assignment> noted;
  for (const auto& [section, options] : values.items()) {
    if (FindSection(section) == nullptr) return UnknownSection(section).Prepend(origin);
    if (!options.is_object())
      return InvalidArgument(StrCat(origin, ": '", section, "' must be an object of options"));
    for (const auto& [name, value] : options.items()) {
      Result<Option*> option = Lookup(section, name);
      if (!option.ok()) return option.status().Prepend(origin);
      RETURN_IF_ERROR(Note(**option, value, origin, &noted));
    }
  }
  Apply(std::move(noted));
  return Status::Ok();
}

Status OptionSet::Validate() const {
  for (const auto& section : sections_) {
    for (const auto& option : section->options) {
      const json value = ReadOption(option->target);
      const bool can_be_empty = value.is_string() || value.is_array();
      const bool empty = value.is_string() ? value.get_ref<const std::string&>().empty() : value.empty();
      const bool untouched = !option->is_set && value == option->default_value;
      const bool missing = option->info.required && (can_be_empty ? empty : untouched);
      if (missing) {
        return InvalidArgument(StrCat("option ", option->key(), " is required: set it to ",
                                      AllowedValues(option->target, option->info), " (", option->info.help,
                                      ")"));
      }
      if (untouched) continue;  // a default may lie outside of what can be set, such as "" of a choice
      std::vector<Assignment> unused;
      RETURN_IF_ERROR(Note(*option, value, option->origin, &unused));
    }
  }
  return Status::Ok();
}

bool OptionSet::IsSet(std::string_view key) const {
  const Option* option = Find(key);
  return option != nullptr && option->is_set;
}

std::string OptionSet::OriginOf(std::string_view key) const {
  const Option* option = Find(key);
  return option == nullptr ? "" : option->origin;
}

json OptionSet::ToJson() const {
  json values = json::object();
  for (const auto& section : sections_) {
    json& options = values[section->name] = json::object();
    for (const auto& option : section->options) {
      if (!option->info.secret) options[option->name] = ReadOption(option->target);
    }
  }
  return values;
}

}  // namespace penstock
