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
}

}  // namespace
}  // namespace penstock
