// Loss of power at random moments of a fold: whatever both disks keep, base and log together hold all that
// was synced.
#include <cerrno>

#include "tests/unit/server/storage/fold_fixture.h"
#include "tests/unit/server/storage/power_cut_env.h"
#include "tests/unit/server/storage/power_cut_file_layer.h"

namespace penstock {
namespace {

// Base and log on two simulated disks that lose power together.
struct Machine {
  explicit Machine(uint64_t seed) : env(seed), files(seed), node("/node", files, &env) { ConnectPower(); }

  void ConnectPower() {
    files.FailWith([this](const std::string&, const std::string&) { return env.Step() ? 0 : EIO; });
  }
  // Everything up to here is synced: what a restart must find.
  void Prepare(DeltaSource& source) {
    ASSERT_STATUS_OK(node.Open());
    ASSERT_STATUS_OK(node.Write(source, 15));
    ASSERT_STATUS_OK(node.FoldAll().status());
    ASSERT_STATUS_OK(node.Write(source, 25));
    ASSERT_STATUS_OK(node.log().Sync());
  }
  void CutAndRestart() {
    node.Close();
    files.PowerCut();
    env.CutPower();
    ConnectPower();
    ASSERT_STATUS_OK(node.Open());
  }

  PowerCutEnv env;
  PowerCutFileLayer files;
  TestNode node;
};

FoldOptions SmallBuffers() {
  FoldOptions options;
  options.image_buffer_bytes = 4000;
  return options;
}

TEST(FoldPowerCutTest, AllThatWasSyncedSurvives) {
  int cut_inside = 0, folded = 0;
  for (uint64_t seed = 1; seed <= 150; ++seed) {
    SCOPED_TRACE("seed " + std::to_string(seed));
    // How many steps the whole fold takes, on a machine of its own.
    uint64_t steps = 0;
    {
      Machine machine(seed);
      DeltaSource source(seed);
      machine.Prepare(source);
      const uint64_t before = machine.env.operations();
      ASSERT_STATUS_OK(machine.node.FoldAll(SmallBuffers()).status());
      steps = machine.env.operations() - before;
    }
    Machine machine(seed);
    DeltaSource source(seed);
    machine.Prepare(source);
    if (HasFatalFailure()) return;
    std::mt19937_64 random(seed * 77);
    machine.env.StopAfter(random() % steps);
    const auto report = machine.node.FoldAll(SmallBuffers());
    cut_inside += !report.ok() || !report->removal.ok();
    folded += report.ok();
    machine.CutAndRestart();
    if (HasFatalFailure()) return;
    ASSERT_TRUE(machine.node.replayed().damaged.empty()) << machine.node.replayed().damaged.begin()->second;
    ASSERT_EQ(Difference(machine.node.recovered(), source.model()), "");
    // The fold that was cut off is made up for, and lasts.
    ASSERT_STATUS_OK(machine.node.FoldAll(SmallBuffers()).status());
    ASSERT_STATUS_OK(machine.node.base().VerifyChecksums());
    machine.CutAndRestart();
    if (HasFatalFailure()) return;
    ASSERT_EQ(Difference(machine.node.recovered(), source.model()), "");
    ASSERT_EQ(machine.node.replayed().deltas, 0u) << "all of it is in the base";
  }
  std::printf("%d cuts inside the fold, %d of them after the ingest\n", cut_inside,
              cut_inside + folded - 150);
  EXPECT_GE(cut_inside, 100);
}

}  // namespace
}  // namespace penstock
