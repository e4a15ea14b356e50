// The log of a process that is killed at each step: a replay brings every delta that was acknowledged.
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <random>

#include "common/base/fault.h"
#include "tests/unit/server/storage/log_fixture.h"

namespace penstock {
namespace {

constexpr int kKillSeeds = 12;
constexpr int kSteps = 90;

// What the child tells its parent, before and after each step.
struct Message {
  enum Kind : uint32_t { kOffered, kLogged, kFolded } kind;
  ShardId shard;
  Lsn lsn;
  uint32_t checksum;
};

// Appends, syncs, seals and removes until the armed point kills it. Never returns.
[[noreturn]] void RunChild(const std::string& dir, const std::string& fault, uint64_t seed, int out) {
  if (!ArmFaults(fault, seed).ok()) _exit(2);
  std::mt19937_64 random(seed);
  PosixFileLayer files;
  auto log = OpenLog(files, dir);
  if (!log.ok()) _exit(3);
  std::array<DeltaMaker, 3> shards = {DeltaMaker(0), DeltaMaker(1), DeltaMaker(2)};
  std::map<uint64_t, std::array<ShardFolded, 3>> at_seal;  // segment -> the shards' last deltas in it
  const auto tell = [&](Message::Kind kind, ShardId shard, const ShardFolded& state) {
    const Message message{kind, shard, state.lsn, state.checksum};
    if (write(out, &message, sizeof(message)) != sizeof(message)) _exit(4);
  };
  for (int step = 0; step < kSteps; ++step) {
    std::vector<LogRecord> records(1 + random() % 2);
    for (LogRecord& record : records) {
      for (DeltaMaker& shard : shards) {
        if (random() % 3 == 0) continue;
        record.sections.push_back(shard.Next(random() % 3000));
        tell(Message::kOffered, shard.shard(), shard.Folded());
      }
    }
    if (!(*log)->Append(records).ok()) _exit(5);
    for (const DeltaMaker& shard : shards) tell(Message::kLogged, shard.shard(), shard.Folded());
    if (step % 3 == 0 && !(*log)->Sync().ok()) _exit(6);
    if (step % 4 == 1) {
      if (!(*log)->Seal().ok()) _exit(7);
      const auto sealed = (*log)->Sealed();
      if (!sealed.empty())
        at_seal[sealed.back().number] = {shards[0].Folded(), shards[1].Folded(), shards[2].Folded()};
    }
    if (step % 6 == 5) {
      // The base holds the oldest segment now.
      const uint64_t oldest = (*log)->Sealed().front().number;
      for (ShardId shard = 0; shard < shards.size(); ++shard)
        tell(Message::kFolded, shard, at_seal.at(oldest)[shard]);
      if (!(*log)->Remove(oldest).ok()) _exit(8);
    }
  }
  _exit(0);
}

struct Told {
  std::map<ShardId, std::map<Lsn, uint32_t>> offered;
  std::map<ShardId, Lsn> logged;
  std::map<ShardId, ShardFolded> folded;
};

Told ReadAll(int in) {
  Told told;
  Message message;
  while (read(in, &message, sizeof(message)) == sizeof(message)) {
    switch (message.kind) {
      case Message::kOffered:
        told.offered[message.shard][message.lsn] = message.checksum;
        break;
      case Message::kLogged:
        told.logged[message.shard] = message.lsn;
        break;
      case Message::kFolded:
        if (message.lsn == 0) break;
        told.folded[message.shard] = {
            .incarnation = 1, .epoch = 1, .lsn = message.lsn, .checksum = message.checksum};
        break;
    }
  }
  return told;
}

class LogKillTest : public ::testing::TestWithParam<const char*> {};

TEST_P(LogKillTest, EveryAcknowledgedDeltaIsReplayed) {
  const std::string point = GetParam();
  for (uint64_t seed = 1; seed <= kKillSeeds; ++seed) {
    // Steps that come seldom are hit early, those that come always anywhere.
    const bool seldom = point.starts_with("log.seal") || point.starts_with("log.remove");
    const uint64_t hit = seldom ? seed : 1 + seed * 2;
    const std::string fault = point + "=kill@" + std::to_string(hit);
    SCOPED_TRACE(fault + ", seed " + std::to_string(seed));
    TempDir temp;
    int pipes[2];
    ASSERT_EQ(pipe(pipes), 0);
    const pid_t child = fork();
    ASSERT_GE(child, 0);
    if (child == 0) {
      close(pipes[0]);
      RunChild(temp.path(), fault, seed, pipes[1]);
    }
    close(pipes[1]);
    const Told told = ReadAll(pipes[0]);
    close(pipes[0]);
    int state = 0;
    ASSERT_EQ(waitpid(child, &state, 0), child);
    ASSERT_TRUE(WIFSIGNALED(state) && WTERMSIG(state) == SIGKILL)
        << "the point was not hit; exit " << WEXITSTATUS(state);

    PosixFileLayer files;
    for (int again = 0; again < 2; ++again) {  // a second replay finds the same
      const Replayed replayed = ReplayAll(files, temp.path(), told.folded);
      ASSERT_TRUE(replayed.report.ok()) << replayed.report.status().ToString();
      for (const auto& [shard, reason] : replayed.report->damaged)
        ADD_FAILURE() << "shard " << shard << ": " << reason;
      for (const auto& [shard, deltas] : replayed.deltas) {
        for (const auto& [lsn, checksum] : deltas) EXPECT_EQ(checksum, told.offered.at(shard).at(lsn));
      }
      for (const auto& [shard, lsn] : told.logged) {
        EXPECT_GE(lsn == 0 ? 0 : replayed.report->shards.at(shard).lsn, lsn) << "shard " << shard;
      }
      ASSERT_TRUE(OpenLog(files, temp.path(), replayed.report->tail).ok());
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Points, LogKillTest,
                         ::testing::Values("log.append.before", "log.append.partial", "log.append.after",
                                           "log.sync.before", "log.sync.after", "log.seal.before",
                                           "log.seal.created", "log.seal.header", "log.seal.after",
                                           "log.remove.before", "log.remove.unlinked", "log.remove.after"));

}  // namespace
}  // namespace penstock
