// JSON of peers: how deep it may be, and how errors name it.
#include "common/base/peer_json.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace penstock {
namespace {

using ::testing::HasSubstr;

std::string Nested(size_t depth, char open, char close) {
  return std::string(depth, open) + std::string(depth, close);
}

TEST(PeerJson, ReadsWhatIsWithinTheBound) {
  const auto json = ParsePeerJson(R"({"a": [1, {"b": "]]]["}], "c": "\"[["})", "it");
  ASSERT_TRUE(json.ok()) << json.status().ToString();
  EXPECT_EQ((*json)["a"][1]["b"], "]]][");
  EXPECT_TRUE(ParsePeerJson(Nested(kMaxJsonDepth, '[', ']'), "it").ok());
  std::string texts = "[";
  for (int i = 0; i < 1000; ++i) texts += R"("[{\"[",)";
  EXPECT_TRUE(ParsePeerJson(texts + "1]", "it").ok()) << "brackets in texts do not count";
}

TEST(PeerJson, RefusesWhatIsNestedDeeper) {
  for (const auto& text :
       {Nested(kMaxJsonDepth + 1, '[', ']'), Nested(100'000, '[', ']'),
        R"({"x": ")" + std::string(R"(\\")") + ", \"y\": " + Nested(100'000, '[', ']') + "}",
        std::string(100'000, '[')}) {
    const auto json = ParsePeerJson(text, "its text");
    EXPECT_EQ(json.status().code(), Code::kInvalidArgument);
    EXPECT_THAT(json.status().message(), HasSubstr("its text: JSON that is nested"));
    EXPECT_THAT(json.status().message(), HasSubstr("allowed is 64"));
    EXPECT_LT(json.status().message().size(), 100u);
  }
  EXPECT_THAT(ParsePeerJson("{", "its text").status().message(), HasSubstr("its text: it is not JSON"));
}

TEST(PeerJson, ErrorsNameValuesBriefly) {
  EXPECT_EQ(BriefJson(7), "7");
  EXPECT_EQ(BriefJson("ssp"), "\"ssp\"");
  EXPECT_EQ(BriefJson("line\n\x1b\xff"), "\"line\\n\\u001b\\ufffd\"");
  EXPECT_EQ(BriefJson(std::string(2000, 'x')), "a text of 2000 characters");
  EXPECT_EQ(BriefJson(nlohmann::json::array({1, 2})), "a list");
  EXPECT_EQ(BriefJson({{"a", 1}}), "an object");
}

}  // namespace
}  // namespace penstock
