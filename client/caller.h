// Caller: what a client does on the threads that call it: it knows the tables, checks batches, and hands
// calls to the core on the loop. Client and Admin are its two faces.
//
// Threads: any, unless a method says otherwise.
#pragma once

#include <future>
#include <memory>
#include <mutex>
#include <optional>
#include <span>
#include <string>
#include <type_traits>
#include <unordered_map>
#include <unordered_set>
#include <utility>
#include <vector>

#include "client/bucketer.h"
#include "client/client_core.h"
#include "client/client_types.h"
#include "client/loop_call.h"
#include "common/base/status.h"
#include "common/cluster/table_spec.h"

namespace penstock {

class Caller {
 public:
  // As Client::Connect.
  static Result<std::unique_ptr<Caller>> Connect(const ClientOptions& options);
  ~Caller();
  Caller(const Caller&) = delete;
  Caller& operator=(const Caller&) = delete;

  const ClientOptions& options() const { return options_; }
  uint64_t cluster() const { return identity_->cluster; }
  KjLoop& loop() { return loop_; }
  SchedulerLink& scheduler() { return core_->scheduler(); }  // the loop's
  // DispatchFsm::Waits, on the loop.
  std::string Waits(uint64_t for_ms) const { return core_ == nullptr ? "" : core_->Waits(for_ms); }
  uint64_t Deadline(uint64_t deadline_ms) const {
    return deadline_ms == 0 ? options_.deadline_ms : deadline_ms;
  }
  BucketLimits limits() const {
    return {.piece_bytes = options_.piece_bytes, .max_unit_bytes = options_.max_unit_bytes};
  }
  std::shared_ptr<const ShardLayout> layout() const { return core_->map().layout(); }

  // Runs `use(core, done)` on the loop; done says kCancelled if that never happens.
  template <typename T, typename Use>
  void Post(Completion<T> done, Use use) {
    loop_.Post([this, done = std::move(done), use = std::move(use)]() mutable {
      if (core_ != nullptr) use(*core_, std::move(done));
    });
  }

  // FailedPrecondition on the loop's own thread, which would wait for itself.
  Status MayBlock(const std::string& what) const {
    if (!loop_.OnLoop()) return Status::Ok();
    return FailedPrecondition(what + ": a blocking call in a callback of the client");
  }

  // As Post, and waits. `use` starts something that ends by a deadline.
  template <typename T, typename Use>
  Result<T> Await(const std::string& what, Use use) {
    PENSTOCK_RETURN_IF_ERROR(MayBlock(what));
    std::promise<Result<T>> promise;
    auto future = promise.get_future();
    Post(CompletionOf<T>(std::move(promise)), std::move(use));
    return future.get();
  }

  // A question to the scheduler that may be repeated until the deadline.
  template <typename T, typename Make, typename Read>
  Result<T> Ask(const std::string& what, Make make, Read read, uint64_t deadline_ms = 0) {
    return Await<T>(what,
                    [what, make, read, ms = Deadline(deadline_ms)](ClientCore& core, Completion<T> done) {
                      core.Spawn(what, core.Ask<T>(what, make, read, ms), std::move(done));
                    });
  }
  // One that may not.
  template <typename T, typename Make, typename Read>
  Result<T> AskOnce(const std::string& what, Make make, Read read) {
    return Await<T>(what,
                    [what, make, read, ms = options_.deadline_ms](ClientCore& core, Completion<T> done) {
                      core.Spawn(what, core.AskOnce<T>(what, make, read, ms), std::move(done));
                    });
  }

  // Of checked tables.
  void Pull(const std::vector<BatchTable>& tables, PullPlaces out, uint64_t deadline_ms,
            Completion<bool> done);
  void Attach(std::weak_ptr<Producer> producer);

  // The tables that were created or opened.
  void Learn(const TableSpec& spec);
  void Forget(const std::string& name);
  // InvalidArgument: not one of them.
  Status Known(TableId id) const;

  // Checks a batch's tables and gives their names, widths and codecs, unless the call says `codec`; keys and
  // values are those of the caller.
  template <typename Table>
  Result<std::vector<BatchTable>> Describe(std::span<const Table> tables, std::optional<Codec> codec) const {
    std::vector<BatchTable> out;
    std::unordered_set<TableId> seen;
    std::lock_guard lock(mutex_);
    for (const Table& table : tables) {
      const auto it = tables_.find(table.table);
      if (it == tables_.end()) return Unknown(table.table);
      if (!seen.insert(table.table).second)
        return InvalidArgument("table '" + it->second.name + "' is twice in one call");
      if (codec)
        PENSTOCK_RETURN_IF_ERROR(
            CheckCodec(it->second.optimizer, *codec).Prepend("table '" + it->second.name + "'"));
      out.push_back({.table = table.table,
                     .name = it->second.name,
                     .dim = it->second.dim,
                     .keys = table.keys,
                     .values = {},
                     .assigns = it->second.optimizer == OptimizerKind::kAssign,
                     .codec = codec.value_or(it->second.codec)});
      if constexpr (!std::is_same_v<Table, TableKeysView>) {
        if (table.values.size() != table.keys.size() * it->second.dim) {
          return InvalidArgument("table '" + it->second.name + "': " + std::to_string(table.values.size()) +
                                 " values for " + std::to_string(table.keys.size()) + " keys, expected " +
                                 std::to_string(it->second.dim) + " a key");
        }
      }
      if constexpr (std::is_same_v<Table, TablePushView>) out.back().values = table.values;
    }
    return out;
  }

 private:
  struct TableInfo {
    std::string name;
    uint32_t dim = 0;
    OptimizerKind optimizer = OptimizerKind::kSgd;
    Codec codec = Codec::kF32;
  };

  Caller(const ClientOptions& options, std::string token);
  static Status Unknown(TableId id);

  const ClientOptions options_;
  const std::shared_ptr<ClusterIdentity> identity_;
  mutable std::mutex mutex_;
  std::unordered_map<TableId, TableInfo> tables_;  // guarded by mutex_
  KjLoop loop_;
  std::unique_ptr<ClientCore> core_;  // the loop's
};

}  // namespace penstock
