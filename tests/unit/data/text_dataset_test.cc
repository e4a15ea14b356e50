// Several text files, packed or not: that partitions have every record once, and which records are held out.
#include "data/text_dataset.h"

#include <algorithm>
#include <set>

#include "data/data_plan.h"
#include "tests/unit/data/pack.h"
#include "tests/unit/data/temp_file.h"

namespace penstock {
namespace {

// Lines "1 <i>:1" for i in [begin, end).
std::string Lines(int begin, int end) {
  std::string text;
  for (int i = begin; i < end; ++i) text += "1 " + std::to_string(i) + ":1\n";
  return text;
}

class TextDatasetTest : public testing::Test {
 protected:
  TextDatasetTest() {
    job_.name = "tiny";
    job_.train.batch_size = 10;
    folder_.Write("a", Lines(0, 500));
    folder_.Write("b.gz", Gzip(Lines(500, 600)));
    folder_.Write("c", Lines(600, 610).substr(0, 79));
    folder_.Write("d.zst", Zstd(Lines(610, 1000)));
    job_.data.train = folder_.Path("*");
  }
  JobPlan Plan() {
    auto plan = MakeJobPlan(job_);
    EXPECT_TRUE(plan.ok()) << plan.status().ToString();
    return plan.ok() ? *plan : JobPlan();
  }
  std::vector<uint64_t> Ids(const DataPlan& plan, DataRole role) {
    std::vector<uint64_t> ids;
    const auto dataset = OpenJobData(job_, JobPlan(), role);
    EXPECT_TRUE(dataset.ok());
    uint64_t records = 0;
    for (const PartitionRange& range : plan.partitions) {
      const auto examples = (*dataset)->ReadPartition(range);
      EXPECT_TRUE(examples.ok()) << examples.status().ToString();
      EXPECT_EQ(examples->size(), range.records);
      records += range.records;
      ids.insert(ids.end(), examples->ids.begin(), examples->ids.end());
    }
    EXPECT_EQ(records, plan.records);
    return ids;
  }

  TempFolder folder_;
  JobSpec job_;
};

std::vector<uint64_t> Numbers(uint64_t end, const std::function<bool(uint64_t)>& takes) {
  std::vector<uint64_t> numbers;
  for (uint64_t i = 0; i < end; ++i) {
    if (takes(i)) numbers.push_back(i);
  }
  return numbers;
}

TEST_F(TextDatasetTest, HasEveryRecordOnceInTheOrderOfTheFiles) {
  for (const uint32_t partitions : {0u, 1u, 4u, 5u, 60u, 3000u}) {
    job_.data.partitions = partitions;
    const JobPlan plan = Plan();
    EXPECT_EQ(plan.train.records, 1000u);
    EXPECT_EQ(plan.train.partitions.size(), partitions == 0 ? 8u : std::max(partitions, 4u));
    EXPECT_EQ(Ids(plan.train, DataRole::kTrain), Numbers(1000, [](uint64_t) { return true; }));
    // A packed file is one partition.
    EXPECT_EQ(std::count_if(plan.train.partitions.begin(), plan.train.partitions.end(),
                            [](const PartitionRange& range) { return range.file == 1; }),
              1);
  }
}

TEST_F(TextDatasetTest, HoldsOutByIndexOverAllFilesWhereverTheyAreCut) {
  job_.data.holdout_every = 10;
  job_.data.holdout_offset = 9;
  for (const uint32_t partitions : {1u, 7u, 200u}) {
    job_.data.partitions = partitions;
    const JobPlan plan = Plan();
    ASSERT_TRUE(plan.test.has_value());
    EXPECT_EQ(plan.train.records, 900u);
    EXPECT_EQ(plan.test->records, 100u);
    EXPECT_EQ(Ids(plan.train, DataRole::kTrain), Numbers(1000, [](uint64_t i) { return i % 10 != 9; }));
    EXPECT_EQ(Ids(*plan.test, DataRole::kTest), Numbers(1000, [](uint64_t i) { return i % 10 == 9; }));
  }
}

TEST_F(TextDatasetTest, EmptyAndMalformedLinesHaveAnIndexToo) {
  folder_.Write("lines", "1 0:1\n\n1 2:1\nbad\n# comment\n1 5:1\n");
  job_.data.train = folder_.Path("lines");
  job_.data.holdout_every = 5;
  job_.data.holdout_offset = 2;
  job_.data.max_bad_records = 1;
  const JobPlan plan = Plan();
  EXPECT_EQ(Ids(*plan.test, DataRole::kTest), (std::vector<uint64_t>{2}));
  EXPECT_EQ(Ids(plan.train, DataRole::kTrain), (std::vector<uint64_t>{0, 5}));
}

TEST_F(TextDatasetTest, TheFingerprintIsOfAllFiles) {
  std::set<std::string> seen{Plan().train.fingerprint};
  folder_.Write("c", Lines(600, 610));
  seen.insert(Plan().train.fingerprint);
  folder_.Write("e", "1 7:1\n");
  seen.insert(Plan().train.fingerprint);
  EXPECT_EQ(seen.size(), 3u);
}

TEST_F(TextDatasetTest, MessagesHaveTheLineOfTheFileAlsoOfAPackedOne) {
  for (const bool packed : {false, true}) {
    const std::string text = Lines(0, 70) + "oops\n" + Lines(70, 80);
    job_.data.train = folder_.Write("bad", packed ? Gzip(text) : text);
    job_.data.partitions = packed ? 0 : 3;
    job_.data.max_bad_records = 1;
    const JobPlan plan = Plan();
    job_.data.max_bad_records = 0;
    const auto dataset = OpenJobData(job_, plan, DataRole::kTrain);
    int messages = 0;
    for (const PartitionRange& range : plan.train.partitions) {
      const auto examples = (*dataset)->ReadPartition(range);
      if (examples.ok()) continue;
      ++messages;
      EXPECT_TRUE(examples.status().message().starts_with(job_.data.train + ":71: label 'oops'"))
          << examples.status().ToString();
    }
    EXPECT_EQ(messages, 1);
  }
}

TEST_F(TextDatasetTest, PassesOverAByteOrderMark) {
  job_.data.train = folder_.Write("marked", "\xef\xbb\xbf" + Lines(0, 20));
  EXPECT_EQ(Ids(Plan().train, DataRole::kTrain), Numbers(20, [](uint64_t) { return true; }));
}

TEST_F(TextDatasetTest, SaysWhenNothingIsLeft) {
  job_.data.train = folder_.Write("bad", "oops\n");
  EXPECT_TRUE(MakeJobPlan(job_).status().message().starts_with(
      "data.train: '" + job_.data.train + "' has no good records: " + job_.data.train + ":1: label 'oops'"))
      << MakeJobPlan(job_).status().message();
  job_.data.train = folder_.Write("few", "1 1:1\n");
  job_.data.holdout_every = 2;
  job_.data.holdout_offset = 1;
  EXPECT_EQ(MakeJobPlan(job_).status().message(),
            "data.train: '" + job_.data.train + "' has no records held out");
  job_.data.holdout_offset = 0;
  EXPECT_EQ(MakeJobPlan(job_).status().message(),
            "data.train: '" + job_.data.train + "' has no records left");
}

TEST_F(TextDatasetTest, PackedFilesCannotBeCut) {
  job_.data.train = folder_.Path("b.gz");
  job_.data.partitions = 4;
  EXPECT_EQ(
      MakeJobPlan(job_).status().message(),
      "data.train: data.partitions is 4, and '" + job_.data.train +
          "' stands for packed files only (1), each of which is one partition: it would have no effect");
}

// What a worker has opened must stay what it was, whether it is cut, grows, is replaced or goes.
TEST_F(TextDatasetTest, AFileThatChangesIsNamedAtTheNextRead) {
  const std::string path = job_.data.train = folder_.Write("data", Lines(0, 100));
  // Clocks of file systems are coarse: two writes may have the same time.
  const auto at_another_time = [&] {
    std::filesystem::last_write_time(path,
                                     std::filesystem::file_time_type::clock::now() + std::chrono::hours(1));
  };
  const auto change = [&](const std::function<void()>& how) {
    folder_.Write("data", Lines(0, 100));
    const JobPlan plan = Plan();
    const auto dataset = OpenJobData(job_, plan, DataRole::kTrain);
    EXPECT_TRUE(dataset.ok()) << dataset.status().ToString();
    EXPECT_TRUE(CheckUnchanged(**dataset, plan.train).ok());
    EXPECT_TRUE((*dataset)->ReadPartition(plan.train.partitions[0]).ok());
    how();
    const auto read = (*dataset)->ReadPartition(plan.train.partitions[0]);
    EXPECT_FALSE((*dataset)->Index().ok());
    EXPECT_FALSE((*dataset)->Fingerprint().ok());
    return read.status();
  };
  const Status cut = change([&] { folder_.Write("data", Lines(0, 50)); });
  EXPECT_EQ(cut.code(), Code::kFailedPrecondition);
  EXPECT_EQ(cut.message(), "'" + path + "' is not what it was when it was opened: it has " +
                               std::to_string(Lines(0, 50).size()) + " bytes, it had " +
                               std::to_string(Lines(0, 100).size()));
  const Status replaced = change([&] {
    folder_.Write("other", Lines(1, 101).substr(0, Lines(0, 100).size()));
    std::filesystem::rename(folder_.Path("other"), path);
  });
  EXPECT_EQ(replaced.code(), Code::kFailedPrecondition);
  EXPECT_TRUE(replaced.message().ends_with("another file has taken its place")) << replaced.message();
  const Status written = change([&] {
    std::string other = Lines(0, 100);
    other[0] = '0';  // another label
    folder_.Write("data", other);
    at_another_time();
  });
  EXPECT_EQ(written.code(), Code::kFailedPrecondition);
  EXPECT_TRUE(written.message().ends_with("it was written to")) << written.message();
  const Status gone = change([&] { std::filesystem::remove(path); });
  EXPECT_EQ(gone.code(), Code::kNotFound);
  EXPECT_NE(gone.message().find(path), std::string::npos);
}

// What a file has is told from its fingerprint where only its time or its inode is another.
TEST_F(TextDatasetTest, AFileThatIsWrittenAsItWasGoesOn) {
  const std::string path = job_.data.train = folder_.Write("data", Lines(0, 100));
  const JobPlan plan = Plan();
  const auto open = [&] { return *OpenJobData(job_, plan, DataRole::kTrain); };
  const auto known = open(), unknown = open();
  EXPECT_TRUE(CheckUnchanged(*known, plan.train).ok());
  const auto touch = [&](int hours) {
    std::filesystem::last_write_time(
        path, std::filesystem::file_time_type::clock::now() + std::chrono::hours(hours));
  };
  touch(1);
  EXPECT_TRUE(known->ReadPartition(plan.train.partitions[0]).ok());
  EXPECT_EQ(unknown->ReadPartition(plan.train.partitions[0]).status().code(), Code::kFailedPrecondition)
      << "nobody has looked at what it had";
  folder_.Write("other", Lines(0, 100));
  std::filesystem::rename(folder_.Path("other"), path);
  for (const PartitionRange& range : plan.train.partitions) {
    const auto examples = known->ReadPartition(range);
    ASSERT_TRUE(examples.ok()) << examples.status().ToString();
    EXPECT_EQ(examples->size(), range.records);
  }
  EXPECT_TRUE(CheckUnchanged(*known, plan.train).ok());
  std::string other = Lines(0, 100);
  other[0] = '0';
  folder_.Write("data", other);
  touch(2);
  EXPECT_EQ(known->ReadPartition(plan.train.partitions[0]).status().code(), Code::kFailedPrecondition);
}

// Its fingerprint is of samples, which cannot tell whether it has what it had.
TEST_F(TextDatasetTest, ALargeFileWithAnotherTimeHasChanged) {
  const std::string path = folder_.Write("large", "1 1:1\n");
  std::filesystem::resize_file(path, 70 << 20);  // the rest is a hole
  const auto dataset = Dataset::Open("libsvm", {path}, {});
  ASSERT_TRUE(dataset.ok()) << dataset.status().ToString();
  ASSERT_TRUE((*dataset)->Fingerprint().ok());
  EXPECT_TRUE((*dataset)->ReadPartition({0, 6}).ok());
  std::filesystem::last_write_time(path,
                                   std::filesystem::file_time_type::clock::now() + std::chrono::hours(1));
  const Status touched = (*dataset)->ReadPartition({0, 6}).status();
  EXPECT_EQ(touched.code(), Code::kFailedPrecondition);
  EXPECT_TRUE(touched.message().ends_with("files of more than 64 MiB are not compared with what they had"))
      << touched.message();
}

TEST_F(TextDatasetTest, NamesADamagedFile) {
  const std::string packed = Gzip(Lines(0, 1000));
  job_.data.train = folder_.Write("broken", packed.substr(0, packed.size() / 2));
  EXPECT_EQ(MakeJobPlan(job_).status().message(),
            "data.train: '" + job_.data.train + "': damaged gzip file: unexpected end of file");
  job_.data.train = folder_.Write("appended", packed + Lines(0, 3));
  EXPECT_EQ(MakeJobPlan(job_).status().message(),
            "data.train: '" + job_.data.train + "': 18 bytes behind its gzip data, from byte " +
                std::to_string(packed.size()) + " on, are no whole gzip member: they would not be read");
}

}  // namespace
}  // namespace penstock
