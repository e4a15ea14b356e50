// The keys and values of the journal's database, as journal.h describes them.
#pragma once

#include <cstdint>
#include <nlohmann/json.hpp>
#include <string>

#include "scheduler/state/command.h"

namespace rocksdb {
struct ReadOptions;
}

namespace penstock {

inline constexpr char kSnapshotKey[] = "snapshot";
inline constexpr char kCommandPrefix[] = "c/";

std::string CommandKey(uint64_t index);
// Of a command or a snapshot.
std::string JournalText(const nlohmann::json& json);
// kDataLoss or kFailedPrecondition (of a later version), naming the key.
Result<Command> ReadCommand(const std::string& key, std::string_view text, int64_t* made_ms);
rocksdb::ReadOptions VerifiedReads();

}  // namespace penstock
