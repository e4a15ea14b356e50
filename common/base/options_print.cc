// What is made from the declarations of options: the annotated sample, the explanation of one option, the
// table for the docs.

#include "common/base/options.h"
#include "common/base/options_internal.h"
#include "common/base/strings.h"

namespace penstock {
namespace {

using nlohmann::json;

constexpr size_t kCommentWidth = 100;

// Appends `text` as comment lines, broken between words; lines that the text itself has are kept.
void AppendComment(std::string_view text, std::string* out) {
  for (std::string_view line : StrSplit(text, '\n')) {
    std::string row = "#";
    for (std::string_view word : StrSplit(line, ' ')) {
      if (row.size() > 1 && row.size() + 1 + word.size() > kCommentWidth) {
        StrAppend(out, row, "\n");
        row = "#";
      }
      StrAppend(&row, " ", word);
    }
    StrAppend(out, row, "\n");
  }
}

std::string Shown(const OptionInfo& info, const json& value) {
  return info.secret ? "(secret)" : OptionLiteral(value);
}

// "an integer of at least 1; required"
std::string Allowed(const OptionTarget& target, const OptionInfo& info) {
  return StrCat(AllowedValues(target, info), info.required ? "; required" : "");
}

// "An integer of at least 1, in ms; required."
std::string Constraint(const OptionTarget& target, const OptionInfo& info) {
  std::string text = AllowedValues(target, info);
  text[0] = absl::ascii_toupper(static_cast<unsigned char>(text[0]));
  if (!info.unit.empty()) StrAppend(&text, ", in ", info.unit);
  StrAppend(&text, info.required ? "; required." : ".");
  return text;
}

// Text as it is: what Markdown would take for emphasis, HTML or the end of a cell is escaped.
std::string Plain(std::string_view text) {
  std::string plain;
  for (char c : text) {
    if (c == '|' || c == '*' || c == '<') plain.push_back('\\');
    plain.push_back(c == '\n' ? ' ' : c);
  }
  return plain;
}

// The same within backquotes, where only the end of a cell is.
std::string CodeCell(std::string_view text) {
  std::string cell;
  for (char c : text) {
    if (c == '|') cell.push_back('\\');
    cell.push_back(c);
  }
  return cell;
}

// "kind, learning_rate, ..."
template <typename Options>
std::string Names(const Options& options) {
  std::vector<std::string> names;
  for (const auto& option : options) names.push_back(option->name);
  return StrJoin(names, ", ");
}

}  // namespace

std::string OptionSet::Sample(std::string_view intro) const {
  std::string out;
  if (!intro.empty()) AppendComment(intro, &out);
  for (const auto& section : sections_) {
    StrAppend(&out, "\n");
    if (!section->help.empty()) AppendComment(section->help, &out);
    StrAppend(&out, "[", section->name, "]\n");
    for (const auto& option : section->options) {
      StrAppend(&out, "\n");
      AppendComment(StrCat(option->info.help, " ", Constraint(option->target, option->info)), &out);
      StrAppend(&out, option->name, " = ", OptionLiteral(option->default_value), "\n");
    }
  }
  for (const auto& family : families_) {
    StrAppend(&out, "\n");
    AppendComment(family->help, &out);
    for (const auto& section : family->options->sections_) {
      AppendComment(
          StrCat("[", family->name, ".NAME.", section->name, "] may have: ", Names(section->options)), &out);
    }
  }
  return out;
}

Result<std::string> OptionSet::Explain(std::string_view key) const {
  const size_t dot = key.find('.');
  if (dot == std::string_view::npos) {
    return InvalidArgument(StrCat("'", key, "' is not an option: options are named section.name"));
  }
  if (const Family* family = FindFamily(key.substr(0, dot)); family != nullptr) {
    const size_t thing_end = key.find('.', dot + 1);
    const size_t section_end = thing_end == std::string_view::npos ? thing_end : key.find('.', thing_end + 1);
    if (section_end == std::string_view::npos) {
      return InvalidArgument(StrCat("'", key, "' is not an option: those of [", family->name, "] are named ",
                                    family->name, ".NAME.section.name"));
    }
    Result<Option*> found = family->options->Lookup(std::string(key.substr(0, thing_end + 1)),
                                                    key.substr(thing_end + 1, section_end - thing_end - 1),
                                                    key.substr(section_end + 1));
    if (!found.ok()) return NotFound(found.status().message());
    return StrCat(key, "\n  ", (*found)->info.help, "\n  ", Constraint((*found)->target, (*found)->info),
                  "\n  ", family->help, "\n");
  }
  Result<Option*> found = Lookup("", key.substr(0, dot), key.substr(dot + 1));
  if (!found.ok()) return NotFound(found.status().message());
  const Option& option = **found;
  return StrCat(option.key(), "\n  ", option.info.help, "\n  ", Constraint(option.target, option.info),
                "\n  default:     ", Shown(option.info, option.default_value),
                "\n  now:         ", Shown(option.info, ReadOption(option.target)), " (", option.origin, ")",
                "\n  environment: ", option.variable(), "\n");
}

std::string OptionSet::Markdown() const {
  std::string out;
  for (const auto& section : sections_) {
    StrAppend(&out, out.empty() ? "" : "\n", "## [", section->name, "]\n\n");
    if (!section->help.empty()) StrAppend(&out, Plain(section->help), "\n\n");
    StrAppend(&out,
              "| option | default | allowed | unit | what it does |\n| --- | --- | --- | --- | --- |\n");
    for (const auto& option : section->options) {
      StrAppend(&out, "| `", option->name, "` | `", CodeCell(Shown(option->info, option->default_value)),
                "` | ", Plain(Allowed(option->target, option->info)), " | ", Plain(option->info.unit), " | ",
                Plain(option->info.help), " |\n");
    }
  }
  for (const auto& family : families_) {
    StrAppend(&out, "\n## [", family->name, ".NAME.SECTION]\n\n", Plain(family->help),
              "\n\n| section | options |\n| --- | --- |\n");
    for (const auto& section : family->options->sections_) {
      StrAppend(&out, "| `[", family->name, ".NAME.", section->name, "]` | ", Names(section->options),
                " |\n");
    }
  }
  return out;
}

}  // namespace penstock
