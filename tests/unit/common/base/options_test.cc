// OptionSet: every source of values, every refusal with its words, and what is printed from the declarations.
#include "common/base/options.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <map>
#include <nlohmann/json.hpp>

#include "common/base/suggest.h"
#include "tests/unit/common/temp_dir.h"

namespace penstock {
namespace {

using testing::HasSubstr;
using testing::Not;

struct Fields {
  std::string name = "penstock";
  std::string mode = "fast";
  int level = -3;
  int64_t offset = 5;
  uint16_t port = 0;
  uint64_t bytes = 1024;
  float rate = 0.1f;
  double scale = 2.5;
  bool verbose = false;
  std::vector<std::string> hosts = {"a"};
  std::vector<int64_t> hidden = {128};
  std::string token = "hush";
  std::string file;
};

class OptionsTest : public testing::Test {
 protected:
  OptionsTest() {
    set_.DescribeSection("main", "What matters.");
    set_.Add("main", "name", &f_.name, {.help = "What it is called."});
    set_.Add("main", "mode", &f_.mode, {.help = "How.", .choices = {"fast", "safe"}});
    set_.Add("main", "level", &f_.level, {.help = "How much.", .min = -5, .max = 5});
    set_.Add("main", "offset", &f_.offset, {.help = "From where.", .unit = "rows"});
    set_.Add("net", "port", &f_.port, {.help = "TCP port."});
    set_.Add("net", "buffer_bytes", &f_.bytes, {.help = "Buffer.", .unit = "bytes", .min = 16});
    set_.Add("net", "hosts", &f_.hosts, {.help = "Peers."});
    set_.Add("model", "rate", &f_.rate, {.help = "Step, <a> * b.", .min = 0});
    set_.Add("model", "scale", &f_.scale, {.help = "Factor | weight."});
    set_.Add("model", "hidden", &f_.hidden, {.help = "Layers.", .min = 1});
    set_.Add("model", "verbose", &f_.verbose, {.help = "Say more."});
    set_.Add("safe", "token", &f_.token, {.help = "Secret.", .secret = true});
  }
  Status Load(std::string_view text) { return set_.LoadText(text, "a.toml"); }

  Fields f_;
  OptionSet set_;
};

TEST_F(OptionsTest, ReadsEveryTypeFromToml) {
  ASSERT_TRUE(Load("[main]\nname = \"x\"\nmode = \"safe\"\nlevel = 5\noffset = -9000000000\n"
                   "[net]\nport = 7070\nbuffer_bytes = 1099511627776\nhosts = [\"b\", \"c,d\"]\n"
                   "[model]\nrate = 1e-3\nscale = 3\nhidden = [64, 32]\nverbose = true\n")
                  .ok());
  EXPECT_EQ(f_.name, "x");
  EXPECT_EQ(f_.mode, "safe");
  EXPECT_EQ(f_.level, 5);
  EXPECT_EQ(f_.offset, -9000000000);
  EXPECT_EQ(f_.port, 7070);
  EXPECT_EQ(f_.bytes, 1ull << 40);
  EXPECT_EQ(f_.hosts, (std::vector<std::string>{"b", "c,d"}));
  EXPECT_EQ(f_.rate, 1e-3f);
  EXPECT_EQ(f_.scale, 3.0);
  EXPECT_EQ(f_.hidden, (std::vector<int64_t>{64, 32}));
  EXPECT_TRUE(f_.verbose);
  EXPECT_EQ(set_.OriginOf("net.port"), "a.toml:7");
  EXPECT_EQ(set_.OriginOf("safe.token"), "default");
  EXPECT_TRUE(set_.IsSet("net.port"));
  EXPECT_FALSE(set_.IsSet("safe.token"));
  EXPECT_FALSE(set_.IsSet("no.such"));
}

struct Refusal {
  const char* text;
  const char* message;
};

TEST_F(OptionsTest, RefusesWithFileLineKeyValueAndWhatIsAllowed) {
  const Refusal kRefusals[] = {
      {"[main]\n\nlevle = 1\n", "a.toml:3: section [main] has no option 'levle': did you mean 'level'?"},
      {"[main]\nport = 1\n", "a.toml:2: section [main] has no option 'port': did you mean 'net.port'?"},
      {"[net]\nbuffer = 1\n", "a.toml:2: section [net] has no option 'buffer': did you mean 'buffer_bytes'?"},
      {"[main]\nzzzzzz = 1\n",
       "a.toml:2: section [main] has no option 'zzzzzz'; it has: name, mode, level, offset"},
      {"\n[mian]\n", "a.toml:2: there is no section [mian]: did you mean 'main'?"},
      {"[qqqqqqq]\n", "a.toml:1: there is no section [qqqqqqq]; there are: main, net, model, safe"},
      {"level = 1\n", "a.toml:1: 'level' stands outside of a section"},
      {"[main]\nlevel = 6\n", "a.toml:2: main.level = 6: must be an integer from -5 to 5"},
      {"[main]\nlevel = 1.5\n", "a.toml:2: main.level = 1.5: must be an integer from -5 to 5"},
      {"[main]\nlevel = \"1\"\n", "a.toml:2: main.level = \"1\": must be an integer from -5 to 5"},
      {"[main]\nlevel = 2026-01-01\n",
       "a.toml:2: main.level = (a date or time): must be an integer from -5 to 5"},
      {"[main.level]\nx = 1\n", "main.level = (a table): must be an integer from -5 to 5"},
      {"[main]\nmode = \"slow\"\n", "a.toml:2: main.mode = \"slow\": must be one of 'fast', 'safe'"},
      {"[main]\nname = 3\n", "a.toml:2: main.name = 3: must be a string"},
      {"[net]\nport = -1\n", "a.toml:2: net.port = -1: must be an integer of at least 0"},
      {"[net]\nport = 65536\n", "a.toml:2: net.port = 65536: must be an integer"},
      {"[net]\nbuffer_bytes = 15\n", "a.toml:2: net.buffer_bytes = 15: must be an integer of at least 16"},
      {"[net]\nhosts = \"b\"\n", "a.toml:2: net.hosts = \"b\": must be a list of strings"},
      {"[net]\nhosts = [\"b\", 1]\n", "a.toml:2: net.hosts = [\"b\", 1]: must be a list of strings"},
      {"[model]\nrate = -0.5\n", "a.toml:2: model.rate = -0.5: must be a number of at least 0"},
      {"[model]\nrate = nan\n", "must be a number of at least 0"},
      {"[model]\nrate = 1e300\n", "must be a number of at least 0"},
      {"[model]\nscale = inf\n", "must be a number"},
      {"[model]\nhidden = [64, 0]\n",
       "a.toml:2: model.hidden = [64, 0]: must be a list of integers, each of at least 1"},
      {"[model]\nverbose = 1\n", "a.toml:2: model.verbose = 1: must be true or false"},
      {"[main]\nlevel = \n", "a.toml:2: not TOML: "},
      {"[main]\nlevel = 1\nlevel = 2\n", "a.toml:3: not TOML: "},
      {"[safe]\ntoken = 7\n", "a.toml:2: safe.token = (secret): must be a string"},
  };
  for (const Refusal& refusal : kRefusals) {
    const Status status = Load(refusal.text);
    EXPECT_EQ(status.code(), Code::kInvalidArgument) << refusal.text;
    EXPECT_THAT(status.message(), HasSubstr(refusal.message)) << refusal.text;
  }
}

TEST_F(OptionsTest, AFailedLoadChangesNothing) {
  ASSERT_FALSE(Load("[main]\nlevel = 1\nmode = \"slow\"\n[net]\nport = 1\n").ok());
  EXPECT_EQ(f_.level, -3);
  EXPECT_EQ(f_.port, 0);
  EXPECT_FALSE(set_.IsSet("main.level"));
}

TEST_F(OptionsTest, AFileThatCannotBeReadIsNamed) {
  TempDir dir;
  for (const std::string& path : {std::string("/no/such/cluster.toml"), dir.path()}) {
    const Status status = set_.LoadFile(path);
    EXPECT_EQ(status.code(), Code::kInvalidArgument) << status.ToString();
    EXPECT_THAT(status.message(), HasSubstr(path));
  }
}

TEST_F(OptionsTest, LaterSourcesWin) {
  TempDir dir;
  const std::string file = dir.Write("c.toml", "[main]\nlevel = 1\nname = \"file\"\n[net]\nport = 1\n");
  const std::map<std::string, std::string> environment = {{"PENSTOCK_MAIN_LEVEL", "2"},
                                                          {"PENSTOCK_NET_PORT", "2"},
                                                          {"PENSTOCK_NET_HOSTS", "x,y"},
                                                          {"PENSTOCK_MODEL_HIDDEN", "7,8"}};
  ASSERT_TRUE(set_.LoadFile(file).ok());
  ASSERT_TRUE(set_.LoadEnvironment([&](const char* name) {
                    const auto found = environment.find(name);
                    return found == environment.end() ? nullptr : found->second.c_str();
                  })
                  .ok());
  ASSERT_TRUE(set_.Set("net.port=3", "--set").ok());
  EXPECT_EQ(f_.name, "file");
  EXPECT_EQ(f_.level, 2);
  EXPECT_EQ(f_.port, 3);
  EXPECT_EQ(f_.hosts, (std::vector<std::string>{"x", "y"}));
  EXPECT_EQ(f_.hidden, (std::vector<int64_t>{7, 8}));
  EXPECT_EQ(set_.OriginOf("main.name"), file + ":3");
  EXPECT_EQ(set_.OriginOf("main.level"), "environment PENSTOCK_MAIN_LEVEL");
  EXPECT_EQ(set_.OriginOf("net.port"), "--set");
}

TEST_F(OptionsTest, EnvironmentErrorsNameTheVariable) {
  const Status status = set_.LoadEnvironment(
      [](const char* name) { return std::string_view(name) == "PENSTOCK_MAIN_LEVEL" ? "much" : nullptr; });
  EXPECT_EQ(status.message(),
            "environment PENSTOCK_MAIN_LEVEL: main.level = \"much\": must be an integer from -5 to 5");
}

TEST_F(OptionsTest, SetReadsEveryTypeFromText) {
  for (const char* assignment :
       {"main.name=a=b", "main.level=-1", "net.buffer_bytes=18446744073709551615", "model.rate=0.5",
        "model.verbose=true", "net.hosts=[\"p,q\",\"r\"]", "model.hidden=9"}) {
    EXPECT_TRUE(set_.Set(assignment, "--set").ok()) << assignment;
  }
  EXPECT_EQ(f_.name, "a=b");
  EXPECT_EQ(f_.level, -1);
  EXPECT_EQ(f_.bytes, UINT64_MAX);
  EXPECT_EQ(f_.rate, 0.5f);
  EXPECT_TRUE(f_.verbose);
  EXPECT_EQ(f_.hosts, (std::vector<std::string>{"p,q", "r"}));
  EXPECT_EQ(f_.hidden, (std::vector<int64_t>{9}));
  ASSERT_TRUE(set_.Set("model.verbose=0", "--set").ok());
  EXPECT_FALSE(f_.verbose);
  ASSERT_TRUE(set_.Set("net.hosts=", "--set").ok());
  EXPECT_TRUE(f_.hosts.empty());
}

TEST(Options, HaveListsOfNumbers) {
  std::vector<double> rates = {1};
  OptionSet set;
  set.Add("model", "rates", &rates, {.help = "Steps.", .min = 0});
  ASSERT_TRUE(set.LoadText("[model]\nrates = [0.5, 2]\n", "a.toml").ok());
  EXPECT_EQ(rates, (std::vector<double>{0.5, 2}));
  ASSERT_TRUE(set.Set("model.rates=1e-3,4", "--set").ok());
  EXPECT_EQ(rates, (std::vector<double>{1e-3, 4}));
  ASSERT_TRUE(set.Set("model.rates=[7.25]", "--set").ok());
  EXPECT_EQ(set.ToJson()["model"]["rates"].dump(), "[7.25]");
  EXPECT_EQ(set.Set("model.rates=1,x", "--set").message(),
            "--set: model.rates = [1.0, \"x\"]: must be a list of numbers, each of at least 0");
}

TEST_F(OptionsTest, SetRefuses) {
  const Refusal kRefusals[] = {
      {"main.level", "--set: 'main.level' is not of the form section.name=value"},
      {"level=1", "--set: 'level=1' is not of the form section.name=value"},
      {"main.level=1x", "--set: main.level = \"1x\": must be an integer from -5 to 5"},
      {"main.level=", "--set: main.level = \"\": must be an integer from -5 to 5"},
      {"main.lvel=1", "--set: section [main] has no option 'lvel': did you mean 'level'?"},
      {"man.level=1", "--set: there is no section [man]: did you mean 'main'?"},
      {"model.verbose=yes", "--set: model.verbose = \"yes\": must be true or false"},
      {"model.hidden=1,two",
       "--set: model.hidden = [1, \"two\"]: must be a list of integers, each of at least 1"},
      {"net.hosts=[\"a\"", "--set: net.hosts = \"[\\\"a\\\"\": must be a list of strings"},
  };
  for (const Refusal& refusal : kRefusals) {
    EXPECT_EQ(set_.Set(refusal.text, "--set").message(), refusal.message);
  }
}

TEST_F(OptionsTest, JsonRoundTrip) {
  ASSERT_TRUE(Load("[main]\nlevel = 4\n[net]\nhosts = []\n[safe]\ntoken = \"s3cret\"\n").ok());
  const nlohmann::json json = set_.ToJson();
  EXPECT_EQ(json["model"]["rate"], 0.1);  // the float reads as it was written
  EXPECT_FALSE(json["safe"].contains("token"));
  Fields other;
  OptionSet reader;
  reader.Add("main", "level", &other.level, {});
  EXPECT_THAT(reader.FromJson(json, "job 7").message(), HasSubstr("job 7: "));  // unknown ones are refused
  ASSERT_TRUE(reader.FromJson({{"main", {{"level", json["main"]["level"]}}}}).ok());
  EXPECT_EQ(other.level, 4);
  ASSERT_TRUE(set_.Set("main.level=0", "--set").ok());
  ASSERT_TRUE(set_.FromJson(json).ok());
  EXPECT_EQ(set_.ToJson(), json);
  EXPECT_FALSE(set_.FromJson(nlohmann::json::array()).ok());
  EXPECT_FALSE(set_.FromJson({{"main", 3}}).ok());
  EXPECT_FALSE(set_.FromJson({{"main", {{"level", 77}}}}).ok());
}

TEST_F(OptionsTest, ValidateWantsRequiredOnesAndChecksWhatTheProgramWrote) {
  EXPECT_TRUE(set_.Validate().ok());
  set_.Add("main", "file", &f_.file, {.help = "Where.", .required = true});
  EXPECT_EQ(set_.Validate().message(), "option main.file is required: set it to a string (Where.)");
  ASSERT_TRUE(set_.Set("main.file=", "--set").ok());
  EXPECT_FALSE(set_.Validate().ok());
  ASSERT_TRUE(set_.Set("main.file=x", "--set").ok());
  EXPECT_TRUE(set_.Validate().ok());
  f_.level = 100;
  EXPECT_THAT(set_.Validate().message(), HasSubstr("main.level = 100: must be an integer from -5 to 5"));
}

TEST_F(OptionsTest, ARequiredOptionWithADefaultNeedNotBeSet) {
  std::string host = "127.0.0.1";
  set_.Add("net", "listen", &host, {.help = "Address.", .required = true});
  EXPECT_TRUE(set_.Validate().ok());
  host.clear();
  EXPECT_FALSE(set_.Validate().ok());
}

TEST_F(OptionsTest, SampleLoadsAndHoldsEveryDefault) {
  const nlohmann::json before = set_.ToJson();
  const std::string sample = set_.Sample("All options.\nTwo lines.");
  EXPECT_TRUE(sample.starts_with("# All options.\n# Two lines.\n\n# What matters.\n[main]\n")) << sample;
  EXPECT_THAT(sample, HasSubstr("# From where. An integer, in rows.\noffset = 5\n"));
  EXPECT_THAT(sample, HasSubstr("# How. One of 'fast', 'safe'.\nmode = \"fast\"\n"));
  ASSERT_TRUE(set_.Set("main.level=5", "--set").ok());
  ASSERT_TRUE(set_.LoadText(sample, "sample").ok());
  EXPECT_EQ(set_.ToJson(), before);
  for (const auto& [section, options] : before.items()) {
    for (const auto& [name, value] : options.items()) EXPECT_TRUE(set_.IsSet(section + "." + name)) << name;
  }
}

TEST_F(OptionsTest, ExplainsOneOption) {
  ASSERT_TRUE(set_.Set("main.level=5", "--set").ok());
  const auto text = set_.Explain("main.level");
  ASSERT_TRUE(text.ok());
  for (const char* part :
       {"How much.", "An integer from -5 to 5", "-3", "5 (--set)", "PENSTOCK_MAIN_LEVEL"}) {
    EXPECT_THAT(*text, HasSubstr(part));
  }
  EXPECT_THAT(*set_.Explain("safe.token"), Not(HasSubstr("hush")));
  EXPECT_EQ(set_.Explain("main.lvel").status().code(), Code::kNotFound);
  EXPECT_EQ(set_.Explain("level").status().code(), Code::kInvalidArgument);
}

TEST_F(OptionsTest, MarkdownHasARowForEachOptionAndNoSecret) {
  const std::string text = set_.Markdown();
  EXPECT_THAT(text, HasSubstr("## [main]\n\nWhat matters.\n\n| option |"));
  EXPECT_THAT(text, HasSubstr("| `level` | `-3` | an integer from -5 to 5 |  | How much. |"));
  EXPECT_THAT(text, HasSubstr("| `buffer_bytes` | `1024` | an integer of at least 16 | bytes | Buffer. |"));
  EXPECT_THAT(text, HasSubstr("Factor \\| weight."));
  EXPECT_THAT(text, HasSubstr("Step, \\<a> \\* b."));
  EXPECT_THAT(text, Not(HasSubstr("hush")));
}

TEST(OptionsDeathTest, DeclaringTwiceIsADefect) {
  OptionSet set;
  int a = 0;
  set.Add("s", "a", &a, {});
  EXPECT_DEATH(set.Add("s", "a", &a, {}), "declared twice");
  EXPECT_DEATH(set.Add("s", "A-b", &a, {}), "must be of");
}

TEST(SuggestTest, DistancesAndChoices) {
  EXPECT_EQ(EditDistance("", "abc"), 3u);
  EXPECT_EQ(EditDistance("kitten", "sitting"), 3u);
  EXPECT_EQ(EditDistance("ab", "ba"), 1u);
  EXPECT_EQ(EditDistance("same", "same"), 0u);
  EXPECT_EQ(Suggest("lerning_rate", {"batch_size", "learning_rate"}), "learning_rate");
  EXPECT_EQ(Suggest("memory_budget", {"lag", "memory_budget_bytes"}), "memory_budget_bytes");
  EXPECT_EQ(Suggest("xyz", {"abc", "def"}), "");
  EXPECT_EQ(Suggest("x", {}), "");
}

struct Widget {
  std::string kind = "round";
  double size = 1;
  void Declare(OptionSet* set) {
    set->Add("shape", "kind", &kind, {.help = "Of which form.", .choices = {"round", "flat"}});
    set->Add("shape", "size", &size, {.help = "How large.", .unit = "mm", .min = 0});
    set->Add("look", "colour", &colour, {.help = "Of which colour."});
  }
  std::string colour = "red";
};

class FamilyTest : public OptionsTest {
 protected:
  FamilyTest() { set_.AddFamily<Widget>("widgets", "Each of the widgets.", &widgets_); }
  nlohmann::json widgets_;
};

TEST_F(FamilyTest, KeepsWhatIsSetByThing) {
  ASSERT_TRUE(Load("[widgets.a.shape]\nkind = \"flat\"\nsize = 2\n[widgets.\"b c\"]\nlook = { colour = "
                   "\"blue\" }\n")
                  .ok());
  ASSERT_TRUE(set_.Set("widgets.a.shape.size=3", "--set").ok());
  ASSERT_TRUE(set_.Set("widgets.d.look.colour=a.b=c", "--set").ok());
  const nlohmann::json want = {{"a", {{"shape", {{"kind", "flat"}, {"size", 3.0}}}}},
                               {"b c", {{"look", {{"colour", "blue"}}}}},
                               {"d", {{"look", {{"colour", "a.b=c"}}}}}};
  EXPECT_EQ(widgets_, want);
  EXPECT_EQ(set_.ToJson()["widgets"], want);
  widgets_ = nullptr;
  EXPECT_EQ(set_.ToJson()["widgets"], nlohmann::json::object());
  ASSERT_TRUE(set_.FromJson({{"widgets", want}}).ok());
  EXPECT_EQ(widgets_, want);
  // As a set that is bound to one of them reads it.
  Widget widget;
  OptionSet one;
  widget.Declare(&one);
  ASSERT_TRUE(one.FromJson(widgets_["a"]).ok());
  EXPECT_EQ(widget.kind, "flat");
  EXPECT_EQ(widget.size, 3);
  EXPECT_EQ(widget.colour, "red");
}

TEST_F(FamilyTest, RefusesWithTheWholeKeyAndTakesNothing) {
  const Refusal kRefusals[] = {
      {"[widgets.a.shape]\nsize = 1\n[widgets.b.shape]\nsize = -1\n",
       "a.toml:4: widgets.b.shape.size = -1: must be a number of at least 0"},
      {"[widgets.a.shape]\nsiz = 1\n",
       "a.toml:2: section [widgets.a.shape] has no option 'siz': did you mean 'size'?"},
      {"[widgets.a.net]\nport = 1\n",
       "a.toml:1: there is no section [widgets.a.net]; there are: shape, look"},
      {"[widgets.a]\nsize = 1\n",
       "a.toml:2: 'widgets.a.size' stands outside of a section; write "
       "[widgets.a.section] above it"},
      {"[widgets]\na = 1\n",
       "a.toml:2: 'widgets.a' is no section; write [widgets.NAME.SECTION] above it, with "
       "SECTION one of shape, look"},
      {"[widget.a.shape]\nsize = 1\n", "there is no section [widget]: did you mean 'widgets'?"},
  };
  for (const Refusal& refusal : kRefusals) {
    const Status status = Load(refusal.text);
    EXPECT_EQ(status.code(), Code::kInvalidArgument);
    EXPECT_THAT(status.message(), HasSubstr(refusal.message)) << refusal.text;
  }
  EXPECT_THAT(set_.Set("widgets.a=1", "--set").message(), HasSubstr("'widgets.a' is no section"));
  EXPECT_THAT(set_.Set("widgets.a.shape=1", "--set").message(),
              HasSubstr("section [widgets.a.shape] has no option ''"));
  EXPECT_THAT(set_.FromJson({{"widgets", {{"a", 1}}}}).message(), HasSubstr("must be an object of sections"));
  EXPECT_TRUE(widgets_.is_null());
}

TEST_F(FamilyTest, PrintsWhatAThingMayHave) {
  EXPECT_THAT(set_.Sample(""),
              HasSubstr("# Each of the widgets.\n# [widgets.NAME.shape] may have: kind, size\n"
                        "# [widgets.NAME.look] may have: colour\n"));
  EXPECT_THAT(set_.Markdown(), HasSubstr("## [widgets.NAME.SECTION]\n\nEach of the widgets."));
  EXPECT_THAT(*set_.Explain("widgets.x.shape.size"),
              HasSubstr("widgets.x.shape.size\n  How large.\n  A number of at least 0, in mm."));
  EXPECT_THAT(set_.Explain("widgets.x.size").status().message(), HasSubstr("widgets.NAME.section.name"));
  EXPECT_THAT(set_.Explain("widgets.x.shape.siz").status().message(), HasSubstr("did you mean 'size'?"));
}

}  // namespace
}  // namespace penstock
