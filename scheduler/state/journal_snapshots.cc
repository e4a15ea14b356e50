#include "scheduler/state/journal_snapshots.h"

#include <glog/logging.h>
#include <rocksdb/db.h>
#include <rocksdb/options.h>
#include <rocksdb/write_batch.h>

#include <utility>

#include "common/base/fault.h"
#include "scheduler/state/journal_format.h"

namespace penstock {
namespace {

Status FromRocks(const rocksdb::Status& status) {
  return status.ok() ? Status::Ok() : Unavailable(status.ToString());
}

}  // namespace

JournalSnapshots::JournalSnapshots(ClusterState state, uint64_t index, uint64_t snapshot_index)
    : state_(std::move(state)), index_(index), snapshot_index_(snapshot_index), thread_([this] { Run(); }) {}

JournalSnapshots::~JournalSnapshots() {
  {
    std::lock_guard lock(mutex_);
    stopping_ = true;
  }
  wake_.notify_all();
  thread_.join();
}

bool JournalSnapshots::Begin(std::shared_ptr<rocksdb::DB> db, uint64_t last) {
  {
    std::lock_guard lock(mutex_);
    if (db_ != nullptr) return false;
    db_ = std::move(db);
    last_ = last;
  }
  wake_.notify_all();
  return true;
}

void JournalSnapshots::Wait() {
  std::unique_lock lock(mutex_);
  idle_.wait(lock, [this] { return db_ == nullptr; });
}

uint64_t JournalSnapshots::index() const {
  std::lock_guard lock(mutex_);
  return snapshot_index_;
}

void JournalSnapshots::Run() {
  std::unique_lock lock(mutex_);
  for (;;) {
    wake_.wait(lock, [this] { return stopping_ || db_ != nullptr; });
    if (db_ == nullptr) return;
    const uint64_t last = last_;
    rocksdb::DB& db = *db_;
    lock.unlock();
    // The journal is whole without it; the next command begins another.
    const Status made = Make(db, last);
    LOG_IF(ERROR, !made.ok()) << "snapshot of the journal up to command " << last << ": " << made.ToString();
    lock.lock();
    if (made.ok()) snapshot_index_ = last;
    db_.reset();
    idle_.notify_all();
  }
}

Status JournalSnapshots::Make(rocksdb::DB& db, uint64_t last) {
  PENSTOCK_RETURN_IF_ERROR(CatchUp(db, last));
  PENSTOCK_RETURN_IF_ERROR(PENSTOCK_FAULT("scheduler.journal.snapshot"));
  rocksdb::WriteBatch batch;
  batch.Put(kSnapshotKey, JournalText({{"v", kCommandVersion}, {"index", last}, {"state", state_.ToJson()}}));
  for (uint64_t index = snapshot_index_ + 1; index <= last; ++index) batch.Delete(CommandKey(index));
  rocksdb::WriteOptions past_the_log;
  past_the_log.disableWAL = true;
  PENSTOCK_RETURN_IF_ERROR(FromRocks(db.Write(past_the_log, &batch)));
  return FromRocks(db.Flush({}));
}

Status JournalSnapshots::CatchUp(rocksdb::DB& db, uint64_t last) {
  const std::unique_ptr<rocksdb::Iterator> it(db.NewIterator(VerifiedReads()));
  for (it->Seek(CommandKey(index_ + 1)); index_ < last; it->Next()) {
    if (!it->Valid()) return it->status().ok() ? DataLoss("commands are missing") : FromRocks(it->status());
    const std::string key = it->key().ToString();
    if (key != CommandKey(index_ + 1)) return DataLoss("key '" + key + "' is out of order");
    int64_t made_ms = 0;
    PENSTOCK_ASSIGN_OR_RETURN(const Command command, ReadCommand(key, it->value().ToStringView(), &made_ms));
    PENSTOCK_RETURN_IF_ERROR(state_.Apply(command, made_ms).Prepend("key '" + key + "'"));
    ++index_;
  }
  return Status::Ok();
}

}  // namespace penstock
