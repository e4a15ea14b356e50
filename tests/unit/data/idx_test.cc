// The idx reader: plain and gzip, damaged files, partitions, and that a process unpacks a file once.
#include "data/idx.h"

#include "tests/unit/data/pack.h"
#include "tests/unit/data/temp_file.h"

namespace penstock {
namespace {

using std::string_literals::operator""s;  // NOLINT(misc-unused-using-decls): a literal

std::string BigEndian(uint32_t v) {
  return {static_cast<char>(v >> 24), static_cast<char>(v >> 16), static_cast<char>(v >> 8),
          static_cast<char>(v)};
}

// `records` images of 2 x 3 pixels: pixel j of image i is 6 * i + j.
std::string Images(uint32_t records) {
  std::string file = "\0\0\x08\x03"s + BigEndian(records) + BigEndian(2) + BigEndian(3);
  for (uint32_t i = 0; i < records * 6; ++i) file += static_cast<char>(i);
  return file;
}
std::string Labels(const std::string& labels) {
  return "\0\0\x08\x01"s + BigEndian(static_cast<uint32_t>(labels.size())) + labels;
}

class Idx : public testing::Test {
 protected:
  Result<std::unique_ptr<Dataset>> Open(const std::string& images, const std::string& labels,
                                        DatasetOptions options = {}) {
    options.loss = LossKind::kSoftmax;
    options.classes = 10;
    folder_.Write("images-idx3", images);
    folder_.Write("labels-idx1", labels);
    return Dataset::Open("idx", {folder_.Path("images-idx3")}, options);
  }
  std::string Error(const std::string& images, const std::string& labels) {
    const auto dataset = Open(images, labels);
    EXPECT_FALSE(dataset.ok());
    EXPECT_EQ(dataset.status().code(), Code::kInvalidArgument);
    return dataset.status().message();
  }

  TempFolder folder_;
};

TEST_F(Idx, ReadsPlainAndGzip) {
  for (bool gzip : {false, true}) {
    const auto dataset =
        Open(gzip ? Gzip(Images(4)) : Images(4), gzip ? Gzip(Labels("\1\2\3\4")) : Labels("\1\2\3\4"));
    ASSERT_TRUE(dataset.ok()) << dataset.status().ToString();
    EXPECT_TRUE((*dataset)->dense());
    EXPECT_EQ((*dataset)->features(), 6u);
    EXPECT_EQ((*dataset)->Index()->records(), 4u);
    const auto examples = (*dataset)->ReadPartition({1, 3});
    ASSERT_TRUE(examples.ok());
    EXPECT_EQ(examples->labels, (std::vector<float>{2, 3}));
    Batch batch;
    examples->Gather(std::vector<uint32_t>{1, 0}, &batch);
    EXPECT_TRUE(batch.dense);
    EXPECT_EQ(batch.dim, 6u);
    EXPECT_EQ(batch.labels, (std::vector<float>{3, 2}));
    EXPECT_FLOAT_EQ(batch.features[0], 12 / 255.0f);
    EXPECT_FLOAT_EQ(batch.features[11], 11 / 255.0f);
  }
}

TEST_F(Idx, SubtractsTheMean) {
  const auto dataset = Open(Images(1), Labels("\1"), {.pixel_mean = 0.25f});
  Batch batch;
  (*dataset)->ReadPartition({0, 1})->Gather(std::vector<uint32_t>{0}, &batch);
  EXPECT_FLOAT_EQ(batch.features[5], 5 / 255.0f - 0.25f);
}

TEST_F(Idx, PartitionsHaveEveryRecordOnce) {
  const auto dataset = Open(Images(37), Labels(std::string(37, '\1')));
  ASSERT_TRUE(dataset.ok());
  for (uint32_t n : {1u, 2u, 5u, 37u, 100u}) {
    uint64_t next = 0;
    for (const PartitionRange& range : (*dataset)->Index()->Cut(n)) {
      EXPECT_EQ(range.begin, next);
      next = range.end;
    }
    EXPECT_EQ(next, 37u);
  }
}

TEST_F(Idx, HoldsRecordsOut) {
  for (const bool test : {false, true}) {
    const auto dataset =
        Open(Images(7), Labels("\1\2\3\4\5\6\7"), {.holdout = {.every = 3, .offset = 1, .test = test}});
    ASSERT_TRUE(dataset.ok());
    std::vector<float> labels;
    uint64_t records = 0;
    for (const PartitionRange& range : (*dataset)->Index()->Cut(2)) {
      const auto examples = (*dataset)->ReadPartition(range);
      labels.insert(labels.end(), examples->labels.begin(), examples->labels.end());
      records += range.records;
    }
    EXPECT_EQ(labels, (test ? std::vector<float>{2, 5} : std::vector<float>{1, 3, 4, 6, 7}));
    EXPECT_EQ(records, labels.size());
  }
}

TEST_F(Idx, SaysWhatIsWrongWithAFile) {
  const std::string labels = Labels("\1\2\3\4");
  const std::string images_path = "'" + folder_.Path("images-idx3") + "': ";
  EXPECT_EQ(
      Error("\x89PNG....", labels),
      images_path +
          "no idx file of unsigned bytes: it begins with 89 50 4e 47, allowed is 00 00 08 and 01 to 04");
  EXPECT_EQ(Error("", labels),
            images_path +
                "no idx file of unsigned bytes: it begins with nothing, allowed is 00 00 08 and 01 to 04");
  EXPECT_EQ(
      Error("\0\0\x0d\x03"s + Images(4).substr(4), labels),
      images_path +
          "no idx file of unsigned bytes: it begins with 00 00 0d 03, allowed is 00 00 08 and 01 to 04");
  EXPECT_EQ(Error(Images(4).substr(0, 10), labels),
            images_path + "truncated: the file ends within its header");
  EXPECT_EQ(Error(Images(4).substr(0, 30), labels),
            images_path + "truncated: its header promises 24 bytes of data, it has 14");
  EXPECT_EQ(Error(Images(4) + "x", labels),
            images_path + "data goes on after the 24 bytes its header promises");
  EXPECT_EQ(Error("\0\0\x08\x03"s + std::string(12, '\xff'), labels),
            images_path + "its header promises more than 68719476736 bytes");
  EXPECT_EQ(Error(Images(3), labels), "'" + folder_.Path("images-idx3") + "' has 3 images, '" +
                                          folder_.Path("labels-idx1") +
                                          "' has 4 labels: they must be as many");
  EXPECT_EQ(Error(Images(4), Images(4)),
            "'" + folder_.Path("labels-idx1") + "': labels must have 1 dimension, this has 3");
}

TEST_F(Idx, SaysWhatIsWrongWithAGzipFile) {
  const std::string labels = Labels("\1\2\3\4");
  std::string packed = Gzip(Images(4));
  EXPECT_EQ(Error(packed.substr(0, packed.size() - 9), labels),
            "'" + folder_.Path("images-idx3") + "': damaged gzip file: unexpected end of file");
  packed[packed.size() - 6] ^= 0x55;  // the checksum
  EXPECT_EQ(Error(packed, labels),
            "'" + folder_.Path("images-idx3") + "': damaged gzip file: incorrect data check");
}

TEST_F(Idx, AWrongLabelNamesItsRecordAndMayBeSkipped) {
  auto dataset = Open(Images(4), Labels("\1\x0a\3\4"));
  ASSERT_TRUE(dataset.ok());
  const auto stopped = (*dataset)->ReadPartition({0, 4});
  ASSERT_FALSE(stopped.ok());
  EXPECT_EQ(stopped.status().message(),
            folder_.Path("labels-idx1") +
                ": record 1 (from 0): label 10 is no class: allowed are whole numbers from 0 to 9");
  dataset = Open(Images(4), Labels("\1\x0a\3\4"), {.max_bad_records = 1});
  const auto examples = (*dataset)->ReadPartition({0, 4});
  ASSERT_TRUE(examples.ok());
  EXPECT_EQ(examples->bad_records, 1u);
  EXPECT_EQ(examples->labels, (std::vector<float>{1, 3, 4}));
  Batch batch;
  examples->Gather(std::vector<uint32_t>{1}, &batch);
  EXPECT_FLOAT_EQ(batch.features[0], 12 / 255.0f);  // record 2: the bad one is passed over
}

TEST_F(Idx, UnpacksAFileOnceWhileItIsUsedAndAgainWhenItChanged) {
  IdxCache cache;
  const std::string path = folder_.Write("images", Images(4));
  auto first = cache.Get(path);
  ASSERT_TRUE(first.ok());
  EXPECT_EQ(cache.Get(path)->bytes, first->bytes);
  folder_.Write("images", Images(5));
  EXPECT_EQ(cache.Get(path)->sizes[0], 5u);
  EXPECT_EQ(first->bytes->size(), 24u);  // who uses the old contents keeps them
}

TEST_F(Idx, SaysWhenTheLabelsAreNotToBeFound) {
  const std::string images = folder_.Write("pictures", Images(4));
  EXPECT_NE(Dataset::Open("idx", {images}, {}).status().message().find("name it with data.train_labels"),
            std::string::npos);
  const std::string lonely = folder_.Write("lonely-images-idx3-ubyte", Images(4));
  const auto missing = Dataset::Open("idx", {lonely}, {});
  EXPECT_EQ(missing.status().code(), Code::kNotFound);
  EXPECT_NE(missing.status().message().find("lonely-labels-idx1-ubyte"), std::string::npos);
}

}  // namespace
}  // namespace penstock
