// What a server remembers of its cluster, written beside its work.
#include "server/node/node_file.h"

#include <gtest/gtest.h>

#include <future>
#include <memory>

#include "common/base/fault.h"
#include "tests/cluster/child_program.h"
#include "tests/unit/server/storage/log_fixture.h"

namespace penstock {
namespace {

constexpr int kWriteMs = 30000;

class NodeFileTest : public testing::Test {
 protected:
  ~NodeFileTest() override { DisarmAll(); }

  NodeState Stored() {
    const auto state = NodeFile(path_).Load();
    EXPECT_TRUE(state.ok()) << state.status().ToString();
    return state.ok() ? *state : NodeState{};
  }
  bool WaitForVersion(uint64_t version) {
    return WaitFor(kWriteMs, [&] { return Stored().map_version == version; });
  }

  TempDir folder_;
  const std::string path_ = folder_.path() + "/node";
};

TEST_F(NodeFileTest, ASlowDiskHoldsUpNobodyWhoWantsAStateSoon) {
  std::promise<void> begun, released;
  ArmFault("node_file.write", [&, wait = released.get_future().share()](uint64_t hit) {
    if (hit == 1) begun.set_value();
    wait.wait();
    return Status::Ok();
  });
  NodeFile file(path_);
  file.SaveSoon({.node = 1, .map_version = 5});
  begun.get_future().wait();
  file.SaveSoon({.node = 1, .map_version = 6, .copied = true});
  EXPECT_EQ(Stored().node, 0u) << "nothing is written yet, and nobody has waited";
  released.set_value();
  EXPECT_TRUE(WaitForVersion(6));
  EXPECT_TRUE(Stored().copied);
}

TEST_F(NodeFileTest, TheVersionOfTheMapAloneIsNotWrittenEachTime) {
  ArmFault("node_file.write", [](uint64_t) { return Status::Ok(); });
  NodeFile file(path_);
  file.SaveSoon({.map_version = 5});
  ASSERT_TRUE(WaitForVersion(5));
  file.SaveSoon({.map_version = 6});
  file.SaveSoon({.map_version = 7, .copied = true});
  ASSERT_TRUE(WaitForVersion(7)) << "that there are copies is";
  EXPECT_EQ(FaultHits("node_file.write"), 2u);
}

TEST_F(NodeFileTest, WhatIsWantedSoonIsNeverWrittenOverWhatWasSavedLater) {
  std::promise<void> begun, released;
  ArmFault("node_file.write", [&, wait = released.get_future().share()](uint64_t hit) {
    if (hit == 1) {
      begun.set_value();
      wait.wait();
    }
    return Status::Ok();
  });
  NodeFile file(path_);
  file.SaveSoon({.term = 1, .map_version = 5});
  begun.get_future().wait();
  file.SaveSoon({.term = 1, .map_version = 6, .copied = true});
  auto saved = std::async(std::launch::async, [&] { return file.Save({.term = 2, .map_version = 7}); });
  released.set_value();
  EXPECT_TRUE(saved.get().ok());
  EXPECT_EQ(Stored().term, 2u);
  EXPECT_EQ(Stored().map_version, 7u);
}

TEST_F(NodeFileTest, AWriteThatFailsIsSaidAndTheNextOneEndsThat) {
  ArmFault("node_file.write",
           [](uint64_t hit) { return hit == 1 ? Internal("the disk is gone") : Status::Ok(); });
  NodeFile file(path_);
  file.SaveSoon({.map_version = 5});
  ASSERT_TRUE(WaitFor(kWriteMs, [&] { return !file.failure().ok(); }));
  EXPECT_EQ(file.failure().message(), "the disk is gone");
  EXPECT_TRUE(file.Save({.map_version = 6}).ok());
  EXPECT_TRUE(file.failure().ok());
}

}  // namespace
}  // namespace penstock
