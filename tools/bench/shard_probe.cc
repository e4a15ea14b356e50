#include "tools/bench/shard_probe.h"

#include <algorithm>
#include <optional>
#include <utility>
#include <vector>

#include "common/base/hash.h"
#include "common/base/strings.h"
#include "common/net/identity.h"

namespace penstock {
namespace {

constexpr auto kPatience = std::chrono::seconds(60);

}  // namespace

Result<std::unique_ptr<ShardProbe>> ShardProbe::Start(Client& client, ShardId shard, uint32_t shards,
                                                      Durability durability) {
  PENSTOCK_ASSIGN_OR_RETURN(
      const TableSpec table,
      client.CreateTable({.name = StrCat("bench/probe-", RandomId()), .dim = 1, .durability = durability}));
  PENSTOCK_ASSIGN_OR_RETURN(const auto producer, client.NewProducer());
  Key key = 0;
  while (ShardOf(RowHash(key, table.id), shards) != shard) ++key;
  PENSTOCK_RETURN_IF_ERROR(
      client.Push(*producer, {TablePush{.table = table.id, .keys = {key}, .values = {1.0F}}}).get().status());
  return std::unique_ptr<ShardProbe>(new ShardProbe(client, table, producer, key));
}

ShardProbe::ShardProbe(Client& client, TableSpec table, std::shared_ptr<Producer> producer, Key key)
    : client_(client), table_(std::move(table)), producer_(std::move(producer)), key_(key) {
  thread_ = std::thread([this] { Run(); });
}

ShardProbe::~ShardProbe() {
  ends_ = true;
  thread_.join();
  static_cast<void>(client_.DropTable(table_.name));  // what cannot be dropped is named by the cluster
}

void ShardProbe::Run() {
  while (!ends_) {
    const auto pushed =
        client_.Push(*producer_, {TablePush{.table = table_.id, .keys = {key_}, .values = {1.0F}}}).get();
    std::lock_guard lock(mutex_);
    if (!pushed.ok()) {
      failed_ = pushed.status().Prepend("the probe");
      return;
    }
    const auto now = Clock::now();
    longest_ = std::max(longest_, now - std::exchange(answered_, now));
    ++answers_;
  }
}

Result<double> ShardProbe::TakeLongestMs() {
  std::optional<uint64_t> before;
  for (const auto end = Clock::now() + kPatience; Clock::now() < end;
       std::this_thread::sleep_for(std::chrono::milliseconds(1))) {
    std::lock_guard lock(mutex_);
    if (!failed_.ok()) return failed_;
    if (!before) before = answers_;
    // The first may be to a push from before.
    if (answers_ >= *before + 2)
      return std::chrono::duration<double, std::milli>(std::exchange(longest_, {})).count();
  }
  return DeadlineExceeded("the probe's pushes are not answered");
}

}  // namespace penstock
