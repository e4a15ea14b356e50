// OptionSet: options declared once, each bound to a field of a struct, and read from a file, the environment,
// flags and JSON.
//
// A program declares its options on start-up (cluster_options.h), then loads in the order of rising
// precedence: file, environment, flags; then calls Validate. From the same declarations come the annotated
// samples in conf/, `config explain` and the page in docs/.
//
//   OptionSet options;
//   options.DescribeSection("server", "One server process.");
//   options.Add("server", "cores", &server.cores, {.help = "Event loops, one thread each.", .min = 1, .max =
//   256}); PENSTOCK_RETURN_IF_ERROR(options.LoadFile("cluster.toml"));
//
// One thread. The targets must outlive the set and stay where they are. A load either takes effect as a whole
// or, on an error, not at all. Errors are kInvalidArgument, also of a file that cannot be read, and name the
// origin (file:line), the key, the value and what is allowed.
#pragma once

#include <functional>
#include <memory>
#include <nlohmann/json_fwd.hpp>
#include <string>
#include <string_view>
#include <vector>

#include "common/base/option_value.h"
#include "common/base/status.h"

namespace penstock {

class OptionSet {
 public:
  OptionSet();
  ~OptionSet();
  OptionSet(const OptionSet&) = delete;
  OptionSet& operator=(const OptionSet&) = delete;

  // A comment for the section in the sample and in the docs. Sections are printed in the order of their first
  // mention.
  void DescribeSection(std::string_view section, std::string_view help);

  // T: std::string, bool, int, int64_t, uint16_t, uint32_t, uint64_t, float, double,
  // std::vector<std::string>, std::vector<int64_t>, std::vector<double>. The default is the target's value
  // now. Names are of [a-z0-9_]. Declaring a key twice is a defect of the program and ends it.
  template <typename T>
  void Add(std::string_view section, std::string_view name, T* target, OptionInfo info) {
    AddTarget(section, name, OptionTarget(target), std::move(info));
  }

  // A family of sections that say options anew for named things, such as one table of many:
  //   [tables.layer1.optimizer]
  //   kind = "sgd"
  // and "tables.layer1.optimizer.kind=sgd" for Set. Which options there are Options::Declare(OptionSet*)
  // tells; which things there are, the program knows later. What is set is checked as any option is, and kept
  // in `values` as {"layer1": {"optimizer": {"kind": "sgd"}}}, for FromJson of a set that is bound to the
  // options of one thing.
  template <typename Options>
  void AddFamily(std::string_view family, std::string_view help, nlohmann::json* values) {
    auto options = std::make_shared<Options>();
    auto set = std::make_unique<OptionSet>();
    options->Declare(set.get());
    AddFamilyOf(family, help, values, std::move(set), std::move(options));
  }

  Status LoadFile(const std::string& path);
  // TOML; `origin` stands for the file's name in errors.
  Status LoadText(std::string_view text, const std::string& origin);
  // PENSTOCK_<SECTION>_<NAME>; `getenv` gives nullptr for what is not set.
  Status LoadEnvironment(const std::function<const char*(const char*)>& getenv);
  // "section.name=value", from --set or made from a flag.
  Status Set(std::string_view assignment, const std::string& origin);
  // {"section": {"name": value}}, as from ToJson.
  Status FromJson(const nlohmann::json& values, const std::string& origin = "JSON");

  // Required options are set, and all values (also those that the program wrote itself) are allowed.
  Status Validate() const;

  // Keys are "section.name". Of a key that does not exist or is of a family: false, "".
  bool HasSection(std::string_view section) const;   // or family
  bool IsSet(std::string_view key) const;            // by anything but the default
  std::string OriginOf(std::string_view key) const;  // "default", "conf/cluster.toml:12", ...

  // Annotated TOML with every option at its default. `intro`: lines of comment at the top.
  std::string Sample(std::string_view intro) const;
  // One option in a few lines: help, what is allowed, default, value and where it comes from. An unknown key
  // is kNotFound with a suggestion.
  Result<std::string> Explain(std::string_view key) const;
  // A table for each section.
  std::string Markdown() const;
  // The present values, secret ones left out.
  nlohmann::json ToJson() const;

 private:
  struct Option;
  struct Section;
  struct Family;
  struct Assignment;
  struct Toml;  // hides toml++ from this header

  void AddFamilyOf(std::string_view family, std::string_view help, nlohmann::json* values,
                   std::unique_ptr<OptionSet> options, std::shared_ptr<void> targets);
  void AddTarget(std::string_view section, std::string_view name, OptionTarget target, OptionInfo info);
  Section* FindSection(std::string_view name) const;
  Family* FindFamily(std::string_view name) const;
  Option* Find(std::string_view key) const;
  // `prefix` is where the sections stand: "", or "tables.layer1." in a family.
  Result<Option*> Lookup(const std::string& prefix, std::string_view section, std::string_view name) const;
  Status UnknownSection(const std::string& prefix, std::string_view section) const;
  Status UnknownName(const std::string& prefix, const Section& section, std::string_view name) const;
  // Check a value, those of a document, or those of a thing in a family, and note them; Apply makes the noted
  // ones take effect.
  static Status Note(const std::string& prefix, Option& option, nlohmann::json value,
                     const std::string& origin, std::vector<Assignment>* noted);
  Status NoteToml(const std::string& prefix, const Toml& sections, const std::string& origin,
                  std::vector<Assignment>* noted) const;
  Status NoteJson(const std::string& prefix, const nlohmann::json& sections, const std::string& origin,
                  std::vector<Assignment>* noted) const;
  Status NoteText(const std::string& prefix, std::string_view key, std::string_view text,
                  const std::string& origin, std::vector<Assignment>* noted) const;
  static void ForThing(Family* family, const std::string& thing, size_t first,
                       std::vector<Assignment>* noted);
  static Status UnknownThing(const Family& family, const std::string& at);
  static void Apply(std::vector<Assignment> noted);

  std::vector<std::unique_ptr<Section>> sections_;
  std::vector<std::unique_ptr<Family>> families_;
};

}  // namespace penstock
