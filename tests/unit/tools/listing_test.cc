// Listings that stay short.
#include "tools/cli/listing.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "tools/cli/rebalance.h"

namespace penstock {
namespace {

using nlohmann::json;
using testing::HasSubstr;
using testing::Not;

json Shards() {
  json shards = json::array();
  for (int id = 0; id < 128; ++id) {
    shards.push_back({{"shard", id},
                      {"state", "serving"},
                      {"node_name", id % 2 == 0 ? "server-1" : "server-2"},
                      {"endpoint", "127.0.0.1:7001"},
                      {"in_sync", 2},
                      {"copies", 2},
                      {"backups", {{{"name", "server-3"}, {"state", "in-sync"}}}},
                      {"epoch", 1},
                      {"rows", 10},
                      {"bytes", 1024},
                      {"detail", ""}});
  }
  return shards;
}

TEST(Listing, HealthyShardsTakeALineOfEachServer) {
  EXPECT_EQ(ShardsText(Shards(), false),
            "128 of 128 shards are served, with all their copies in sync (--all lists each)\n"
            "\n"
            "SERVER    SERVES  ROWS     BYTES\n"
            "server-1      64   640  64.0 KiB\n"
            "server-2      64   640  64.0 KiB\n");
  EXPECT_THAT(ShardsText(Shards(), true), HasSubstr("\n  127  serving  server-2  127.0.0.1:7001  2/2  "));
}

TEST(Listing, ShardsWithWhichSomethingIsWrongAreListed) {
  json shards = Shards();
  shards[5]["state"] = "unavailable";
  shards[5]["in_sync"] = 0;
  shards[5]["detail"] = "it waits for server-2";
  shards[6]["in_sync"] = 1;
  shards[6]["backups"][0]["state"] = "seeding";
  const std::string text = ShardsText(shards, false);
  EXPECT_THAT(text, HasSubstr("126 of 128 shards are served"));
  EXPECT_THAT(text, HasSubstr("server-2      63 "));
  EXPECT_THAT(text, HasSubstr("it waits for server-2\n"));
  EXPECT_THAT(text, HasSubstr("1/2     server-3 (seeding)"));
  EXPECT_THAT(text, Not(HasSubstr("0/2"))) << "no copies are counted of a shard that is not there";
  EXPECT_THAT(ShardText(shards[5]), Not(HasSubstr("COPIES")));
}

TEST(Listing, OldJobsAreCounted) {
  EXPECT_EQ(JobsText(json::array()), "");
  json jobs = json::array();
  for (int id = 1; id <= 15; ++id)
    jobs.push_back({{"id", id}, {"name", "a9a"}, {"state", id == 2 ? "paused" : "done"}});
  const std::string text = JobsText(jobs);
  EXPECT_THAT(text, HasSubstr("\n  2  a9a   paused\n  6  a9a   done\n"));
  EXPECT_THAT(text, HasSubstr("\n 15  a9a   done\nand 4 that ended before (`penstock job ls`)\n"));
}

json Plan() {
  return {{"moves",
           {{{"shard", 3},
             {"from", "server-1"},
             {"to", "server-2"},
             {"what", "copy"},
             {"bytes", 4096},
             {"reason", "why"}}}},
          {"moved_bytes", 4096},
          {"servers",
           {{{"name", "server-1"},
             {"primaries", {{"before", 4}, {"after", 3}}},
             {"copies", {{"before", 4}, {"after", 3}}},
             {"bytes", {{"before", 8192}, {"after", 4096}}},
             {"rows_per_second", {{"before", 10}, {"after", 5}}}}}},
          {"not_drained", {{{"shard", 7}, {"server", "server-3"}, {"why", "it is lost"}}}},
          {"notes", {"shard 5 alone has 2.00 of the mean load of a server, and cannot be split"}}};
}

TEST(PlanText, SaysHowMuchMovesAndWhatCannot) {
  EXPECT_EQ(PlanText(Plan(), false, false),
            "1 move would be done, with 4.0 KiB to copy\n"
            "shard 7 stays on server-3: it is lost\n"
            "shard 5 alone has 2.00 of the mean load of a server, and cannot be split\n");
  EXPECT_THAT(PlanText(Plan(), true, false),
              HasSubstr("1 move to do, with 4.0 KiB to copy (`penstock shard ls`"));
  json nothing = Plan();
  nothing["moves"] = nothing["not_drained"] = nothing["notes"] = json::array();
  EXPECT_EQ(PlanText(nothing, true, false), "nothing is to be gained: no shard moves\n");
}

TEST(PlanText, ExplainsEachMoveAndWhatServersHaveThen) {
  const std::string text = PlanText(Plan(), false, true);
  EXPECT_THAT(text, HasSubstr("3  server-1  server-2  copy  4.0 KiB  why"));
  EXPECT_THAT(text, HasSubstr("server-1      4     3       4     3  8.0 KiB  4.0 KiB      10     5"));
}

}  // namespace
}  // namespace penstock
