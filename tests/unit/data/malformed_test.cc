// Every malformed record of the tables in docs/data.md gives the message that stands beside it.
#include <fstream>
#include <map>

#include "data/data_plan.h"
#include "tests/unit/data/temp_file.h"

namespace penstock {
namespace {

struct Case {
  std::string line, message;
};

// "`` text ``" at `from` of a table's row; moves `from` behind it.
std::string Cell(const std::string& row, size_t* from) {
  const size_t begin = row.find("`` ", *from);
  const size_t end = row.find(" ``", begin + 3);
  if (begin == std::string::npos || end == std::string::npos) return "";
  *from = end + 3;
  return row.substr(begin + 3, end - begin - 3);
}

std::map<std::string, std::vector<Case>> TablesOfTheDocument() {
  std::map<std::string, std::vector<Case>> tables;
  std::ifstream file(PENSTOCK_SOURCE_DIR "/docs/data.md");
  std::string reader;
  for (std::string row; std::getline(file, row);) {
    if (row.starts_with("### ")) reader = row.substr(4);
    if (reader.empty() || !row.starts_with("| `` ")) continue;
    size_t at = 0;
    Case one{Cell(row, &at), ""};
    one.message = Cell(row, &at);
    tables[reader].push_back(one);
  }
  return tables;
}

// The document's \t and \xef as the bytes that they stand for.
std::string WithBytes(std::string line) {
  for (size_t at; (at = line.find("\\t")) != std::string::npos;) line.replace(at, 2, "\t");
  for (size_t at; (at = line.find("\\x")) != std::string::npos;)
    line.replace(at, 4, 1, static_cast<char>(std::stoi(line.substr(at + 2, 2), nullptr, 16)));
  return line;
}

std::string Bytes(const std::string& hex) {
  std::string bytes;
  for (size_t i = 0; i < hex.size(); i += 3)
    bytes += static_cast<char>(std::stoi(hex.substr(i, 2), nullptr, 16));
  return bytes;
}

std::string GoodLine(const std::string& reader) {
  if (reader == "csv") return "1,30,Bern,a|b,1\n";
  if (reader == "tsv") return "1\t30\tBern\ta|b\t1\n";
  if (reader == "ratings") return "7,31,4,1260759144\n";
  if (reader == "clicklog") return "1" + std::string(39, '\t') + "\n";
  return "1 1:1\n";
}

TEST(Malformed, TheDocumentSaysWhatTheReadersSay) {
  TempFolder folder;
  const auto tables = TablesOfTheDocument();
  for (const char* reader : {"csv", "tsv", "ratings", "clicklog", "libsvm"}) {
    const auto table = tables.find(reader);
    ASSERT_NE(table, tables.end()) << reader;
    EXPECT_GE(table->second.size(), 5u) << reader;
    for (const Case& one : table->second) {
      SCOPED_TRACE(std::string(reader) + ": " + one.line);
      JobSpec job;
      job.data.format = reader;
      if (job.data.format == "csv" || job.data.format == "tsv") {
        job.data.columns = {"y:label", "age:numeric", "city:categorical", "tags:multi", "w:weight"};
      }
      if (job.data.format == "ratings") job.model.loss = "squared";
      const std::string good = GoodLine(reader);
      job.data.train = folder.Write("data", good + good + WithBytes(one.line) + "\n" + good);
      job.data.partitions = 1;
      ASSERT_TRUE(job.data.Validate().ok()) << job.data.Validate().ToString();
      EXPECT_EQ(MakeJobPlan(job).status().message(), "data.train: " + job.data.train + ":3: " + one.message +
                                                         " (data.max_bad_records allows 0 in a partition)");
      job.data.max_bad_records = 1;
      const auto plan = MakeJobPlan(job);
      ASSERT_TRUE(plan.ok()) << plan.status().ToString();
      EXPECT_EQ(plan->train.bad_records, 1u);
      job.data.max_bad_records = 0;  // of a file that has changed since then
      EXPECT_EQ(plan->train.records, 3u);
      const auto refused =
          (*OpenJobData(job, *plan, DataRole::kTrain))->ReadPartition(plan->train.partitions[0]);
      ASSERT_FALSE(refused.ok());
      EXPECT_EQ(refused.status().message(), job.data.train + ":3: " + one.message);
      job.data.max_bad_records = 1;
      const auto skipped =
          (*OpenJobData(job, *plan, DataRole::kTrain))->ReadPartition(plan->train.partitions[0]);
      ASSERT_TRUE(skipped.ok()) << skipped.status().ToString();
      EXPECT_EQ(skipped->bad_records, 1u);
      EXPECT_EQ(skipped->size(), 3u);
    }
  }
}

TEST(Malformed, TheDocumentSaysWhatTheReaderOfImagesSays) {
  TempFolder folder;
  const auto tables = TablesOfTheDocument();
  const auto table = tables.find("idx");
  ASSERT_NE(table, tables.end());
  EXPECT_GE(table->second.size(), 5u);
  for (const Case& one : table->second) {
    SCOPED_TRACE(one.line);
    const std::string images = folder.Write("images", Bytes(one.line));
    const auto refused = Dataset::Open("idx", {images, images}, {});
    ASSERT_FALSE(refused.ok());
    EXPECT_EQ(refused.status().message(), "'" + images + "': " + one.message);
  }
}

}  // namespace
}  // namespace penstock
