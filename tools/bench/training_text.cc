#include "tools/bench/training_text.h"

#include <cmath>
#include <cstdio>
#include <fstream>
#include <random>

#include "common/base/hash.h"
#include "tools/bench/zipf.h"

namespace penstock {
namespace {

constexpr int kCounts = 13, kCategories = 26;
constexpr uint64_t kValuesOfACategory = 100'000;

template <typename... Arguments>
void Append(std::string* text, const char* format, Arguments... arguments) {
  char buffer[128];
  text->append(buffer, static_cast<size_t>(std::snprintf(buffer, sizeof buffer, format, arguments...)));
}

class TextMaker {
 public:
  explicit TextMaker(uint64_t seed) : random_(seed), zipf_(kValuesOfACategory, 1.05) {}

  std::string Libsvm() {
    std::string line = random_() % 2 == 0 ? "+1" : "-1";
    uint64_t id = 0;
    for (int i = 0; i < 40; ++i) {
      id += 1 + random_() % 200;
      Append(&line, " %llu:%.6f", static_cast<unsigned long long>(id), Uniform());
    }
    return line + "\n";
  }

  std::string ClickLog() {
    std::string fields;
    for (int i = 0; i < kCounts; ++i) {
      fields += '\t';
      if (Present()) Append(&fields, "%d", static_cast<int>(std::exp2(Uniform() * 12)) - 1);
    }
    double score = -1;
    for (int field = 0; field < kCategories; ++field) {
      fields += '\t';
      if (!Present()) continue;
      const uint64_t value =
          Mix64(zipf_.Draw([this] { return Uniform(); }) * kCategories + static_cast<uint64_t>(field));
      Append(&fields, "%08x", static_cast<unsigned>(value));
      if (field < 8) score += static_cast<double>(value >> 40 & 0xff) / 256 - 0.5;
    }
    return (Uniform() < 1 / (1 + std::exp(-score)) ? "1" : "0") + fields + "\n";
  }

  std::string Csv() {
    std::string line;
    Append(&line, "%d", static_cast<int>(random_() % 2));
    for (int i = 0; i < 8; ++i) Append(&line, ",%.4f", Uniform() * 2 - 1);
    for (int i = 0; i < 4; ++i) Append(&line, ",value-%u", static_cast<unsigned>(random_() % 1000));
    return line + "\n";
  }

  std::string Ratings() {
    std::string line;
    Append(&line, "%u,%u,%.1f,%u", static_cast<unsigned>(random_() % 100'000),
           static_cast<unsigned>(random_() % 200'000), static_cast<double>(random_() % 10 + 1) * 0.5,
           static_cast<unsigned>(1'000'000'000 + random_() % 500'000'000));
    return line + "\n";
  }

 private:
  double Uniform() { return static_cast<double>(random_() >> 11) * 0x1p-53; }
  bool Present() { return random_() % 10 != 0; }

  std::mt19937_64 random_;
  const ZipfSampler zipf_;
};

}  // namespace

const char* const kCsvColumns =
    R"(["y:label", "n1:numeric", "n2:numeric", "n3:numeric", "n4:numeric", "n5:numeric", "n6:numeric", )"
    R"("n7:numeric", "n8:numeric", "c1:categorical", "c2:categorical", "c3:categorical", "c4:categorical"])";

Result<uint64_t> WriteTrainingText(const std::string& path, const std::string& format, uint64_t bytes,
                                   uint64_t records, uint64_t seed) {
  std::string (TextMaker::*make)() = format == "libsvm"     ? &TextMaker::Libsvm
                                     : format == "clicklog" ? &TextMaker::ClickLog
                                     : format == "csv"      ? &TextMaker::Csv
                                     : format == "ratings"  ? &TextMaker::Ratings
                                                            : nullptr;
  if (make == nullptr) return InvalidArgument("'" + format + "' is no format of text that can be made up");
  TextMaker maker(seed);
  std::ofstream out(path, std::ios::binary);
  uint64_t written = 0, count = 0;
  while ((bytes == 0 || written < bytes) && (records == 0 || count < records)) {
    const std::string line = (maker.*make)();
    out << line;
    written += line.size();
    ++count;
  }
  out.close();
  if (!out) return FailedPrecondition(path + ": cannot be written");
  return count;
}

}  // namespace penstock
