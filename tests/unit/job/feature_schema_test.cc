// Columns are declared, checked and numbered; ids of categories are what feature_schema.h says.
#include "job/feature_schema.h"

#include <gtest/gtest.h>

#include <set>

namespace penstock {
namespace {

FeatureSchema Schema(const std::vector<std::string>& columns, uint64_t buckets = 0) {
  auto schema = FeatureSchema::Parse(columns, buckets);
  EXPECT_TRUE(schema.ok()) << schema.status().ToString();
  return std::move(*schema);
}

TEST(FeatureSchema, NumbersNumericColumnsAndFieldsInTheirOrder) {
  const FeatureSchema schema = Schema({"y:label", "city:categorical:none", "age:numeric:-1", "x:ignore",
                                       "tags:multi", "height:numeric", "w:weight:1", "t:timestamp"});
  EXPECT_EQ(schema.dim(), 2u);
  EXPECT_EQ(schema.fields(), 2u);
  EXPECT_EQ(schema.slot(1), 0u);  // city
  EXPECT_EQ(schema.slot(2), 0u);  // age
  EXPECT_EQ(schema.slot(4), 1u);  // tags
  EXPECT_EQ(schema.slot(5), 1u);  // height
  EXPECT_EQ(schema.ColumnOf(ColumnKind::kLabel), 0u);
  EXPECT_EQ(schema.ColumnOf(ColumnKind::kWeight), 6u);
  EXPECT_EQ(schema.columns()[1].missing, "none");
  EXPECT_EQ(schema.columns()[5].missing, std::nullopt);
  EXPECT_EQ(Schema({"y:label", "x:numeric"}).ColumnOf(ColumnKind::kTimestamp), std::nullopt);
}

TEST(FeatureSchema, MissingMayBeEmptyAndHoldColons) {
  EXPECT_EQ(ParseColumn("c:categorical:")->missing, "");
  EXPECT_EQ(ParseColumn("c:categorical:a:b")->missing, "a:b");
}

TEST(FeatureSchema, RefusesWhatItCannotRead) {
  const struct {
    std::vector<std::string> columns;
    const char* message;
  } cases[] = {
      {{"x"}, "column 'x': it must be name:kind or name:kind:missing"},
      {{":label"}, "column ':label': it must be name:kind"},
      {{"x:number"},
       "kind 'number' is none of numeric, categorical, multi, label, weight, timestamp, ignore"},
      {{"x:numeric:many"}, "column 'x:numeric:many': 'many' is not a finite number"},
      {{"x:numeric:nan"}, "'nan' is not a finite number"},
      {{"x:label:0"}, "only numeric, categorical and weight may say what a missing value is"},
      {{"y:label", "x:numeric", "x:categorical"}, "column 'x' is declared twice"},
      {{"x:numeric"}, "no column is the label"},
      {{"y:label", "z:label", "x:numeric"}, "2 columns are the label, allowed is one"},
      {{"y:label", "v:weight", "w:weight", "x:numeric"}, "2 columns are the weight, allowed is one"},
      {{"y:label", "x:ignore"}, "no column is numeric, categorical or multi"},
  };
  for (const auto& c : cases) {
    const auto schema = FeatureSchema::Parse(c.columns, 0);
    ASSERT_FALSE(schema.ok()) << c.message;
    EXPECT_EQ(schema.status().code(), Code::kInvalidArgument);
    EXPECT_NE(schema.status().message().find(c.message), std::string::npos) << schema.status().message();
  }
}

// Computed by hand from the definition; a change would orphan every trained row.
TEST(FeatureSchema, IdsOfCategoriesAreAsDocumented) {
  const std::vector<std::string> columns{"y:label", "zip:categorical", "city:categorical"};
  EXPECT_EQ(Schema(columns, 1000).CategoryId(1, "Bern"), 944u);
  EXPECT_EQ(Schema(columns).CategoryId(1, "Bern"), 8282081672974114472u);
}

TEST(FeatureSchema, IdsDependOnTheFieldAndNotOnItsPlace) {
  const FeatureSchema schema = Schema({"y:label", "a:categorical", "b:multi"});
  EXPECT_NE(schema.CategoryId(0, "1"), schema.CategoryId(1, "1"));
  EXPECT_EQ(schema.CategoryId(1, "1"), Schema({"b:categorical", "y:label"}).CategoryId(0, "1"));
}

TEST(FeatureSchema, IdsSpreadOverTheBuckets) {
  const FeatureSchema schema = Schema({"y:label", "user:categorical"}, 1024);
  std::vector<int> counts(1024);
  for (int i = 0; i < 65536; ++i) ++counts.at(schema.CategoryId(0, std::to_string(i)));
  double chi_squared = 0;  // 1023 degrees of freedom: mean 1023, standard deviation 45
  for (int count : counts) chi_squared += (count - 64.0) * (count - 64.0) / 64;
  EXPECT_LT(chi_squared, 1023 + 4 * 45);
}

TEST(FeatureSchema, SixtyThreeBitsDoNotCollide) {
  const FeatureSchema schema = FeatureSchema::Ratings(0);
  std::set<uint64_t> ids;
  for (int i = 0; i < 50000; ++i) {
    for (size_t field : {0, 1}) ids.insert(schema.CategoryId(field, std::to_string(i)));
  }
  EXPECT_EQ(ids.size(), 100000u);
  EXPECT_LT(*ids.rbegin(), uint64_t{1} << 63);
}

TEST(FeatureSchema, KnowsTheFormats) {
  EXPECT_EQ((*FeatureSchema::Of("ratings", {}, 0))->fields(), 2u);
  EXPECT_EQ((*FeatureSchema::Of("clicklog", {}, 0))->dim(), 13u);
  EXPECT_EQ((*FeatureSchema::Of("clicklog", {}, 0))->fields(), 26u);
  EXPECT_EQ((*FeatureSchema::Of("tsv", {"y:label", "x:numeric"}, 0))->dim(), 1u);
  EXPECT_FALSE(FeatureSchema::Of("libsvm", {}, 0)->has_value());
}

}  // namespace
}  // namespace penstock
