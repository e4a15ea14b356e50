// The checked reader refuses every TableDelta whose parts do not fit together.
#include "server/shard/table_images.h"

#include <capnp/message.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <memory>

#include "server/shard/flat_writer.h"

namespace penstock {
namespace {

using ::testing::HasSubstr;

class TableImagesTest : public ::testing::Test {
 protected:
  TableImagesTest()
      : message_(std::make_unique<capnp::MallocMessageBuilder>()),
        delta_(message_->initRoot<proto::TableDelta>()) {
    delta_.setTable(5);
    delta_.setLayout(kRowLayout);
    delta_.setDim(2);
    delta_.setSlots(2);
    delta_.setSections(kSectionValues | kSectionSlots);
    Fill(2 * 8, 2 * 8, 2 * 16, 8);
  }
  void Fill(size_t keys, size_t headers, size_t images, size_t deletions) {
    delta_.initKeys(keys);
    delta_.initHeaders(headers);
    delta_.initImages(images);
    delta_.initDeletions(deletions);
  }
  void ExpectDamage(const std::string& part) {
    const auto result = ReadTableImages(delta_.asReader());
    ASSERT_FALSE(result.ok());
    EXPECT_EQ(result.status().code(), Code::kDataLoss);
    EXPECT_THAT(result.status().message(), HasSubstr("table"));
    EXPECT_THAT(result.status().message(), HasSubstr(part));
  }

  std::unique_ptr<capnp::MallocMessageBuilder> message_;  // its own destructor may throw
  proto::TableDelta::Builder delta_;
};

TEST_F(TableImagesTest, ReadsWhatFits) {
  const auto result = ReadTableImages(delta_.asReader());
  ASSERT_TRUE(result.ok()) << result.status().ToString();
  EXPECT_EQ(result->table, 5u);
  EXPECT_EQ(result->keys.size(), 2u);
  EXPECT_EQ(result->headers.size(), 2u);
  EXPECT_EQ(result->images.size(), 8u);
  EXPECT_EQ(result->deletions.size(), 1u);
  EXPECT_EQ(result->image_floats(), 4u);
}

TEST_F(TableImagesTest, ReadsImagesOfOneSection) {
  delta_.setSections(kSectionSlots);
  Fill(2 * 8, 2 * 8, 2 * 8, 0);
  const auto result = ReadTableImages(delta_.asReader());
  ASSERT_TRUE(result.ok()) << result.status().ToString();
  EXPECT_EQ(result->image_floats(), 2u);
}

TEST_F(TableImagesTest, RefusesSizesThatDisagree) {
  Fill(3 * 8, 2 * 8, 2 * 16, 0);
  ExpectDamage("3 keys, 2 headers");
  Fill(2 * 8, 3 * 8, 2 * 16, 0);
  ExpectDamage("2 keys, 3 headers");
  Fill(2 * 8, 2 * 8, 2 * 16 - 4, 0);
  ExpectDamage("7 floats");
  Fill(2 * 8 - 1, 2 * 8, 2 * 16, 0);
  ExpectDamage("keys has 15 bytes");
  Fill(2 * 8, 2 * 8, 2 * 16, 7);
  ExpectDamage("deletions has 7 bytes");
}

TEST_F(TableImagesTest, RefusesUnknownShapes) {
  delta_.setDim(0);
  ExpectDamage("dim 0");
  delta_.setDim(65537);
  ExpectDamage("dim 65537");
  delta_.setDim(2);
  delta_.setSlots(5);
  ExpectDamage("5 slots");
  delta_.setSlots(2);
  delta_.setSections(4 | kSectionValues);
  ExpectDamage("sections 5");
  delta_.setSections(3);
  delta_.setLayout(2);
  ExpectDamage("row layout 2");
  delta_.setLayout(kRowLayout);
  delta_.setTable(0);
  ExpectDamage("table id 0");
}

TEST(FlatWriterTest, BuildsTheSameMessageWithAnyEstimate) {
  for (const size_t estimate : {size_t{0}, size_t{100}, size_t{1267}, size_t{5000}}) {
    SCOPED_TRACE(estimate);
    FlatWriter writer(estimate);
    auto delta = writer.initRoot<proto::TableDelta>();
    delta.setTable(17);
    auto keys = delta.initKeys(8000);
    for (size_t i = 0; i < keys.size(); ++i) keys[i] = static_cast<uint8_t>(i * 7);
    auto images = delta.initImages(2000);
    images[1999] = 3;
    const auto words = writer.Finish();
    capnp::FlatArrayMessageReader reader(words);
    ASSERT_EQ(reader.getEnd(), words.end()) << "nothing may follow the message";
    const auto read = reader.getRoot<proto::TableDelta>();
    EXPECT_EQ(read.getTable(), 17u);
    ASSERT_EQ(read.getKeys().size(), 8000u);
    for (size_t i = 0; i < 8000; ++i) ASSERT_EQ(read.getKeys()[i], static_cast<uint8_t>(i * 7));
    EXPECT_EQ(read.getImages()[1999], 3);
  }
}

}  // namespace
}  // namespace penstock
