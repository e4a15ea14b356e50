// Names of peers, and the files of tokens.
#include "common/net/identity.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <stdlib.h>
#include <sys/stat.h>

#include <filesystem>
#include <fstream>

namespace penstock {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::Not;

TEST(PeerName, HasUpTo64PrintableCharacters) {
  for (const auto& good : {std::string("server-2"), std::string("penstock train"), std::string(64, 'x')})
    EXPECT_TRUE(CheckPeerName(good).ok()) << good;
  for (const auto& bad : {std::string(), std::string(65, 'x'), std::string("a\nb"), std::string("\x1b[31m"),
                          std::string("caf\xc3\xa9"), std::string("a\0b", 3)}) {
    const Status status = CheckPeerName(bad);
    EXPECT_EQ(status.code(), Code::kInvalidArgument) << bad;
    EXPECT_THAT(status.message(), HasSubstr("1 to 64 printable ASCII characters"));
    if (!bad.empty()) {
      EXPECT_THAT(status.message(), Not(HasSubstr(bad)));
    }
  }
}

class TokenFileTest : public ::testing::Test {
 protected:
  TokenFileTest() {
    std::string pattern = (std::filesystem::temp_directory_path() / "penstock-token-XXXXXX").string();
    dir_ = mkdtemp(pattern.data());
  }
  ~TokenFileTest() override { std::filesystem::remove_all(dir_); }

  std::string Write(const std::string& name, const std::string& contents, mode_t mode = 0600) {
    const std::string path = dir_ + "/" + name;
    std::ofstream(path) << contents;
    chmod(path.c_str(), mode);
    return path;
  }

  std::string dir_;
};

TEST_F(TokenFileTest, IsMadeOnceForItsOwnerAlone) {
  const std::string path = dir_ + "/client.token";
  const auto made = EnsureTokenFile(path);
  ASSERT_TRUE(made.ok()) << made.status().ToString();
  EXPECT_EQ(made->size(), 64u);
  struct stat file;
  ASSERT_EQ(stat(path.c_str(), &file), 0);
  EXPECT_EQ(file.st_mode & 07777, 0600u);
  EXPECT_EQ(*EnsureTokenFile(path), *made);
  EXPECT_EQ(*ReadTokenFile(path), *made);
}

TEST_F(TokenFileTest, OthersMayNotReadIt) {
  for (const mode_t mode : {0644, 0640, 0604, 0620}) {
    const auto token = ReadTokenFile(Write("t", std::string(32, 'a') + "\n", mode));
    EXPECT_EQ(token.status().code(), Code::kPermissionDenied) << mode;
    EXPECT_THAT(token.status().message(), AllOf(HasSubstr(dir_ + "/t"), HasSubstr("chmod 600")));
    std::filesystem::remove(dir_ + "/t");
  }
  EXPECT_TRUE(ReadTokenFile(Write("u", std::string(32, 'a') + "\n", 0400)).ok());
  EXPECT_THAT(ReadTokenFile(dir_).status().message(), HasSubstr("is a directory, allowed is a file"));
}

TEST_F(TokenFileTest, ShortAndOddOnesAreRefused) {
  EXPECT_TRUE(ReadTokenFile(Write("t", std::string(16, 'a') + "\r\nmore\n")).ok());
  for (const auto& bad : {std::string(), std::string(15, 'a'), std::string(257, 'a'),
                          "a b" + std::string(20, 'c'), "\x01" + std::string(20, 'c')}) {
    const auto token = ReadTokenFile(Write("t", bad + "\n"));
    EXPECT_EQ(token.status().code(), Code::kInvalidArgument) << bad;
    EXPECT_THAT(token.status().message(), HasSubstr(dir_ + "/t"));
    EXPECT_THAT(token.status().message(), Not(HasSubstr("ccc"))) << "it must not stand in a log";
  }
  EXPECT_EQ(ReadTokenFile(dir_ + "/none").status().code(), Code::kNotFound);
}

TEST_F(TokenFileTest, ThreeOfThemOrOneForAll) {
  const std::string node = Write("node", std::string(32, 'n')), op = Write("operator", std::string(32, 'o')),
                    client = Write("client", std::string(32, 'c'));
  ClusterIdentity three;
  ASSERT_TRUE(ReadTokens({node, op, client}, &three).ok());
  EXPECT_EQ(three.token, std::string(32, 'n'));
  ASSERT_EQ(three.Accepted().size(), 3u);
  EXPECT_EQ(three.Accepted()[1], std::pair(std::string(32, 'o'), Access::kOperator));
  ClusterIdentity no_client;
  no_client.token = "node";
  no_client.operator_token = "operator";
  EXPECT_EQ(no_client.Accepted().size(), 2u) << "nobody proves what is empty";
  ClusterIdentity one;
  ASSERT_TRUE(ReadTokens({node, "", ""}, &one).ok());
  ASSERT_EQ(one.Accepted().size(), 1u);
  EXPECT_EQ(one.Accepted()[0].second, Access::kEverything);
  ClusterIdentity same;
  const Status status = ReadTokens({node, op, op}, &same);
  EXPECT_EQ(status.code(), Code::kInvalidArgument);
  EXPECT_THAT(status.message(), HasSubstr("three different"));
}

}  // namespace
}  // namespace penstock
