// Addresses: how they are joined, checked, and told to others.
#include "common/net/address.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace penstock {
namespace {

using ::testing::HasSubstr;

TEST(Address, AnIpv6HostIsJoinedInBrackets) {
  EXPECT_EQ(JoinAddress("127.0.0.1", 7070), "127.0.0.1:7070");
  EXPECT_EQ(JoinAddress("node-1.example", 1), "node-1.example:1");
  EXPECT_EQ(JoinAddress("::1", 7070), "[::1]:7070");
  EXPECT_EQ(JoinAddress("[fe80::2]", 7070), "[fe80::2]:7070");
}

TEST(Address, IsHostAndPort) {
  for (const char* good : {"localhost:1", "10.0.0.7:65535", "[::1]:7070", "a-b_c.example:80"})
    EXPECT_TRUE(CheckAddress(good).ok()) << CheckAddress(good).ToString();
  for (const auto& [wrong, said] : {std::pair{"", "host:port"},
                                    {"localhost", "host:port"},
                                    {"localhost:", "host:port"},
                                    {"localhost:0", "from 1 to 65535"},
                                    {"localhost:65536", "from 1 to 65535"},
                                    {"localhost:7x", "host:port"},
                                    {"::1:7070", "brackets"},
                                    {":7070", "'' is no host"},
                                    {"a b:7070", "'a b' is no host"}}) {
    const Status status = CheckAddress(wrong);
    EXPECT_EQ(status.code(), Code::kInvalidArgument) << wrong;
    EXPECT_THAT(status.message(), HasSubstr(said)) << wrong;
  }
}

TEST(Address, WhatOthersAreToldCanBeReached) {
  EXPECT_EQ(*AdvertisedHost("127.0.0.1", ""), "127.0.0.1");
  EXPECT_EQ(*AdvertisedHost("0.0.0.0", "localhost"), "localhost");
  EXPECT_EQ(*AdvertisedHost("::", "[::1]"), "::1");
  for (const auto& [listen, advertise, said] :
       {std::tuple{"0.0.0.0", "", "set advertise_host"},
        {"[::]", "", "set advertise_host"},
        {"127.0.0.1", "*", "set advertise_host"},
        {"127.0.0.1", "no such host", "is no host"},
        {"127.0.0.1", "host.invalid", "advertise_host 'host.invalid' cannot be resolved"}}) {
    const auto told = AdvertisedHost(listen, advertise);
    EXPECT_EQ(told.status().code(), Code::kInvalidArgument) << listen << " " << advertise;
    EXPECT_THAT(told.status().message(), HasSubstr(said));
  }
}

}  // namespace
}  // namespace penstock
