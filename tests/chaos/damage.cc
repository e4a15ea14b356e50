#include "tests/chaos/damage.h"

#include <algorithm>
#include <filesystem>
#include <fstream>

#include "common/base/atomic_file.h"
#include "common/base/strings.h"
#include "tests/chaos/suite.h"

namespace penstock {
namespace {

namespace fs = std::filesystem;

constexpr size_t kPage = 4096;

std::vector<std::string> Files(const DamageTarget& target) {
  std::vector<std::string> names;
  std::error_code error;
  for (const auto& entry : fs::directory_iterator(target.folder, error)) {
    const std::string name = entry.path().filename().string();
    const bool needed = std::any_of(target.needed.begin(), target.needed.end(), [&](const std::string& part) {
      return name.starts_with(part) || name.ends_with(part);
    });
    if (needed && entry.is_regular_file()) names.push_back(name);
  }
  std::sort(names.begin(), names.end());  // the order of a folder is not the seed's
  return names;
}

std::string Read(const std::string& path) {
  auto bytes = ReadWholeFile(path);
  return bytes.ok() ? *bytes : "";
}

void Write(const std::string& path, const std::string& bytes) {
  std::ofstream(path, std::ios::binary | std::ios::trunc) << bytes;
}

// Without the zeros that segments are laid out with: damage there is none.
size_t UsedBytes(const std::string& bytes) {
  const size_t last = bytes.find_last_not_of('\0');
  return last == std::string::npos ? 0 : last + 1;
}

std::string Short(const std::string& path) {
  const fs::path full(path);
  return (full.parent_path().parent_path().filename() / full.parent_path().filename() / full.filename())
      .string();
}

Damage DamageBytes(std::mt19937_64& random, const std::string& path, DamageKind kind) {
  std::string bytes = Read(path);
  const size_t used = UsedBytes(bytes);
  if (used == 0) return {};
  const size_t at = DrawBelow(random, used);
  std::string what;
  if (kind == DamageKind::kFlip) {
    bytes[at] = static_cast<char>(bytes[at] ^ (1 << DrawBelow(random, 8)));
    what = StrCat("flip at ", at, " of ", used, ": ");
  } else if (kind == DamageKind::kTruncate) {
    bytes.resize(at);
    what = StrCat("cut at ", at, " of ", used, ": ");
  } else {
    const size_t begin = at / kPage * kPage;
    std::fill(bytes.begin() + static_cast<ptrdiff_t>(begin),
              bytes.begin() + static_cast<ptrdiff_t>(std::min(begin + kPage, bytes.size())), '\0');
    what = StrCat("zeros at ", begin, " of ", used, ": ");
  }
  Write(path, bytes);
  return {.path = path, .what = what + Short(path)};
}

Damage PutBack(std::mt19937_64& random, const DamageTarget& target) {
  std::vector<std::string> changed;
  for (const auto& name : Files(target)) {
    if (fs::exists(target.older + "/" + name) &&
        Read(target.older + "/" + name) != Read(target.folder + "/" + name))
      changed.push_back(name);
  }
  if (!changed.empty() && DrawBelow(random, 2) == 0) {
    const std::string path = target.folder + "/" + DrawOne(random, changed);
    Write(path, Read(target.older + "/" + fs::path(path).filename().string()));
    return {.path = path, .what = "older state of " + Short(path)};
  }
  if (!fs::exists(target.older)) return {};
  fs::remove_all(target.folder);
  fs::copy(target.older, target.folder, fs::copy_options::recursive);
  return {.path = target.folder, .what = "older state of all of " + Short(target.folder + "/")};
}

}  // namespace

DamageTarget LogOf(const std::string& process, const std::string& older) {
  return {.folder = process + "/log", .older = older + "/log", .needed = {"log-"}};
}

DamageTarget BaseOf(const std::string& process, const std::string& older) {
  return {.folder = process + "/base", .older = older + "/base", .needed = {".sst", "MANIFEST", "CURRENT"}};
}

DamageTarget JournalOf(const std::string& process, const std::string& older) {
  return {.folder = process + "/journal",
          .older = older + "/journal",
          .needed = {".sst", ".log", "MANIFEST", "CURRENT"}};
}

Damage DoDamage(std::mt19937_64& random, const DamageTarget& target, DamageKind kind) {
  if (kind == DamageKind::kOlder) return PutBack(random, target);
  const auto names = Files(target);
  if (names.empty()) return {};
  const std::string path = target.folder + "/" + DrawOne(random, names);
  if (kind != DamageKind::kDelete) return DamageBytes(random, path, kind);
  fs::remove(path);
  return {.path = path, .what = "deleted " + Short(path)};
}

}  // namespace penstock
