// ClientTest: a client that is attached to a FakeCluster.
#pragma once

#include <gtest/gtest.h>

#include <chrono>
#include <functional>
#include <memory>
#include <string>
#include <thread>

#include "client/client.h"
#include "common/base/hash.h"
#include "tests/unit/client/fake_cluster.h"

namespace penstock {

class ClientTest : public ::testing::Test {
 protected:
  static ClientOptions Options(const FakeCluster& cluster) {
    ClientOptions options;
    options.scheduler = cluster.address();
    options.name = "test";
    options.deadline_ms = 20000;
    return options;
  }

  void Connect(ClientOptions options) {
    auto client = Client::Connect(options);
    ASSERT_TRUE(client.ok()) << client.status().ToString();
    client_ = std::move(*client);
    producer_ = *client_->NewProducer();
  }
  void Connect() { Connect(Options(cluster_)); }

  TableSpec Table(const std::string& name, uint32_t dim) {
    TableSpec spec;
    spec.name = name;
    spec.dim = dim;
    spec.durability = Durability::kMemory;
    auto created = client_->CreateTable(spec);
    EXPECT_TRUE(created.ok()) << created.status().ToString();
    return *created;
  }

  // The first key from `from` on that lives in this shard.
  Key KeyIn(ShardId shard, TableId table, Key from = 0) const {
    while (ShardOf(RowHash(from, table), client_->shard_count()) != shard) ++from;
    return from;
  }
  TablePush One(TableId table, Key key, float value = 1) { return {table, {key}, {value}}; }

  // Until the cluster's thread says so; false after 10 s.
  bool Until(std::function<bool()> condition) {
    const auto end = std::chrono::steady_clock::now() + std::chrono::seconds(10);
    while (std::chrono::steady_clock::now() < end) {
      if (cluster_.Run([&] { return condition(); })) return true;
      std::this_thread::yield();
    }
    return false;
  }

  FakeCluster cluster_;
  std::unique_ptr<Client> client_;
  std::shared_ptr<Producer> producer_;
};

}  // namespace penstock
