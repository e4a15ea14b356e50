// A program with one defect of each kind that a sanitizer must report: proof that the sanitized runs can
// fail.
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <limits>
#include <thread>

namespace {

int shared_count = 0;

void Race() {
  std::thread other([] { ++shared_count; });
  ++shared_count;
  other.join();
}

void UseAfterFree() {
  auto* bytes = static_cast<volatile char*>(std::malloc(16));
  std::free(const_cast<char*>(bytes));
  bytes[0] = 1;  // NOLINT: the defect
}

void Overflow(int argc) {
  volatile int largest = std::numeric_limits<int>::max();
  largest = largest + argc;  // NOLINT: the defect
}

}  // namespace

int main(int argc, char** argv) {
  const char* defect = argc > 1 ? argv[1] : "";
  if (std::strcmp(defect, "race") == 0) Race();
  if (std::strcmp(defect, "use-after-free") == 0) UseAfterFree();
  if (std::strcmp(defect, "overflow") == 0) Overflow(argc);
  std::puts("done");
  return 0;
}
