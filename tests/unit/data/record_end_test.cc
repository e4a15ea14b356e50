// Where records end, with line breaks in quotes and on damaged text.
#include "data/record_end.h"

#include <gtest/gtest.h>

#include <random>
#include <string>
#include <vector>

namespace penstock {
namespace {

std::vector<std::string> Records(const std::string& text, char delimiter) {
  std::vector<std::string> records;
  const char* const end = text.data() + text.size();
  for (const char* at = text.data(); at < end;) {
    const char* stop = RecordEnd(at, end, true, delimiter);
    records.emplace_back(at, stop);
    at = stop + 1;
  }
  return records;
}

TEST(RecordEnd, OfUnquotedFormatsIsTheLines) {
  EXPECT_EQ(Records("a\n\"b\n\n", 0), (std::vector<std::string>{"a", "\"b", ""}));
}

TEST(RecordEnd, QuotesHoldLineEnds) {
  EXPECT_EQ(Records("a,\"b\nc\",d\ne\n", ','), (std::vector<std::string>{"a,\"b\nc\",d", "e"}));
  EXPECT_EQ(Records("\"\"\"\n\"\n\"\"\n", ','), (std::vector<std::string>{"\"\"\"\n\"", "\"\""}));
}

TEST(RecordEnd, AQuoteWithinAFieldDoesNotOpen) {
  EXPECT_EQ(Records("5\" disk,1\n6\" disk,2\n", ','), (std::vector<std::string>{"5\" disk,1", "6\" disk,2"}));
  EXPECT_EQ(Records("a \"b,\nc\"\n", ','), (std::vector<std::string>{"a \"b,", "c\""}));
}

TEST(RecordEnd, AQuoteThatIsNotClosedEndsWithItsLine) {
  EXPECT_EQ(Records("1,\"open\n2,b\n", ','), (std::vector<std::string>{"1,\"open", "2,b"}));
  const std::string rest = std::string(kMaxQuotedRecord, 'x') + "\n\"\n";
  const auto records = Records("1,\"open\n" + rest, ',');
  ASSERT_EQ(records.size(), 3u);
  EXPECT_EQ(records[0], "1,\"open");
}

TEST(RecordEnd, AsksForMoreOnlyWhenItMust) {
  const std::string text = "a,\"b\nc\",d\ne\n";
  for (size_t size = 1; size < 10; ++size) {
    EXPECT_EQ(RecordEnd(text.data(), text.data() + size, false, ','), nullptr) << size;
  }
  EXPECT_EQ(RecordEnd(text.data(), text.data() + 10, false, ','), text.data() + 9);
}

// Cutting the text anywhere between records gives the same records.
TEST(RecordEnd, DoesNotDependOnWhatFollows) {
  for (uint32_t seed = 0; seed < 200; ++seed) {
    SCOPED_TRACE(testing::Message() << "seed " << seed);
    std::mt19937 random(seed);
    std::string text;
    for (int i = 0; i < 40; ++i) text += "a\"\n,\"\n"[random() % 6];
    text += '\n';
    const auto all = Records(text, ',');
    size_t begin = 0;
    for (size_t cut = 0; cut < all.size(); ++cut) {
      begin += all[cut].size() + 1;
      auto parts = Records(text.substr(0, begin), ',');
      const auto rest = Records(text.substr(begin), ',');
      parts.insert(parts.end(), rest.begin(), rest.end());
      ASSERT_EQ(parts, all) << "cut at " << begin << " of " << testing::PrintToString(text);
    }
  }
}

}  // namespace
}  // namespace penstock
