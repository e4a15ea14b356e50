#include "scheduler/state/journal_format.h"

#include <rocksdb/options.h>

#include <cstdio>

namespace penstock {

std::string CommandKey(uint64_t index) {
  char key[32];
  std::snprintf(key, sizeof key, "%s%020llu", kCommandPrefix, static_cast<unsigned long long>(index));
  return key;
}

// Messages of peers may hold bytes that are no UTF-8, which JSON does not know.
std::string JournalText(const nlohmann::json& json) {
  return json.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
}

Result<Command> ReadCommand(const std::string& key, std::string_view text, int64_t* made_ms) {
  auto command = CommandFromJson(nlohmann::json::parse(text, nullptr, false), made_ms);
  if (command.ok()) return command;
  return Status(
      command.status().code() == Code::kFailedPrecondition ? Code::kFailedPrecondition : Code::kDataLoss,
      "key '" + key + "': " + command.status().message());
}

rocksdb::ReadOptions VerifiedReads() {
  rocksdb::ReadOptions options;
  options.verify_checksums = true;
  options.total_order_seek = true;
  return options;
}

}  // namespace penstock
