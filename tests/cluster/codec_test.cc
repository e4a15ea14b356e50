// Values that travel as bf16: rounded once on each way, whole on servers, by table and by call, also of rows
// that are on the disk only.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <numeric>

#include "common/base/bf16.h"
#include "common/base/hash.h"
#include "tests/cluster/test_cluster.h"

namespace penstock {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;

float Rounded(float value) { return FromBf16(ToBf16(value)); }
float Value(Key key, uint32_t d) { return static_cast<float>(Mix64(key * 64 + d) >> 40) / 65536 - 128; }

class CodecTest : public ::testing::Test {
 protected:
  CodecTest()
      : cluster_({.servers = 1,
                  .set = {"server.memory_budget_bytes=16777216", "server.segment_bytes=1048576"},
                  .dir = {}}) {}
  void SetUp() override {
    ASSERT_TRUE(cluster_.Start().ok()) << cluster_.Output("scheduler") << cluster_.Output("server-0");
    auto client = cluster_.Connect(60000);
    ASSERT_TRUE(client.ok()) << client.status().ToString();
    client_ = std::move(*client);
    auto producer = client_->NewProducer();
    ASSERT_TRUE(producer.ok());
    producer_ = *producer;
  }
  TableId Table(const std::string& name, uint32_t dim, Codec codec) {
    TableSpec spec{.name = name, .dim = dim, .codec = codec};
    spec.optimizer.learning_rate = 1;  // SGD: what is pushed is subtracted
    const auto table = client_->CreateTable(spec);
    EXPECT_TRUE(table.ok()) << table.status().ToString();
    EXPECT_EQ(client_->OpenTable(name)->codec, codec);
    return table->id;
  }
  static TablePush Rows(TableId table, Key first, size_t count, uint32_t dim) {
    TablePush push{table, std::vector<Key>(count), {}};
    std::iota(push.keys.begin(), push.keys.end(), first);
    for (const Key key : push.keys) {
      for (uint32_t d = 0; d < dim; ++d) push.values.push_back(Value(key, d));
    }
    return push;
  }

  TestCluster cluster_;
  std::unique_ptr<Client> client_;
  std::shared_ptr<Producer> producer_;
};

TEST_F(CodecTest, ATableOrACallSaysHowValuesTravel) {
  for (const uint32_t dim : {1u, 3u, 7u, 64u}) {
    const TableId half = Table("half" + std::to_string(dim), dim, Codec::kBf16);
    const TableId whole = Table("whole" + std::to_string(dim), dim, Codec::kF32);
    const std::vector<TablePush> rows = {Rows(half, 0, 5000, dim), Rows(whole, 0, 5000, dim)};
    ASSERT_TRUE(client_->Push(*producer_, rows).get().ok());
    PushOptions other;
    other.codec = Codec::kBf16;
    ASSERT_TRUE(client_->Push(*producer_, rows, other).get().ok());
    const std::vector<TableKeys> keys = {{half, rows[0].keys}, {whole, rows[1].keys}};
    const auto said = client_->Pull(keys).get();
    const auto f32 = client_->Pull(keys, {.codec = Codec::kF32}).get();
    const auto bf16 = client_->Pull(keys, {.codec = Codec::kBf16}).get();
    ASSERT_TRUE(said.ok() && f32.ok() && bf16.ok()) << said.status().ToString();
    for (size_t i = 0; i < rows[0].values.size(); ++i) {
      const float value = rows[0].values[i];
      const float of_half = -2 * Rounded(value), of_whole = -(value + Rounded(value));
      ASSERT_EQ(f32->values[0][i], of_half) << "dim " << dim << ", value " << i;
      ASSERT_EQ(f32->values[1][i], of_whole) << "dim " << dim << ", value " << i;
      ASSERT_EQ(said->values[0][i], Rounded(of_half));
      ASSERT_EQ(said->values[1][i], of_whole);
      ASSERT_EQ(bf16->values[0][i], Rounded(of_half));
      ASSERT_EQ(bf16->values[1][i], Rounded(of_whole));
    }
  }
}

TEST_F(CodecTest, WhatBf16CannotHoldIsRefused) {
  const TableId table = Table("half", 1, Codec::kBf16);
  const auto large = client_->Push(*producer_, {{table, {1}, {3.4e38f}}}).get();
  EXPECT_THAT(large.status().message(), HasSubstr("NaN or infinite")) << "it is rounded to infinity";
  PushOptions exact;
  exact.codec = Codec::kF32;
  EXPECT_TRUE(client_->Push(*producer_, {{table, {1}, {3.4e38f}}}, exact).get().ok());
  EXPECT_EQ(client_->Pull({{table, {1}}}, {.codec = Codec::kF32}).get()->values[0][0], -3.4e38f);
}

TEST_F(CodecTest, TablesThatKeepWhatTheyGetAreNotSentLossy) {
  for (const OptimizerKind kind : {OptimizerKind::kAdd, OptimizerKind::kAssign}) {
    TableSpec spec{.name = std::string(ToString(kind)), .dim = 1, .codec = Codec::kBf16};
    spec.optimizer.kind = kind;
    EXPECT_THAT(client_->CreateTable(spec).status().message(),
                AllOf(HasSubstr("codec 'bf16'"), HasSubstr("allowed is 'f32'")));
    spec.codec = Codec::kF32;
    const TableId table = client_->CreateTable(spec)->id;
    PushOptions lossy;
    lossy.codec = Codec::kBf16;
    EXPECT_EQ(client_->Push(*producer_, {{table, {1}, {0.1f}}}, lossy).get().status().code(),
              Code::kInvalidArgument);
    EXPECT_EQ(client_->Pull({{table, {1}}}, {.codec = Codec::kBf16}).get().status().code(),
              Code::kInvalidArgument);
  }
}

// Three times as many rows as the servers' memory holds.
TEST_F(CodecTest, ColdRowsTravelLikeOthers) {
  constexpr uint32_t kDim = 64;
  constexpr Key kRows = 196608, kBatch = 4096;
  const TableId table = Table("half", kDim, Codec::kBf16);
  std::vector<float> pulled(kBatch * kDim);
  for (const float times : {1.0f, 2.0f}) {
    for (Key first = 0; first < kRows; first += kBatch) {
      const TablePush rows = Rows(table, first, kBatch, kDim);
      const TablePushPullView view{table, rows.keys, rows.values, pulled};
      const auto done = client_->PushPull(*producer_, std::span(&view, 1)).get();
      ASSERT_TRUE(done.ok()) << done.status().ToString();
      for (size_t i = 0; i < pulled.size(); ++i) ASSERT_EQ(pulled[i], -times * Rounded(rows.values[i]));
    }
  }
  EXPECT_GT(cluster_.Metric("server-0", "penstock_server_fetched_rows_total"), 0);
  for (Key first = 0; first < kRows; first += kBatch) {
    const TablePush rows = Rows(table, first, kBatch, kDim);
    const auto read = client_->Pull({{table, rows.keys}}).get();
    ASSERT_TRUE(read.ok()) << read.status().ToString();
    for (size_t i = 0; i < pulled.size(); ++i) ASSERT_EQ(read->values[0][i], -2 * Rounded(rows.values[i]));
  }
}

}  // namespace
}  // namespace penstock
