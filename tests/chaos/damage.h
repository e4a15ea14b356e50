// What happens to files: bytes that flip, ends that are missing, pages of zeros, files that are gone or that
// are back in an older state.
#pragma once

#include <random>
#include <string>
#include <vector>

namespace penstock {

enum class DamageKind { kFlip, kTruncate, kZero, kDelete, kOlder };

// Files that a process needs, and where copies of them from an earlier time are.
struct DamageTarget {
  std::string folder;               // "log", "base" or "journal" in the data directory of a process
  std::string older;                // the same folder as it was
  std::vector<std::string> needed;  // how the names of files that matter begin or end
};

struct Damage {
  std::string path;  // of the file, or of the folder that was put back as a whole
  std::string what;  // "flipped byte 17 of server-0/log/..."
};

DamageTarget LogOf(const std::string& process, const std::string& older);
DamageTarget BaseOf(const std::string& process, const std::string& older);
DamageTarget JournalOf(const std::string& process, const std::string& older);

// Does the damage to a file that is drawn. kOlder: a file that has changed since, or the whole folder.
// Nothing in `path` when no file can be damaged so.
Damage DoDamage(std::mt19937_64& random, const DamageTarget& target, DamageKind kind);

}  // namespace penstock
