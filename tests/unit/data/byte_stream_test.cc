// Files as streams: plain, gzip and zstd, told apart by content, and what is said of damaged ones.
#include "data/byte_stream.h"

#include <random>

#include "tests/unit/data/pack.h"
#include "tests/unit/data/temp_file.h"

namespace penstock {
namespace {

// Everything, in reads of `piece` bytes.
Result<std::string> ReadAll(const std::string& path, size_t piece) {
  PENSTOCK_ASSIGN_OR_RETURN(const auto stream, ByteStream::Open(path));
  std::string all;
  while (true) {
    std::string part(piece, 0);
    PENSTOCK_ASSIGN_OR_RETURN(const size_t read, stream->Read(part.data(), piece));
    all.append(part, 0, read);
    if (read < piece) return all;
  }
}

std::string Words(size_t size) {
  std::mt19937 random(7);
  std::string text;
  while (text.size() < size) text += "word" + std::to_string(random() % 1000) + "\n";
  return text;
}

TEST(ByteStream, GivesTheContentsHoweverTheyArePacked) {
  TempFolder folder;
  for (const size_t size : {0u, 1u, 3u, 4u, 1000u, 3000000u}) {
    SCOPED_TRACE(testing::Message() << size << " bytes");
    const std::string text = Words(size).substr(0, size);
    for (const std::string& packed : {text, Gzip(text), Zstd(text)}) {
      const std::string path = folder.Write("file", packed);
      for (const size_t piece : {size_t{700}, size_t{1} << 20, size + 1}) {
        const auto read = ReadAll(path, piece);
        ASSERT_TRUE(read.ok()) << read.status().ToString();
        ASSERT_TRUE(*read == text);
      }
    }
  }
}

TEST(ByteStream, GoesOnOverSeveralMembersOrFrames) {
  TempFolder folder;
  EXPECT_EQ(*ReadAll(folder.Write("file", Gzip("one\n") + Gzip("two\n")), 100), "one\ntwo\n");
  EXPECT_EQ(*ReadAll(folder.Write("file", Zstd("one\n") + Zstd("two\n")), 100), "one\ntwo\n");
}

TEST(ByteStream, PassesOverSkippableFramesOfZstd) {
  TempFolder folder;
  const std::string_view data(
      "\x50\x2a\x4d\x18\x04\x00\x00\x00"
      "abcd",
      12);
  const std::string skippable(data), other = "\x5f" + skippable.substr(1);
  for (const std::string& packed :
       {skippable + Zstd("one\n"), Zstd("one\n") + other, skippable + other + Zstd("one\n")})
    EXPECT_EQ(*ReadAll(folder.Write("file", packed), 100), "one\n");
  EXPECT_EQ(*ReadAll(folder.Write("file", skippable), 100), "");
}

TEST(ByteStream, NamesWhatStandsBehindAGzipMember) {
  TempFolder folder;
  const std::string gzip = Gzip(Words(1000)), path = folder.Path("file");
  for (const std::string& behind :
       {std::string("\n"), Words(50), std::string(512, '\0'), gzip.substr(0, 5)}) {
    folder.Write("file", gzip + gzip + behind);
    const auto read = ReadAll(path, 1 << 20);
    EXPECT_EQ(read.status().message(),
              "'" + path + "': " + std::to_string(behind.size()) + " bytes behind its gzip data, from byte " +
                  std::to_string(2 * gzip.size()) + " on, are no whole gzip member: they would not be read");
  }
}

TEST(ByteStream, NamesWhatItDoesNotRead) {
  TempFolder folder;
  using std::string_view_literals::operator""sv;
  const std::pair<std::string_view, const char*> kinds[] = {
      {"BZh91AY&SY\x12\x34"sv, "packed with bzip2"},
      {"BZh9\x17\x72\x45\x38\x50\x90"sv, "packed with bzip2"},
      {"\xfd"
       "7zXZ\0\0\4"sv,
       "packed with xz"},
      {"PK\3\4\x14\0"sv, "a zip archive"},
      {"7z\xbc\xaf\x27\x1c\0\4"sv, "a 7-Zip archive"},
      {"\x04\x22\x4d\x18\x64"sv, "packed with lz4"},
      {"\x1f\x9d\x90"sv, "packed with compress"},
      {"PAR1\x15\4"sv, "a Parquet file"},
      {"\xff\xfe"
       "1\0"sv,
       "text in UTF-16"}};
  for (const auto& [begin, what] : kinds) {
    const std::string path = folder.Write("file", begin);
    const auto opened = ByteStream::Open(path);
    ASSERT_FALSE(opened.ok()) << what;
    EXPECT_EQ(opened.status().code(), Code::kInvalidArgument);
    EXPECT_EQ(opened.status().message(),
              "'" + path + "' is " + what + ", which is not read: allowed are plain files, gzip and zstd");
  }
  EXPECT_EQ(*ReadAll(folder.Write("file", "BZh,PK,PAR1\n"), 100), "BZh,PK,PAR1\n");  // text
}

TEST(ByteStream, Skips) {
  TempFolder folder;
  for (const std::string& packed : {Words(200000), Gzip(Words(200000)), Zstd(Words(200000))}) {
    auto stream = ByteStream::Open(folder.Write("file", packed));
    ASSERT_TRUE(stream.ok());
    ASSERT_TRUE((*stream)->Skip(150001).ok());
    char next[10];
    ASSERT_EQ(*(*stream)->Read(next, 10), 10u);
    EXPECT_EQ(std::string(next, 10), Words(200000).substr(150001, 10));
    EXPECT_TRUE((*stream)->Skip(1 << 20).ok());
    EXPECT_EQ(*(*stream)->Read(next, 10), 0u);
  }
}

TEST(ByteStream, NamesAFileThatCannotBeUnpacked) {
  TempFolder folder;
  const std::string path = folder.Path("file");
  const std::string zstd = Zstd(Words(100000)), gzip = Gzip(Words(100000));
  auto error = [&](const std::string& contents) {
    folder.Write("file", contents);
    const auto read = ReadAll(path, 1 << 20);
    EXPECT_EQ(read.status().code(), Code::kInvalidArgument);
    return read.status().message();
  };
  EXPECT_EQ(error(gzip.substr(0, gzip.size() / 2)),
            "'" + path + "': damaged gzip file: unexpected end of file");
  for (const size_t size : {size_t{4}, size_t{5}, zstd.size() / 2, zstd.size() - 1}) {
    EXPECT_EQ(error(zstd.substr(0, size)), "'" + path + "': damaged zstd file: unexpected end of file");
  }
  EXPECT_TRUE(error(zstd + "no frame").starts_with("'" + path + "': damaged zstd file: "));
  EXPECT_EQ(ByteStream::Open(folder.Path("absent")).status().code(), Code::kNotFound);
  std::filesystem::create_directory(folder.Path("parts"));
  const Status directory = ByteStream::Open(folder.Path("parts")).status();
  EXPECT_EQ(directory.code(), Code::kInvalidArgument);
  EXPECT_EQ(directory.message(), "'" + folder.Path("parts") + "' is a directory, allowed are files: '" +
                                     folder.Path("parts") + "/*' stands for all that are in it");
}

}  // namespace
}  // namespace penstock
