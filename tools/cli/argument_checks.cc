#include "tools/cli/argument_checks.h"

#include <algorithm>
#include <charconv>
#include <optional>

#include "common/base/strings.h"
#include "common/base/suggest.h"

namespace penstock {
namespace {

// "penstock job show"
std::string FullName(const CLI::App& app) {
  const CLI::App* parent = app.get_parent();
  return parent == nullptr ? app.get_name() : FullName(*parent) + " " + app.get_name();
}

// The one that the words have named.
const CLI::App& Named(const CLI::App& app) {
  const auto parsed = app.get_subcommands();
  return parsed.empty() ? app : Named(*parsed.front());
}

std::vector<std::string> OptionsOf(const CLI::App& command) {
  std::vector<std::string> names;
  for (const CLI::Option* option : command.get_options()) {
    for (const std::string& name : option->get_lnames()) names.push_back("--" + name);
  }
  return names;
}

// "" when all of its options are known.
std::string UnknownOption(const CLI::App& command) {
  for (const std::string& word : command.remaining()) {
    if (word.size() < 2 || word.front() != '-' || word == "--") continue;
    const std::string option = word.substr(0, word.find('='));
    const std::vector<std::string> names = OptionsOf(command);
    const std::string near = Suggest(option, names);
    return StrCat(
        "'", option, "' is no option of ", FullName(command),
        near.empty() ? StrCat(": there are ", StrJoin(names, ", ")) : StrCat(": did you mean '", near, "'?"));
  }
  return "";
}

std::optional<uint64_t> Whole(const std::string& text, uint64_t low, uint64_t high) {
  uint64_t number = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  const bool whole = error == std::errc() && end == text.data() + text.size();
  return whole && number >= low && number <= high ? std::optional(number) : std::nullopt;
}

}  // namespace

CLI::Validator OneOf(std::vector<std::string> words) {
  return CLI::Validator(
      [words](std::string& text) -> std::string {
        if (std::find(words.begin(), words.end(), text) != words.end()) return "";
        const std::string near = Suggest(text, words);
        return StrCat("'", text, "' is not allowed, there are ", StrJoin(words, ", "),
                      near.empty() ? "" : StrCat(": did you mean '", near, "'?"));
      },
      "");
}

CLI::Validator NotEmpty() {
  return {[](const std::string& text) { return std::string(text.empty() ? "it is empty" : ""); }, ""};
}

CLI::Validator SchedulerAddress() {
  return CLI::Validator(
      [](std::string& text) -> std::string {
        const size_t colon = text.rfind(':');
        const bool host = colon != std::string::npos && colon > 0;
        if (text.find('/') != std::string::npos || (host && Whole(text.substr(colon + 1), 1, 65535)))
          return "";
        return StrCat("'", text,
                      "' is not allowed, it is host:port, or the path (with a '/') of a file that holds it");
      },
      "");
}

CLI::Validator WholeNumber(uint64_t low, uint64_t high) {
  return CLI::Validator(
      [low, high](std::string& text) -> std::string {
        if (const auto number = Whole(text, low, high)) {
          text = std::to_string(*number);  // CLI11 would read 010 as 8
          return "";
        }
        return StrCat("'", text, "' is not allowed, it is a whole number from ", low, " to ", high);
      },
      "");
}

std::string UnknownCommand(const CLI::App& app, int argc, const char* const* argv) {
  const CLI::App* level = &app;
  for (int i = 1; i < argc && argv[i][0] != '-'; ++i) {
    std::vector<std::string> names, shown;
    for (const CLI::App* command : level->get_subcommands([](const CLI::App*) { return true; })) {
      names.push_back(command->get_name());
      if (!command->get_group().empty()) shown.push_back(command->get_name());
    }
    if (names.empty()) return "";
    if (std::find(names.begin(), names.end(), argv[i]) == names.end()) {
      const std::string near = Suggest(argv[i], shown);
      return StrCat("'", argv[i], "' is no command of ", FullName(*level),
                    near.empty() ? ": there are " + StrJoin(shown, ", ") : ": did you mean '" + near + "'?");
    }
    level = level->get_subcommand(argv[i]);
  }
  return "";
}

std::string ExplainMistake(const CLI::App& app, const CLI::ParseError& error) {
  const CLI::App& command = Named(app);
  std::string text = UnknownOption(command);
  if (text.empty()) text = error.what();
  return StrCat(text, "\nRun `", FullName(command), " --help` for what there is.");
}

}  // namespace penstock
