// The libsvm reader: what it takes, what it says of what it does not take, and that partitions cover every
// record once.
#include "data/libsvm.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <chrono>
#include <map>
#include <random>

#include "tests/unit/data/temp_file.h"

namespace penstock {
namespace {

using std::string_literals::operator""s;  // NOLINT(misc-unused-using-decls): a literal

class Libsvm : public testing::Test {
 protected:
  std::unique_ptr<Dataset> Open(const std::string& text, const DatasetOptions& options = {}) {
    auto dataset = Dataset::Open("libsvm", {folder_.Write("data.txt", text)}, options);
    EXPECT_TRUE(dataset.ok()) << dataset.status().ToString();
    return std::move(*dataset);
  }
  Result<Examples> Read(const std::string& text, const DatasetOptions& options = {}) {
    return Open(text, options)->ReadPartition({0, text.size()});
  }
  Examples MustRead(const std::string& text, const DatasetOptions& options = {}) {
    auto examples = Read(text, options);
    EXPECT_TRUE(examples.ok()) << examples.status().ToString();
    return examples.ok() ? std::move(*examples) : Examples();
  }

  TempFolder folder_;
};

TEST_F(Libsvm, ReadsLabelsIdsAndValues) {
  const Examples e = MustRead("-1 3:1 11:0.5\n+1 0:-2.25e1 7:1e-3 # a comment\n0\n");
  EXPECT_EQ(e.labels, (std::vector<float>{0, 1, 0}));
  EXPECT_EQ(e.row_offsets, (std::vector<uint64_t>{0, 2, 4, 4}));
  EXPECT_EQ(e.ids, (std::vector<uint64_t>{3, 11, 0, 7}));
  EXPECT_EQ(e.values, (std::vector<float>{1, 0.5f, -22.5f, 0.001f}));
  EXPECT_EQ(MustRead("-1 3:1\n+1 3:1\n0\n", {.loss = LossKind::kHinge}).labels,
            (std::vector<float>{0, 1, 0}));
}

TEST_F(Libsvm, TakesWhatIsUnusualAndHarmless) {
  const Examples e = MustRead(
      "1 1:1\r\n\n   \n# only a comment\n\t1\t2:3 \r\n-1 5:1#end\n1 9223372036854775807:1. "
      "9223372036854775807x",
      {.max_bad_records = 1});
  EXPECT_EQ(e.labels, (std::vector<float>{1, 1, 0}));
  EXPECT_EQ(e.bad_records, 1u);
  EXPECT_EQ(MustRead("1 9223372036854775807:.5").ids, (std::vector<uint64_t>{9223372036854775807u}));
  EXPECT_EQ(MustRead("1 0000000000000000000007:1").ids, (std::vector<uint64_t>{7}));
  EXPECT_EQ(MustRead("1 1:1e-400").values, (std::vector<float>{0}));
  EXPECT_EQ(MustRead("1 1:+.5e1").values, (std::vector<float>{5}));
  EXPECT_EQ(MustRead("").size(), 0u);
  EXPECT_EQ(MustRead("\n\n").size(), 0u);
}

TEST_F(Libsvm, ReadsNumbersAsStrtodDoes) {
  constexpr uint32_t kSeed = 23;
  SCOPED_TRACE(testing::Message() << "seed " << kSeed);
  std::mt19937_64 random(kSeed);
  std::string text;
  std::vector<float> expected;
  for (int i = 0; i < 20000; ++i) {
    char number[64];
    const double value = std::ldexp(static_cast<double>(random()) - 9e18, -static_cast<int>(random() % 70));
    std::snprintf(number, sizeof(number), i % 2 == 0 ? "%.*g" : "%.*f", static_cast<int>(random() % 12),
                  value);
    text += "1 4:"s + number + "\n";
    expected.push_back(static_cast<float>(std::strtod(number, nullptr)));
  }
  EXPECT_EQ(MustRead(text).values, expected);
}

struct Malformed {
  const char* what;
  std::string line;
  std::string message;  // after "FILE:LINE: "
  DatasetOptions options = {};
};

TEST_F(Libsvm, SaysWhatIsWrongWithALine) {
  const DatasetOptions ten_classes{.loss = LossKind::kSoftmax, .classes = 10};
  const DatasetOptions few_features{.features = 124};
  const std::vector<Malformed> table = {
      {"word as label", "abc 1:1", "label 'abc' is not a number (a line is: label id:value id:value ...)"},
      {"feature as label", "1:1 2:1", "label '1:1' is not a number (a line is: label id:value id:value ...)"},
      {"label with a tail", "1x 1:1", "label '1x' is not a number (a line is: label id:value id:value ...)"},
      {"two signs", "+-1 1:1", "label '+-1' is not a number (a line is: label id:value id:value ...)"},
      {"label not binary", "2 1:1", "label 2 is none of -1, 0, +1"},
      {"label not binary for hinge", "2 1:1", "label 2 is none of -1, 0, +1", {.loss = LossKind::kHinge}},
      {"label nan", "nan 1:1", "label nan is not finite"},
      {"class too large", "10 1:1", "label 10 is no class: allowed are whole numbers from 0 to 9",
       ten_classes},
      {"class negative", "-1 1:1", "label -1 is no class: allowed are whole numbers from 0 to 9",
       ten_classes},
      {"class broken", "1.5 1:1", "label 1.5 is no class: allowed are whole numbers from 0 to 9",
       ten_classes},
      {"target too large",
       "1e40 1:1",
       "label 1e+40 is too large for a 32-bit float",
       {.loss = LossKind::kSquared}},
      {"no colon", "1 5 6:1", "feature '5' has no colon: features are written id:value"},
      {"comma separated", "1,0,3", "label '1,0,3' is not a number (a line is: label id:value id:value ...)"},
      {"id not a number", "1 x:1", "feature id 'x' is not a whole number from 0 to 9223372036854775807"},
      {"id missing", "1 :1", "feature id '' is not a whole number from 0 to 9223372036854775807"},
      {"id broken", "1 1.5:1", "feature id '1.5' is not a whole number from 0 to 9223372036854775807"},
      {"id negative", "1 -3:1", "feature id '-3' is not a whole number from 0 to 9223372036854775807"},
      {"id of 2^63", "1 9223372036854775808:1",
       "feature id '9223372036854775808' is not a whole number from 0 to 9223372036854775807"},
      {"id of 30 digits", "1 123456789012345678901234567890:1",
       "feature id '123456789012345678901234567890' is not a whole number from 0 to 9223372036854775807"},
      {"id above features", "1 124:1",
       "feature id '124' is not a whole number from 0 to 123 (model.features is 124)", few_features},
      {"id twice", "1 3:1 3:2", "feature id 3 occurs twice"},
      {"ids fall", "1 3:1 7:1 5:1", "feature ids must ascend: 5 stands after 7"},
      {"value not a number", "1 3:abc", "value 'abc' of feature 3 is not a number"},
      {"value missing", "1 3:", "value '' of feature 3 is not a number"},
      {"value missing, more follow", "1 3: 4:1", "value '' of feature 3 is not a number"},
      {"value with a tail", "1 3:1.5kg", "value '1.5kg' of feature 3 is not a number"},
      {"two colons", "1 3:1:2", "value '1:2' of feature 3 is not a number"},
      {"value infinite", "1 3:inf", "value 'inf' of feature 3 is not finite as a 32-bit float"},
      {"value nan", "1 3:nan", "value 'nan' of feature 3 is not finite as a 32-bit float"},
      {"value too large", "1 3:1e39", "value '1e39' of feature 3 is not finite as a 32-bit float"},
      {"value far too large", "1 3:1e999", "value '1e999' of feature 3 is not finite as a 32-bit float"},
      {"NUL byte", "1 3:1 \0:1"s, "a NUL byte at column 7: this is no text file"},
      {"long token", "1 " + std::string(100, 'x'),
       "feature '" + std::string(40, 'x') + "...' has no colon: features are written id:value"},
  };
  for (const Malformed& m : table) {
    SCOPED_TRACE(m.what);
    for (const std::string tail : {"\n1 1:1\n", "\r\n", ""}) {
      const auto examples = Read("0 1:1\n\n" + m.line + tail, m.options);
      ASSERT_FALSE(examples.ok());
      EXPECT_EQ(examples.status().code(), Code::kInvalidArgument);
      EXPECT_EQ(examples.status().message(), folder_.Path("data.txt") + ":3: " + m.message);
    }
  }
}

TEST_F(Libsvm, SkipsAndCountsBadRecordsUpToTheLimit) {
  const std::string text = "1 1:1\nbad\n-1 2:1 3:x\n1 4:1\n";
  const Examples e = MustRead(text, {.max_bad_records = 2});
  EXPECT_EQ(e.bad_records, 2u);
  EXPECT_EQ(e.labels, (std::vector<float>{1, 1}));
  EXPECT_EQ(e.ids, (std::vector<uint64_t>{1, 4}));  // nothing of the broken record is left
  EXPECT_EQ(e.row_offsets, (std::vector<uint64_t>{0, 1, 2}));
  ASSERT_EQ(e.bad_messages.size(), 2u);
  EXPECT_NE(e.bad_messages[1].find(":3: value 'x'"), std::string::npos);
  const auto stopped = Read(text, {.max_bad_records = 1});
  ASSERT_FALSE(stopped.ok());
  EXPECT_NE(stopped.status().message().find(":3: value 'x'"), std::string::npos);
}

TEST_F(Libsvm, LineNumbersAreOfTheFileAlsoInTheMiddle) {
  std::string text;
  for (int line = 1; line <= 1000; ++line)
    text += line == 777 ? "oops\n" : "1 " + std::to_string(line) + ":1\n";
  const auto dataset = Open(text);
  bool seen = false;
  for (const PartitionRange& range : dataset->Index()->Cut(13)) {
    const auto examples = dataset->ReadPartition(range);
    if (examples.ok()) continue;
    EXPECT_FALSE(seen);
    seen = true;
    EXPECT_NE(examples.status().message().find(":777: label 'oops'"), std::string::npos)
        << examples.status().ToString();
  }
  EXPECT_TRUE(seen);
}

// Every record is in exactly one range, whatever the lengths of lines and the number of ranges.
TEST_F(Libsvm, PartitionsHaveEveryRecordOnceAndInOrder) {
  for (uint32_t seed = 0; seed < 40; ++seed) {
    SCOPED_TRACE(testing::Message() << "seed " << seed);
    std::mt19937 random(seed);
    std::string text;
    std::vector<uint64_t> ids;
    const size_t records = random() % 60;
    for (size_t i = 0; i < records; ++i) {
      while (random() % 4 == 0) text += random() % 2 == 0 ? "\n" : "# a comment of some length\n";
      ids.push_back(i);
      text += "1 " + std::to_string(i) + ":1" + std::string(random() % 5 == 0 ? random() % 300 : 0, ' ');
      if (i + 1 < records || random() % 2 == 0) text += "\n";
    }
    const auto dataset = Open(text);
    const auto index = dataset->Index();
    ASSERT_TRUE(index.ok());
    ASSERT_EQ(index->records(), records);
    for (uint32_t n : {1u, 2u, 3u, 7u, 50u, 1000u}) {
      const auto ranges = index->Cut(n);
      ASSERT_EQ(ranges.size(), n);
      std::vector<uint64_t> seen;
      for (const PartitionRange& range : ranges) {
        const auto examples = dataset->ReadPartition(range);
        ASSERT_TRUE(examples.ok()) << examples.status().ToString();
        seen.insert(seen.end(), examples->ids.begin(), examples->ids.end());
      }
      ASSERT_EQ(seen, ids) << n << " partitions";
    }
  }
}

TEST_F(Libsvm, ALineLongerThanAnyReadIsWhole) {
  std::string text = "1";
  for (int id = 0; id < 60000; ++id) text += " " + std::to_string(id) + ":1";
  text += "\n-1 5:1\n";
  const auto dataset = Open(text);
  size_t records = 0, nonzeros = 0;
  for (const PartitionRange& range : dataset->Index()->Cut(9)) {
    const auto examples = dataset->ReadPartition(range);
    ASSERT_TRUE(examples.ok()) << examples.status().ToString();
    records += examples->size();
    nonzeros += examples->ids.size();
  }
  EXPECT_EQ(records, 2u);
  EXPECT_EQ(nonzeros, 60001u);
}

TEST_F(Libsvm, CountsRecordsAcrossReads) {
  std::string text;
  for (int i = 0; i < 300000; ++i) text += i % 3 == 0 ? "\n" : i % 3 == 1 ? "  # c\n" : "  1 1:1\n";
  const auto index = Open(text)->Index();
  ASSERT_TRUE(index.ok());
  EXPECT_EQ(index->records(), 100000u);
}

TEST_F(Libsvm, NamesTheFileThatCannotBeRead) {
  auto message = [&](const std::string& path) {
    const auto dataset = Dataset::Open("libsvm", {path}, {});
    return dataset.ok() ? Status() : dataset.status();
  };
  EXPECT_EQ(message(folder_.Path("absent")).code(), Code::kNotFound);
  EXPECT_NE(message(folder_.Path("absent")).message().find(folder_.Path("absent")), std::string::npos);
  EXPECT_NE(message(folder_.Path("")).message().find("is a directory, allowed are files"), std::string::npos);
  if (geteuid() != 0) {  // root may read everything
    const std::string secret = folder_.Write("secret", "1 1:1\n");
    std::filesystem::permissions(secret, std::filesystem::perms::none);
    EXPECT_EQ(message(secret).code(), Code::kPermissionDenied);
  }
  EXPECT_NE(Dataset::Open("csv", {"x"}, {}).status().message().find("is none of libsvm, idx"),
            std::string::npos);
}

TEST_F(Libsvm, FingerprintFollowsTheContents) {
  const std::string a = *Open("1 1:1\n")->Fingerprint();
  EXPECT_EQ(*Open("1 1:1\n")->Fingerprint(), a);
  EXPECT_NE(*Open("1 1:2\n")->Fingerprint(), a);
  EXPECT_NE(*Open("1 1:1\n\n")->Fingerprint(), a);
}

TEST_F(Libsvm, FingerprintOfALargeFileSamplesItFromTheFirstToTheLastByte) {
  const std::string path = folder_.Write("data.txt", "1 1:1\n");
  std::filesystem::resize_file(path, 70 << 20);  // the rest is a hole
  auto fingerprint = [&] { return *(*Dataset::Open("libsvm", {path}, {}))->Fingerprint(); };
  const std::string before = fingerprint();
  EXPECT_EQ(fingerprint(), before);
  std::fstream(path, std::ios::in | std::ios::out | std::ios::binary).seekp((70 << 20) - 1).put('x');
  EXPECT_NE(fingerprint(), before);
}

TEST_F(Libsvm, GathersMinibatches) {
  const Examples e = MustRead("1 1:1 2:2\n-1 3:3\n1\n");
  Batch batch;
  e.Gather(std::vector<uint32_t>{2, 0, 1}, &batch);
  EXPECT_EQ(batch.rows, 3u);
  EXPECT_FALSE(batch.dense);
  EXPECT_EQ(batch.labels, (std::vector<float>{1, 1, 0}));
  EXPECT_EQ(batch.row_offsets, (std::vector<uint64_t>{0, 0, 2, 3}));
  EXPECT_EQ(batch.ids, (std::vector<uint64_t>{1, 2, 3}));
  EXPECT_EQ(batch.indices, (std::vector<uint32_t>{2, 0, 1}));
}

// Not a bound, a figure: how fast one core parses. Run with --gtest_also_run_disabled_tests.
TEST_F(Libsvm, DISABLED_Speed) {
  std::mt19937 random(1);
  std::string text;
  while (text.size() < (200u << 20)) {
    text += random() % 2 == 0 ? "-1" : "+1";
    for (uint64_t id = random() % 8; id < 124; id += 1 + random() % 16)
      text += " " + std::to_string(id) + ":1";
    text += "\n";
  }
  const auto dataset = Open(text);
  for (int round = 0; round < 3; ++round) {
    const auto start = std::chrono::steady_clock::now();
    const auto examples = dataset->ReadPartition({0, text.size()});
    const std::chrono::duration<double> seconds = std::chrono::steady_clock::now() - start;
    ASSERT_TRUE(examples.ok());
    std::printf("%.0f MB/s, %.1f M nonzeros/s\n", static_cast<double>(text.size()) / 1e6 / seconds.count(),
                static_cast<double>(examples->ids.size()) / 1e6 / seconds.count());
  }
}

}  // namespace
}  // namespace penstock
