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

struct OptionSet::Toml {
  const toml::table& table;
};

OptionSet::OptionSet() = default;
OptionSet::~OptionSet() = default;

OptionSet::Section* OptionSet::FindSection(std::string_view name) const {
  const auto found =
      std::ranges::find_if(sections_, [&](const auto& section) { return section->name == name; });
  return found == sections_.end() ? nullptr : found->get();
}

OptionSet::Family* OptionSet::FindFamily(std::string_view name) const {
  const auto found =
      std::ranges::find_if(families_, [&](const auto& family) { return family->name == name; });
  return found == families_.end() ? nullptr : found->get();
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

void OptionSet::AddFamilyOf(std::string_view family, std::string_view help, json* values,
                            std::unique_ptr<OptionSet> options, std::shared_ptr<void> targets) {
  CHECK(IsOptionName(family) && !HasSection(family)) << "family '" << family << "' is declared twice";
  families_.push_back(std::make_unique<Family>(Family{.name = std::string(family),
                                                      .help = std::string(help),
                                                      .values = values,
                                                      .targets = std::move(targets),
                                                      .options = std::move(options)}));
}

bool OptionSet::HasSection(std::string_view section) const {
  return FindSection(section) != nullptr || FindFamily(section) != nullptr;
}

Status OptionSet::UnknownSection(const std::string& prefix, std::string_view section) const {
  std::vector<std::string> names;
  for (const auto& known : sections_) names.push_back(known->name);
  for (const auto& family : families_) names.push_back(family->name);
  const std::string near = Suggest(section, names);
  const std::string what = StrCat("there is no section [", prefix, section, "]");
  return InvalidArgument(near.empty() ? StrCat(what, "; there are: ", StrJoin(names, ", "))
                                      : StrCat(what, ": did you mean '", near, "'?"));
}

Status OptionSet::UnknownName(const std::string& prefix, const Section& section,
                              std::string_view name) const {
  const std::string what = StrCat("section [", prefix, section.name, "] has no option '", name, "'");
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

Result<OptionSet::Option*> OptionSet::Lookup(const std::string& prefix, std::string_view section,
                                             std::string_view name) const {
  const Section* found = FindSection(section);
  if (found == nullptr) return UnknownSection(prefix, section);
  for (const auto& option : found->options) {
    if (option->name == name) return option.get();
  }
  return UnknownName(prefix, *found, name);
}

Status OptionSet::Note(const std::string& prefix, Option& option, json value, const std::string& origin,
                       std::vector<Assignment>* noted) {
  const Status status = CheckOption(option.target, option.info, value);
  if (!status.ok()) {
    const std::string shown = option.info.secret ? "(secret)" : ShowValue(value);
    return status.Prepend(StrCat(origin, ": ", prefix, option.key(), " = ", shown));
  }
  noted->push_back({&option, std::move(value), origin});
  return Status::Ok();
}

void OptionSet::Apply(std::vector<Assignment> noted) {
  for (Assignment& assignment : noted) {
    Option& option = *assignment.option;
    if (assignment.family != nullptr) {
      (*assignment.family->values)[assignment.thing][option.section][option.name] =
          std::move(assignment.value);
      continue;
    }
    WriteOption(option.target, assignment.value);
    option.origin = std::move(assignment.origin);
    option.is_set = true;
  }
}

Status OptionSet::LoadFile(const std::string& path) {
  const auto text = ReadWholeFile(path);
  // Whatever keeps it from being read, it is whoever named it that must mend that.
  if (!text.ok()) return InvalidArgument(text.status().message());
  return LoadText(*text, path);
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
  PENSTOCK_RETURN_IF_ERROR(NoteToml("", {document}, origin, &noted));
  Apply(std::move(noted));
  return Status::Ok();
}

Status OptionSet::NoteToml(const std::string& prefix, const Toml& sections, const std::string& origin,
                           std::vector<Assignment>* noted) const {
  for (const auto& [section_key, section_node] : sections.table) {
    const std::string section(section_key.str());
    const std::string section_at = StrCat(origin, ":", section_key.source().begin.line);
    const toml::table* table = section_node.as_table();
    if (table == nullptr) {
      return InvalidArgument(StrCat(section_at, ": '", prefix, section,
                                    "' stands outside of a section; write [", prefix, "section] above it"));
    }
    if (Family* family = FindFamily(section); family != nullptr) {
      for (const auto& [thing, node] : *table) {
        const std::string name(thing.str()), at = StrCat(prefix, section, ".", name);
        if (!node.is_table()) return UnknownThing(*family, at).Prepend(At(origin, node));
        const size_t first = noted->size();
        PENSTOCK_RETURN_IF_ERROR(family->options->NoteToml(at + ".", {*node.as_table()}, origin, noted));
        ForThing(family, name, first, noted);
      }
      continue;
    }
    if (FindSection(section) == nullptr) return UnknownSection(prefix, section).Prepend(section_at);
    for (const auto& [name, node] : *table) {
      const std::string at = StrCat(origin, ":", name.source().begin.line);
      Result<Option*> option = Lookup(prefix, section, name.str());
      if (!option.ok()) return option.status().Prepend(at);
      PENSTOCK_RETURN_IF_ERROR(Note(prefix, **option, FromToml(node), At(origin, node), noted));
    }
  }
  return Status::Ok();
}

// What was noted from `first` on by a family's options is of one of its things.
void OptionSet::ForThing(Family* family, const std::string& thing, size_t first,
                         std::vector<Assignment>* noted) {
  for (size_t i = first; i < noted->size(); ++i) {
    (*noted)[i].family = family;
    (*noted)[i].thing = thing;
  }
}

Status OptionSet::UnknownThing(const Family& family, const std::string& at) {
  std::vector<std::string> names;
  for (const auto& section : family.options->sections_) names.push_back(section->name);
  return InvalidArgument(StrCat("'", at, "' is no section; write [", family.name,
                                ".NAME.SECTION] above it, with SECTION one of ", StrJoin(names, ", ")));
}

Status OptionSet::LoadEnvironment(const std::function<const char*(const char*)>& getenv) {
  std::vector<Assignment> noted;
  for (const auto& section : sections_) {
    for (const auto& option : section->options) {
      const std::string variable = option->variable();
      const char* value = getenv(variable.c_str());
      if (value == nullptr) continue;
      PENSTOCK_RETURN_IF_ERROR(
          Note("", *option, ParseOptionText(option->target, value), "environment " + variable, &noted));
    }
  }
  Apply(std::move(noted));
  return Status::Ok();
}

Status OptionSet::Set(std::string_view assignment, const std::string& origin) {
  const size_t equals = assignment.find('=');
  if (equals == std::string_view::npos || assignment.substr(0, equals).find('.') == std::string_view::npos) {
    return InvalidArgument(StrCat(origin, ": '", assignment, "' is not of the form section.name=value"));
  }
  std::vector<Assignment> noted;
  PENSTOCK_RETURN_IF_ERROR(
      NoteText("", assignment.substr(0, equals), assignment.substr(equals + 1), origin, &noted));
  Apply(std::move(noted));
  return Status::Ok();
}

Status OptionSet::NoteText(const std::string& prefix, std::string_view key, std::string_view text,
                           const std::string& origin, std::vector<Assignment>* noted) const {
  const size_t dot = std::min(key.find('.'), key.size());
  const std::string section(key.substr(0, dot)), rest(key.substr(std::min(dot + 1, key.size())));
  if (Family* family = FindFamily(section); family != nullptr) {
    const size_t end = rest.find('.');
    const std::string thing = rest.substr(0, end), at = StrCat(prefix, section, ".", thing);
    if (end == std::string::npos) return UnknownThing(*family, at).Prepend(origin);
    const size_t first = noted->size();
    PENSTOCK_RETURN_IF_ERROR(family->options->NoteText(at + ".", rest.substr(end + 1), text, origin, noted));
    ForThing(family, thing, first, noted);
    return Status::Ok();
  }
  Result<Option*> option = Lookup(prefix, section, rest);
  if (!option.ok()) return option.status().Prepend(origin);
  return Note(prefix, **option, ParseOptionText((*option)->target, text), origin, noted);
}

Status OptionSet::FromJson(const json& values, const std::string& origin) {
  std::vector<Assignment> noted;
  PENSTOCK_RETURN_IF_ERROR(NoteJson("", values, origin, &noted));
  Apply(std::move(noted));
  return Status::Ok();
}

Status OptionSet::NoteJson(const std::string& prefix, const json& sections, const std::string& origin,
                           std::vector<Assignment>* noted) const {
  if (!sections.is_object()) return InvalidArgument(StrCat(origin, ": must be an object of sections"));
  for (const auto& [section, options] : sections.items()) {
    if (!HasSection(section)) return UnknownSection(prefix, section).Prepend(origin);
    if (!options.is_object()) {
      return InvalidArgument(StrCat(origin, ": '", prefix, section, "' must be an object of options"));
    }
    if (Family* family = FindFamily(section); family != nullptr) {
      for (const auto& [thing, its] : options.items()) {
        const size_t first = noted->size();
        PENSTOCK_RETURN_IF_ERROR(
            family->options->NoteJson(StrCat(prefix, section, ".", thing, "."), its, origin, noted));
        ForThing(family, thing, first, noted);
      }
      continue;
    }
    for (const auto& [name, value] : options.items()) {
      Result<Option*> option = Lookup(prefix, section, name);
      if (!option.ok()) return option.status().Prepend(origin);
      PENSTOCK_RETURN_IF_ERROR(Note(prefix, **option, value, origin, noted));
    }
  }
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
      PENSTOCK_RETURN_IF_ERROR(Note("", *option, value, option->origin, &unused));
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
  for (const auto& family : families_)
    values[family->name] = family->values->is_null() ? json::object() : *family->values;
  return values;
}

}  // namespace penstock
