#include "tools/bench/hot_shard.h"

#include <utility>

#include "common/base/hash.h"
#include "common/base/strings.h"
#include "common/net/identity.h"
#include "tools/bench/row_oracle.h"

namespace penstock {
namespace {

constexpr uint32_t kInFlight = 4;
constexpr double kForever = 1e6;  // seconds

}  // namespace

Result<std::unique_ptr<HotShard>> HotShard::Start(Client& client, const WorkloadOptions& options,
                                                  ShardId shard, uint32_t shards) {
  PENSTOCK_ASSIGN_OR_RETURN(const TableSpec wanted, WorkloadTable(options, StrCat("bench/hot-", RandomId())));
  PENSTOCK_ASSIGN_OR_RETURN(const TableSpec table, client.CreateTable(wanted));
  PENSTOCK_ASSIGN_OR_RETURN(const auto producer, client.NewProducer());
  std::vector<Key> keys;
  for (Key key = 0; keys.size() < options.keys; ++key) {
    if (ShardOf(RowHash(key, table.id), shards) == shard) keys.push_back(key);
  }
  return std::unique_ptr<HotShard>(new HotShard(client, options, table, producer, std::move(keys)));
}

HotShard::HotShard(Client& client, const WorkloadOptions& options, TableSpec table,
                   std::shared_ptr<Producer> producer, std::vector<Key> keys)
    : client_(client),
      table_(std::move(table)),
      loop_(client, {.work = Work::kStep, .table = table_.id, .inflight = kInFlight}, std::move(producer),
            RowOracle::Gradient(options.dim)),
      pool_{std::move(keys)} {
  thread_ = std::thread([this] { Run(); });
}

HotShard::~HotShard() {
  ends_ = true;
  thread_.join();
  static_cast<void>(client_.DropTable(table_.name));  // what cannot be dropped is named by the cluster
}

void HotShard::Run() {
  StepLoop::Hooks hooks;
  hooks.interrupted = [this] { return ends_.load(); };
  hooks.done = [this](size_t batch, Clock::duration) {
    rows_ += pool_[batch].size();
    return Status::Ok();
  };
  const Status status = loop_.Run(pool_, Clock::now(), kForever, hooks).status();
  std::lock_guard lock(mutex_);
  if (!ends_) failed_ = status;
}

Result<double> HotShard::TakeRate() {
  {
    std::lock_guard lock(mutex_);
    if (!failed_.ok()) return failed_.Prepend("the hot shard");
  }
  const auto now = Clock::now();
  const std::chrono::duration<double> passed = now - std::exchange(since_, now);
  return static_cast<double>(rows_.exchange(0)) / passed.count();
}

}  // namespace penstock
