// SpinGet: values that are there, that come while it spins, and that come when it sleeps.
#include "client/spin_get.h"

#include <gtest/gtest.h>

#include <stdexcept>
#include <thread>

namespace penstock {
namespace {

class SpinGetTest : public ::testing::TestWithParam<uint64_t> {};
INSTANTIATE_TEST_SUITE_P(SpinUs, SpinGetTest, testing::Values(0, 10, 100'000));

TEST_P(SpinGetTest, GivesWhatIsThere) {
  std::promise<int> promise;
  promise.set_value(3);
  EXPECT_EQ(SpinGet(promise.get_future(), GetParam()), 3);
}

TEST_P(SpinGetTest, WaitsForWhatComesLater) {
  std::promise<int> promise;
  auto future = promise.get_future();
  std::thread later([&] {
    std::this_thread::sleep_for(std::chrono::milliseconds(5));
    promise.set_value(4);
  });
  EXPECT_EQ(SpinGet(std::move(future), GetParam()), 4);
  later.join();
}

TEST_P(SpinGetTest, ThrowsWhatTheFutureHolds) {
  std::promise<int> promise;
  promise.set_exception(std::make_exception_ptr(std::runtime_error("no")));
  EXPECT_THROW(SpinGet(promise.get_future(), GetParam()), std::runtime_error);
}

}  // namespace
}  // namespace penstock
