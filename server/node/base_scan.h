// BaseScan: what a core reads of the base: by a thread of its own that may wait for the disk, and what is
// added up of rows that are not in memory.
//
// Lives on the core's loop. What was read is as old as the read: rows that are evicted or fetched meanwhile
// may count twice or not at all.
#pragma once

#include <kj/async.h>

#include <functional>
#include <string>
#include <type_traits>
#include <utility>

#include "server/node/blocking_thread.h"
#include "server/node/shard_slots.h"
#include "server/storage/base_store.h"

namespace penstock {

class BaseScan {
 public:
  // `damaged` is called with kDataLoss: the base must be looked at as a whole.
  BaseScan(KjLoop& loop, const BaseStore& base, const ShardSlots& slots, std::string node,
           std::function<void(const Status&)> damaged)
      : base_(base), slots_(slots), node_(std::move(node)), damaged_(std::move(damaged)), disk_(loop) {}

  const BaseStore& base() const { return base_; }
  // Resolves with the Result that `call` has of the base; it runs on the thread for the disk.
  template <typename Call>
  auto Read(Call call) {
    return disk_.Run([&base = base_, call = std::move(call)] { return call(base); })
        .then([this](auto&& read) {
          using Read = std::decay_t<decltype(read)>;
          return read.ok() ? kj::mv(read) : Read(NoteBase(read.status()));
        });
  }
  // BaseStore::Scan.
  kj::Promise<Result<StoredRows>> Rows(Incarnation incarnation, TableId table, Key first, size_t rows) {
    return Read([=](const BaseStore& base) { return base.Scan(incarnation, table, first, rows); });
  }
  // Of something that was read there. Damage is the server's concern, which begins again and heals its base
  // or ends: to others it is kUnavailable.
  Status NoteBase(const Status& read);

  // kUnavailable while rows of the base are still being read (RowLoader): of the table in this shard.
  Status Loaded(ShardId shard, TableId table) const;
  // Adds the table's cold rows to the sums.
  kj::Promise<Status> AddColdRows(ShardId shard, TableId table, ShardTableStats* stats);
  // What the shard holds, served or followed; as far as nothing changes meanwhile.
  kj::Promise<Result<ContentHash>> Digest(ShardId shard);

 private:
  using Visitor = std::function<void(const Shard&, const BaseRow&)>;
  kj::Promise<Status> VisitBase(ShardId shard, Incarnation incarnation, TableId table, Key first,
                                Visitor visit);

  const BaseStore& base_;
  const ShardSlots& slots_;
  const std::string node_;
  const std::function<void(const Status&)> damaged_;
  BlockingThread disk_;
};

}  // namespace penstock
