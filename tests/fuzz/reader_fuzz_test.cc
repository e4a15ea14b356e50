// The short form of fuzzing: every seed, and some thousands of changed ones from a seeded generator.
#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <random>

#include "tests/fuzz/reader_driver.h"

namespace penstock {
namespace {

constexpr int kChanged = 4000;

using Input = std::vector<uint8_t>;

std::vector<Input> Seeds(const std::string& reader) {
  std::vector<std::filesystem::path> paths;
  for (const auto& entry : std::filesystem::directory_iterator(PENSTOCK_CORPUS "/" + reader)) {
    paths.push_back(entry.path());
  }
  std::sort(paths.begin(), paths.end());
  std::vector<Input> seeds;
  for (const auto& path : paths) {
    std::ifstream file(path, std::ios::binary);
    seeds.emplace_back(std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>());
  }
  return seeds;
}

// Changes a few places of a seed in one of the ways that break parsers.
Input Changed(const std::vector<Input>& seeds, std::mt19937* random) {
  constexpr uint8_t kTelling[] = {'\n', '\r', '\t', ',', '"', ':', '#',  ' ', '-',
                                  '+',  '.',  'e',  '9', '0', 0,   0xff, '|', '1'};
  auto below = [&](size_t limit) { return limit == 0 ? 0 : (*random)() % limit; };
  Input input = seeds[below(seeds.size())];
  for (size_t changes = 1 + below(4); changes > 0; --changes) {
    const size_t at = below(input.size() + 1);
    switch (below(6)) {
      case 0:
        if (at < input.size()) input[at] = static_cast<uint8_t>((*random)());
        break;
      case 1:
        if (at < input.size()) input[at] = kTelling[below(std::size(kTelling))];
        break;
      case 2:
        input.insert(input.begin() + static_cast<ptrdiff_t>(at), kTelling[below(std::size(kTelling))]);
        break;
      case 3:
        input.erase(
            input.begin() + static_cast<ptrdiff_t>(at),
            input.begin() + static_cast<ptrdiff_t>(at + below(std::min<size_t>(9, input.size() - at + 1))));
        break;
      case 4: {  // a piece of another seed
        const Input& other = seeds[below(seeds.size())];
        const size_t from = below(other.size());
        input.insert(input.begin() + static_cast<ptrdiff_t>(at), other.begin() + static_cast<ptrdiff_t>(from),
                     other.begin() + static_cast<ptrdiff_t>(from + below(other.size() - from + 1)));
        break;
      }
      default:
        input.resize(at);
    }
  }
  return input;
}

class ReaderFuzz : public testing::TestWithParam<std::string> {};

TEST_P(ReaderFuzz, NothingIsViolated) {
  constexpr uint32_t kSeed = 1;
  const std::vector<Input> seeds = Seeds(GetParam());
  ASSERT_GE(seeds.size(), 3u);
  for (const Input& seed : seeds) EXPECT_EQ(DriveReader(GetParam(), seed), "");
  std::mt19937 random(kSeed);
  for (int i = 0; i < kChanged; ++i) {
    const Input input = Changed(seeds, &random);
    ASSERT_EQ(DriveReader(GetParam(), input), "")
        << "seed " << kSeed << ", input " << i << ": " << testing::PrintToString(input);
  }
}

INSTANTIATE_TEST_SUITE_P(Readers, ReaderFuzz, testing::ValuesIn(FuzzedReaders()),
                         [](const auto& info) { return info.param; });

}  // namespace
}  // namespace penstock
