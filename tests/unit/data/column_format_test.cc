// The readers of fields: csv, tsv, ratings and click logs; what they make of records.
#include "data/column_format.h"

#include <chrono>
#include <cmath>
#include <nlohmann/json.hpp>
#include <random>

#include "data/data_plan.h"
#include "tests/unit/data/temp_file.h"

namespace penstock {
namespace {

class Columns : public testing::Test {
 protected:
  Columns() {
    job_.name = "tiny";
    job_.data.format = "csv";
    job_.data.columns = {"y:label",    "age:numeric:-1", "city:categorical",
                         "tags:multi", "w:weight",       "id:ignore"};
    job_.model.loss = "squared";
  }
  // All of `text` in one batch.
  Batch Read(const std::string& text) {
    job_.data.train = folder_.Write("data", text);
    job_.data.partitions = 1;
    Batch batch;
    EXPECT_TRUE(job_.data.Validate().ok()) << job_.data.Validate().ToString();
    const auto plan = MakeJobPlan(job_);
    EXPECT_TRUE(plan.ok()) << plan.status().ToString();
    if (!plan.ok()) return batch;
    plan_ = *plan;
    const auto dataset = OpenJobData(job_, *plan, DataRole::kTrain);
    EXPECT_TRUE(dataset.ok()) << dataset.status().ToString();
    if (!dataset.ok()) return batch;
    const auto examples = (*dataset)->ReadPartition(plan->train.partitions[0]);
    EXPECT_TRUE(examples.ok()) << examples.status().ToString();
    if (!examples.ok()) return batch;
    std::vector<uint32_t> all(examples->size());
    for (uint32_t i = 0; i < all.size(); ++i) all[i] = i;
    examples->Gather(all, &batch);
    return batch;
  }
  uint64_t Id(size_t field, const std::string& value) { return job_.data.schema()->CategoryId(field, value); }

  TempFolder folder_;
  JobSpec job_;
  JobPlan plan_;
};

TEST_F(Columns, FillABatchBySchema) {
  const Batch batch = Read("y,age,city,tags,w,id\r\n1.5,30,Bern,a|b||c,2,x\r\n\r\n-2,,,,0.5,\"\"\n");
  EXPECT_EQ(batch.rows, 2u);
  EXPECT_TRUE(batch.dense);
  EXPECT_EQ(batch.dim, 1u);
  EXPECT_EQ(batch.fields, 2u);
  EXPECT_EQ(batch.labels, (std::vector<float>{1.5f, -2}));
  EXPECT_EQ(batch.features, (std::vector<float>{30, -1}));
  EXPECT_EQ(batch.weights, (std::vector<float>{2, 0.5f}));
  EXPECT_EQ(batch.field_offsets, (std::vector<uint64_t>{0, 1, 4, 4, 4}));
  EXPECT_EQ(batch.categories, (std::vector<uint64_t>{Id(0, "Bern"), Id(1, "a"), Id(1, "b"), Id(1, "c")}));
  EXPECT_EQ(plan_.train.records, 2u);
  EXPECT_EQ(plan_.shape().fields, 2u);
  EXPECT_DOUBLE_EQ(plan_.shape().label_mean, (1.5 * 2 - 2 * 0.5) / 2.5);
}

TEST_F(Columns, QuotedFieldsMayHoldAnything) {
  const Batch batch = Read("1,\"2\",\"Bern, \"\"old\"\"\ntown\",,1,\n2,3,Basel,,1,\n");
  EXPECT_EQ(batch.features, (std::vector<float>{2, 3}));
  EXPECT_EQ(batch.categories, (std::vector<uint64_t>{Id(0, "Bern, \"old\"\ntown"), Id(0, "Basel")}));
}

TEST_F(Columns, TsvHasNoQuotesAndNoMissingValueIsItsOwn) {
  job_.data.format = "tsv";
  job_.data.columns = {"y:label", "city:categorical:nowhere"};
  const Batch batch = Read("1\t\"Bern\"\n2\t\n");
  EXPECT_EQ(batch.categories, (std::vector<uint64_t>{Id(0, "\"Bern\""), Id(0, "nowhere")}));
  EXPECT_EQ(batch.dim, 0u);
}

TEST_F(Columns, RatingsWithAndWithoutHeaderAndTimestamp) {
  job_.data.format = "ratings";
  job_.data.columns = {};
  for (const std::string header : {"", "userId,movieId,rating,timestamp\r\n"}) {
    const Batch batch = Read(header + "1,31,2.5,1260759144\r\n7,31,4\n");
    EXPECT_EQ(batch.labels, (std::vector<float>{2.5f, 4}));
    EXPECT_EQ(batch.categories, (std::vector<uint64_t>{Id(0, "1"), Id(1, "31"), Id(0, "7"), Id(1, "31")}));
  }
  job_.data.delimiter = "\t";
  EXPECT_EQ(Read("1\t31\t2.5\n").labels, (std::vector<float>{2.5f}));
  job_.data.delimiter = "\\t";
  EXPECT_EQ(Read("1\t31\t2.5\n").labels, (std::vector<float>{2.5f}));
}

TEST_F(Columns, DelimitersOfSeveralCharacters) {
  job_.data.format = "ratings";
  job_.data.columns = {};
  job_.data.delimiter = "::";
  for (const std::string header : {"", "UserID::MovieID::Rating::Timestamp\n"}) {
    const Batch batch = Read(header + "1::1193::5::978300760\n\"a:b\"::3::4\r\n");
    EXPECT_EQ(batch.labels, (std::vector<float>{5, 4}));
    EXPECT_EQ(batch.categories,
              (std::vector<uint64_t>{Id(0, "1"), Id(1, "1193"), Id(0, "\"a:b\""), Id(1, "3")}));
  }
  job_.data.format = "csv";
  job_.data.delimiter = "||";
  job_.data.multi_separator = ";";
  job_.data.columns = {"y:label", "x:numeric:7", "tags:multi"};
  const Batch batch = Read("1||2||a;b|c\n2||||\n");
  EXPECT_EQ(batch.features, (std::vector<float>{2, 7}));
  EXPECT_EQ(batch.categories, (std::vector<uint64_t>{Id(0, "a"), Id(0, "b|c")}));
}

class Headers : public Columns {
 protected:
  Headers() { job_.data.columns = {"y:label", "age:numeric", "city:categorical", "id:ignore"}; }
  // What is said of a file that begins with this line, then has two records.
  std::string Said(const std::string& line, const std::string& header = "auto") {
    job_.data.header = header;
    job_.data.train = folder_.Write("data", line + "\n1,30,Bern,a\n0,41,Basel,b\n");
    const auto plan = MakeJobPlan(job_);
    if (plan.ok()) {
      records_ = plan->train.records;
      return "";
    }
    const std::string at = "data.train: " + job_.data.train + ":1: ", message = plan.status().message();
    EXPECT_TRUE(message.starts_with(at)) << message;
    return message.substr(std::min(at.size(), message.size()));
  }
  uint64_t records_ = 0;
};

TEST_F(Headers, AreTheNamesOfTheColumns) {
  for (const char* line : {"y,age,city,id", "y, age ,\"city\",whatever"}) {
    EXPECT_EQ(Said(line), "");
    EXPECT_EQ(records_, 2u);
    EXPECT_EQ(Said(line, "yes"), "");
    EXPECT_EQ(records_, 2u);
  }
  EXPECT_EQ(Said("1,20,Chur,c"), "");
  EXPECT_EQ(records_, 3u);
}

TEST_F(Headers, ThatAreTakenForARecordAreRefused) {
  const std::string hint =
      ": name the columns as the header does, or set data.header to 'yes' (a header, whatever its names) or "
      "'no' (a "
      "record)";
  EXPECT_EQ(Said("y,years,city,id"), "field 2 of the header is 'years', data.columns has 'age' there" + hint);
  EXPECT_EQ(Said("y,years,city,id", "yes"), "");
  EXPECT_EQ(records_, 2u);
  EXPECT_EQ(Said("y,age,city"), "the header has 3 fields, data.columns has 4" + hint);
  EXPECT_EQ(Said("y,age,city", "yes"), "the header has 3 fields, data.columns has 4");
  EXPECT_EQ(Said("y,age,city,id", "no"),
            "this is a header, and data.header is 'no': set it to 'auto' or 'yes'");
}

TEST_F(Headers, InAnotherOrderAreRefused) {
  const std::string order =
      "field 2 of the header is 'city', which data.columns declares as column 3: columns are declared in the "
      "order of "
      "the header";
  EXPECT_EQ(Said("y,city,age,id"), order);
  EXPECT_EQ(Said("y,city,age,id", "yes"), order);
}

TEST_F(Headers, RecordsThatAreTakenForOneAreRefused) {
  EXPECT_TRUE(Said("1,20,Chur,c", "yes").starts_with("this looks like a record, and data.header is 'yes'"));
  job_.data.columns = {"0:label", "1:numeric", "2:categorical", "3:ignore"};
  EXPECT_EQ(Said("0,1,2,3", "yes"), "") << "a header of numbers, by its names";
  EXPECT_EQ(records_, 2u);
}

// What an earlier version took for a header stays one, and a file that has another one now has changed.
TEST_F(Headers, OfAJobThatRunsAreNotRefused) {
  const std::vector<std::string> columns = job_.data.columns;
  job_.data.columns = {"1:label", "20:numeric", "Chur:categorical", "c:ignore"};
  ASSERT_EQ(Said("1,20,Chur,c", "yes"), "");
  const auto plan = MakeJobPlan(job_);
  ASSERT_TRUE(plan.ok()) << plan.status().ToString();
  job_.data.columns = columns;
  EXPECT_FALSE(OpenJobData(job_, *plan, DataRole::kTrain).ok());
  const auto dataset = OpenPlannedData(job_, *plan, DataRole::kTrain);
  ASSERT_TRUE(dataset.ok()) << dataset.status().ToString();
  EXPECT_EQ((*dataset)->ReadPartition(plan->train.partitions[0])->size(), 2u);
  EXPECT_NE(Said("y,years,city,id"), "");  // writes the file
  const Status changed = OpenPlannedData(job_, *plan, DataRole::kTrain).status();
  EXPECT_EQ(changed.code(), Code::kFailedPrecondition) << changed.ToString();
  EXPECT_NE(changed.message().find("its fingerprint was"), std::string::npos) << changed.message();
}

TEST_F(Headers, OfRatings) {
  job_.data.format = "ratings";
  job_.data.columns = {};
  const auto said = [&](const std::string& text, const std::string& header = "auto") {
    job_.data.header = header;
    job_.data.train = folder_.Write("data", text + "\n1,2,3\n2,3,4\n");
    const auto plan = MakeJobPlan(job_);
    records_ = plan.ok() ? plan->train.records : 0;
    return plan.status().message();
  };
  for (const char* line : {"user,item,info", "userId,movieId,rating,timestamp", "User-ID,ISBN,Book-Rating"}) {
    EXPECT_EQ(said(line), "");
    EXPECT_EQ(records_, 2u) << line;
  }
  EXPECT_EQ(said("5,6,1"), "");
  EXPECT_EQ(records_, 3u);
  EXPECT_NE(
      said("rating,user,item").find("field 1 of the header is 'rating', ratings are user, item, rating"),
      std::string::npos);
  EXPECT_NE(said("5,6,good").find(":1: column 'rating' (field 3): label 'good' is not a number"),
            std::string::npos)
      << "a malformed record is no header";
  EXPECT_NE(said("user,item,rating", "no").find("data.header is 'no'"), std::string::npos);
  EXPECT_NE(said("5,6,1", "yes").find("data.header is 'yes'"), std::string::npos);
}

TEST_F(Columns, AreScaledByWhatTheTrainingDataHave) {
  job_.data.columns = {"y:label", "a:numeric:2", "b:numeric"};
  job_.data.scale = "standard";
  job_.data.test = folder_.Write("test", "1,9,5\n");
  const Batch batch = Read("1,2,5\n2,4,5\n3,4,5\n4,4,5\n5,5,5\n6,5,5\n7,7,5\n8,9,5\n9,,5\n");
  // Of a: mean 42/9, with the value for missing ones; b is constant.
  const double mean = 42.0 / 9, deviation = std::sqrt(236.0 / 9 - mean * mean);
  ASSERT_EQ(plan_.scales.size(), 2u);
  EXPECT_NEAR(plan_.scales[0].mean, mean, 1e-12);
  EXPECT_NEAR(plan_.scales[0].factor, 1 / deviation, 1e-12);
  EXPECT_FLOAT_EQ(batch.features[0], static_cast<float>((2 - mean) / deviation));
  EXPECT_FLOAT_EQ(batch.features[16], static_cast<float>((2 - mean) / deviation)) << "the missing one";
  EXPECT_EQ(batch.features[1], 0);
  // What is tested on is scaled by the same, also after the plan has travelled.
  const auto travelled = nlohmann::json::parse(nlohmann::json(plan_).dump()).get<JobPlan>();
  EXPECT_EQ(travelled.scales, plan_.scales);
  const auto test = OpenJobData(job_, travelled, DataRole::kTest);
  const auto examples = (*test)->ReadPartition(travelled.test->partitions[0]);
  ASSERT_TRUE(examples.ok()) << examples.status().ToString();
  EXPECT_EQ(examples->features, (std::vector<float>{static_cast<float>((9 - mean) / deviation), 0}));
  EXPECT_EQ(OpenJobData(job_, JobPlan(), DataRole::kTrain).status().code(), Code::kInvalidArgument)
      << "never unscaled by mistake";
}

// No float is as it is written here: what is equal is scaled to 0 all the same, and what is not stays apart.
TEST_F(Columns, AreScaledAsTheFloatsThatTheyAre) {
  job_.data.columns = {"y:label", "big:numeric", "small:numeric", "time:numeric"};
  job_.data.scale = "standard";
  const Batch batch = Read("1,1e30,0.1,1600000001\n2,1e30,0.1,1600000301\n");
  EXPECT_EQ(batch.features, (std::vector<float>{0, 0, -1, 0, 0, 1}));
}

TEST_F(Columns, CanBeLogarithms) {
  job_.data.columns = {"y:label", "a:numeric:99"};
  job_.data.scale = "log1p";
  const Batch batch = Read("1,0\n2,-3\n3,1e6\n4,\n");
  EXPECT_EQ(batch.features, (std::vector<float>{0, -std::log(4.0f), static_cast<float>(std::log1p(1e6)),
                                                static_cast<float>(std::log1p(99))}));
}

TEST_F(Columns, ClickLogsTakeLogarithmsAndMissingFields) {
  job_.data.format = "clicklog";
  job_.data.columns = {};
  job_.model.loss = "logistic";
  std::string numbers = "1\t5\t-3\t\t100000", categories;
  for (int i = 4; i < 13; ++i) numbers += "\t0";
  for (int i = 0; i < 26; ++i) categories += i % 2 == 0 ? "\t68fd1e64" : "\t";
  const Batch batch = Read(numbers + categories + "\n");
  EXPECT_EQ(batch.labels, (std::vector<float>{1}));
  EXPECT_EQ(batch.dim, 13u);
  EXPECT_EQ(batch.fields, 26u);
  EXPECT_FLOAT_EQ(batch.features[0], std::log(6.0f));
  EXPECT_FLOAT_EQ(batch.features[1], -std::log(4.0f));
  EXPECT_EQ(batch.features[2], 0);
  EXPECT_FLOAT_EQ(batch.features[3], std::log(100001.0f));
  ASSERT_EQ(batch.categories.size(), 13u);
  EXPECT_EQ(batch.categories[1], Id(2, "68fd1e64"));
}

TEST_F(Columns, HeadersAreNotCountedWhenRecordsAreHeldOut) {
  job_.data.columns = {"y:label", "x:numeric"};
  job_.data.holdout_every = 3;
  job_.data.holdout_offset = 2;
  const Batch batch = Read("y,x\n0,1\n1,1\n2,1\n3,1\n4,1\n5,1\n");
  EXPECT_EQ(batch.labels, (std::vector<float>{0, 1, 3, 4}));
  EXPECT_EQ(plan_.test->records, 2u);
}

TEST_F(Columns, OptionsThatHaveNoMeaningAreRefused) {
  auto error = [&] { return job_.data.Validate().message(); };
  EXPECT_EQ(error(), "");
  job_.data.delimiter = ": :";
  EXPECT_TRUE(error().starts_with("data.delimiter is ': :', allowed is a tab (\\t) or 1 to 8 characters"))
      << error();
  job_.data.delimiter = "::";
  EXPECT_EQ(error(), "");
  job_.data.delimiter = "|";
  EXPECT_EQ(error(), "data.multi_separator is the character between fields, it must be another");
  job_.data.format = "tsv";
  EXPECT_EQ(error(), "data.delimiter has a meaning only with data.format 'csv' or 'ratings'");
  job_.data.delimiter = "";
  job_.data.columns = {"y:label", "x:numeric"};
  job_.data.multi_separator = ";";
  EXPECT_EQ(error(), "data.multi_separator has a meaning only with a column of kind multi");
  job_.data.format = "clicklog";
  job_.data.multi_separator = "|";
  job_.data.columns = {};
  job_.data.scale = "log1p";
  EXPECT_EQ(
      error(),
      "data.scale has a meaning only with numeric columns of data.format 'csv' or 'tsv' (clicklog has its "
      "logarithm)");
  job_.data.scale = "none";
  job_.data.header = "yes";
  EXPECT_EQ(error(), "data.header has a meaning only with data.format 'csv', 'tsv' or 'ratings'");
}

// The test set of MovieLens latest-small: every line after the header whose 0-based index mod 10 is 9.
TEST_F(Columns, HoldOutEveryTenthRatingOfMovieLens) {
  const char* given = std::getenv("PENSTOCK_DATA");
  job_.data.train = (given != nullptr ? std::string(given) : PENSTOCK_SOURCE_DIR "/../shared/data") +
                    std::string("/ml-latest-small/ratings.csv");
  if (!std::filesystem::exists(job_.data.train)) GTEST_SKIP() << "no " << job_.data.train;
  job_.data.format = "ratings";
  job_.data.columns = {};
  job_.data.holdout_every = 10;
  job_.data.holdout_offset = 9;
  const auto plan = MakeJobPlan(job_);
  ASSERT_TRUE(plan.ok()) << plan.status().ToString();
  EXPECT_EQ(plan->train.records, 90753u);
  ASSERT_TRUE(plan->test.has_value());
  EXPECT_EQ(plan->test->records, 10083u);
  std::ifstream file(job_.data.train);
  std::string line;
  double sum = 0;
  std::getline(file, line);
  for (uint64_t i = 0; std::getline(file, line); ++i) {
    const size_t at = line.find(',', line.find(',') + 1) + 1;
    if (i % 10 == 9) sum += std::stod(line.substr(at));
  }
  EXPECT_NEAR(plan->test->label_mean, sum / 10083, 1e-9);
}

// Not bounds, figures: how fast one core parses. Run with --gtest_also_run_disabled_tests.
TEST_F(Columns, DISABLED_Speed) {
  std::mt19937 random(1);
  auto measure = [&](const char* what, const std::function<void(std::string*)>& line) {
    std::string text;
    while (text.size() < (100u << 20)) line(&text);
    const std::string path = folder_.Write(what, text);
    DatasetOptions options{.loss = LossKind::kSquared, .schema = job_.data.schema()};
    const auto dataset = Dataset::Open(job_.data.format, {path}, options);
    for (int round = 0; round < 2; ++round) {
      const auto start = std::chrono::steady_clock::now();
      const auto examples = (*dataset)->ReadPartition({0, text.size()});
      const std::chrono::duration<double> seconds = std::chrono::steady_clock::now() - start;
      ASSERT_TRUE(examples.ok()) << examples.status().ToString();
      std::printf("%s: %.0f MB/s, %zu records\n", what,
                  static_cast<double>(text.size()) / 1e6 / seconds.count(), examples->size());
    }
  };
  job_.data.format = "clicklog";
  job_.data.columns = {};
  measure("clicklog", [&](std::string* text) {
    *text += std::to_string(random() % 2);
    for (int i = 0; i < 13; ++i) *text += "\t" + (random() % 5 == 0 ? "" : std::to_string(random() % 1000));
    char hex[10];
    for (int i = 0; i < 26; ++i) {
      std::snprintf(hex, sizeof(hex), "\t%08x", static_cast<unsigned>(random()));
      *text += hex;
    }
    *text += "\n";
  });
  job_.data.format = "csv";
  job_.data.columns = {"y:label"};
  for (int i = 0; i < 20; ++i)
    job_.data.columns.push_back("x" + std::to_string(i) + (i < 10 ? ":numeric" : ":categorical"));
  measure("csv", [&](std::string* text) {
    *text += std::to_string(random() % 2);
    for (int i = 0; i < 20; ++i) *text += "," + std::to_string(random() % 100000) + (i < 10 ? ".25" : "");
    *text += "\n";
  });
}

}  // namespace
}  // namespace penstock
