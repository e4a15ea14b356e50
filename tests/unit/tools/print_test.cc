// One value, two printers; and whether a status is healthy.
#include "tools/cli/print.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "tools/cli/health.h"

namespace penstock {
namespace {

using nlohmann::json;
using testing::ElementsAre;
using testing::IsEmpty;

const std::vector<Column> kColumns = {
    {"ID", "id"}, {"NAME", "name"}, {"ROWS", "rows", Show::kCount}, {"KIND", "optimizer/kind"}};

TEST(Print, TheSameValueAsTableAndAsJson) {
  const json rows = {{{"id", 1}, {"name", "user"}, {"rows", 1234567}, {"optimizer", {{"kind", "sgd"}}}},
                     {{"id", 12}, {"name", "item-weights"}}};
  EXPECT_EQ(RenderTable(rows, kColumns),
            "ID  NAME               ROWS  KIND\n"
            " 1  user          1,234,567  sgd\n"
            "12  item-weights          -  -\n");
  EXPECT_EQ(json::parse(RenderJson(rows)), rows);
}

TEST(Print, AnEmptyTableSaysSo) { EXPECT_EQ(RenderTable(json::array(), kColumns), "(none)\n"); }

TEST(Print, FieldsLeaveOutWhatIsMissing) {
  EXPECT_EQ(RenderFields({{"id", 7}, {"optimizer", {{"kind", "adam"}}}}, kColumns), "ID    7\nKIND  adam\n");
}

TEST(Print, WidthIsCountedInCharacters) {
  EXPECT_EQ(RenderTable(json::array({{{"id", 1}, {"name", "größe"}}, {{"id", 2}, {"name", "x"}}}),
                        {{"NAME", "name"}, {"ID", "id"}}),
            "NAME   ID\ngröße   1\nx       2\n");
}

TEST(Print, Units) {
  EXPECT_EQ(FormatCount(0), "0");
  EXPECT_EQ(FormatCount(999), "999");
  EXPECT_EQ(FormatCount(1000), "1,000");
  EXPECT_EQ(FormatCount(1234567890), "1,234,567,890");
  EXPECT_EQ(FormatBytes(512), "512 B");
  EXPECT_EQ(FormatBytes(1536), "1.5 KiB");
  EXPECT_EQ(FormatBytes(3.0 * (1 << 30)), "3.0 GiB");
  EXPECT_EQ(FormatSeconds(4.25), "4.2 s");
  EXPECT_EQ(FormatSeconds(187), "3:07");
  EXPECT_EQ(FormatSeconds(3723), "1:02:03");
  EXPECT_EQ(FormatValue(json(), Show::kText), "-");
  EXPECT_EQ(FormatValue(json(""), Show::kText), "-");
  EXPECT_EQ(FormatValue(json(true), Show::kText), "yes");
  EXPECT_EQ(FormatValue(json({"a", "b"}), Show::kText), "a b");
  EXPECT_EQ(FormatValue(json(0.88341), Show::kFraction), "0.8834");
}

TEST(Print, NumbersAsTheyAre) {
  EXPECT_EQ(FormatFraction(3.75e74, 4), "3.75e+74");
  EXPECT_EQ(FormatFraction(-3.75e74, 6), "-3.75e+74");
  EXPECT_EQ(FormatFraction(0.00000125, 4), "1.25e-06");
  EXPECT_EQ(FormatFraction(0, 4), "0.0000");
  EXPECT_EQ(FormatFraction(1234.5, 4), "1234.5000");
  EXPECT_EQ(FormatValue(json(3.75e74), Show::kFraction), "3.75e+74");
  EXPECT_EQ(FormatValue(json(0.123456789f), Show::kText), "0.12345679") << "as many digits as a float has";
  EXPECT_EQ(FormatValue(json(0.1f), Show::kText), "0.1");
  EXPECT_EQ(FormatValue(json(uint64_t{18446744073709551615u}), Show::kCount), "18,446,744,073,709,551,615");
}

TEST(Print, WhatPeersSayGivesTheTerminalNoOrders) {
  EXPECT_EQ(FormatValue(json("a\x1b[2Jb\nc\x7f"), Show::kText), "a\\x1b[2Jb\\x0ac\\x7f");
  EXPECT_EQ(FormatText("\xc2\x9b"), "\\x9b");
  EXPECT_EQ(FormatText("sérver"), "sérver");
  EXPECT_EQ(FormatText("\xc2"), "\xc2");
}

json HealthyStatus() {
  return {{"ready", true},
          {"problems", json::array()},
          {"shards", {{"total", 128}, {"serving", 128}}},
          {"nodes", {{{"name", "server-1"}, {"role", "server"}, {"state", "alive"}}}}};
}

TEST(Health, AHealthyClusterHasNoProblem) { EXPECT_THAT(HealthProblems(HealthyStatus()), IsEmpty()); }

TEST(Health, ShardsThatAreNotServedAndDeadNodesAreProblems) {
  json status = HealthyStatus();
  status["shards"]["serving"] = 120;
  status["nodes"].push_back({{"name", "server-2"}, {"role", "server"}, {"state", "dead"}});
  EXPECT_THAT(HealthProblems(status),
              ElementsAre("8 of 128 shards are not served", "server server-2 is dead"));
}

TEST(Health, TheSchedulersWordsAreNotRepeated) {
  json status = HealthyStatus();
  status["problems"] = {"server-2 is dead: 8 shards have no server"};
  status["shards"]["serving"] = 120;
  status["nodes"].push_back({{"name", "server-2"}, {"role", "server"}, {"state", "dead"}});
  EXPECT_THAT(HealthProblems(status), ElementsAre("server-2 is dead: 8 shards have no server"));
}

TEST(Health, NotReadyIsAProblemEvenWithoutAReason) {
  json status = HealthyStatus();
  status["ready"] = false;
  EXPECT_THAT(HealthProblems(status), ElementsAre("the cluster is not ready"));
}

}  // namespace
}  // namespace penstock
