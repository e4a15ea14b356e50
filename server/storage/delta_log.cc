// Writing of segments: append, sync, roll, and the way out of a failure.
#include "server/storage/delta_log.h"

#include <glog/logging.h>

#include <algorithm>

#include "common/base/fault.h"
#include "common/base/mutant.h"
#include "server/storage/write_parts.h"

namespace penstock {

DeltaLog::DeltaLog(FileLayer& files, std::string dir, const DeltaLogOptions& options, const LogTail& tail)
    : files_(files),
      dir_(std::move(dir)),
      options_(options),
      boot_(files.BootId()),
      next_segment_(tail.next_segment),
      next_window_(tail.next_window),
      sealed_(tail.segments),
      spares_wanted_(options.spare_segments) {}

Result<std::unique_ptr<DeltaLog>> DeltaLog::Open(FileLayer& files, std::string dir,
                                                 const DeltaLogOptions& options, const LogTail& tail) {
  PENSTOCK_RETURN_IF_ERROR(files.MakeDir(dir));
  std::unique_ptr<DeltaLog> log(new DeltaLog(files, std::move(dir), options, tail));
  PENSTOCK_RETURN_IF_ERROR(log->FindSpares());
  if (!tail.segments.empty())
    log->synced_ = {tail.segments.back().number, tail.segments.back().bytes};  // by replay
  auto made = log->MakeSegment(log->NextHeader());
  std::lock_guard lock(log->mutex_);
  if (!made.ok()) return made.status().Prepend("log directory " + log->dir_);
  PENSTOCK_RETURN_IF_ERROR(made->file->Sync());
  PENSTOCK_RETURN_IF_ERROR(log->files_.SyncDir(log->dir_));
  log->open_ = std::move(*made);
  log->synced_ = {log->open_.number, log->open_.bytes};
  return log;
}

std::string DeltaLog::PathOf(uint64_t number, bool aside) const {
  return dir_ + "/" + SegmentFileName(number, aside);
}

SegmentHeader DeltaLog::NextHeader() {
  SegmentHeader header;
  header.cluster = options_.cluster;
  header.node = options_.node;
  header.boot = boot_;
  header.number = next_segment_++;
  header.first_window = next_window_;
  if (open_.file != nullptr) {
    header.previous = open_.number;
    header.previous_end = open_.bytes;
  } else if (!sealed_.empty()) {
    header.previous = sealed_.back().number;
    header.previous_end = sealed_.back().bytes;
  }
  header.synced = synced_;
  return header;
}

// A number is never used twice, so that a file that cannot be removed after a failure does no harm.
Result<DeltaLog::OpenSegment> DeltaLog::MakeSegment(const SegmentHeader& unsealed) {
  SegmentHeader header = unsealed;
  header.use = random_();
  penstock::Seal(header);
  const std::string path = PathOf(header.number);
  std::string spare;  // its name until it has the header
  PENSTOCK_ASSIGN_OR_RETURN(std::unique_ptr<File> file, MakeFile(path, &spare));
  Status status = PENSTOCK_FAULT("log.seal.created");
  const iovec part{&header, sizeof(header)};
  if (status.ok()) status = file->Write({&part, 1}, 0);
  if (status.ok() && !spare.empty()) {
    status = files_.Rename(spare, path);
    if (status.ok()) spare.clear();
  }
  if (status.ok()) status = PENSTOCK_FAULT("log.seal.header");
  if (!status.ok()) {
    const Status removed = files_.Remove(spare.empty() ? path : spare);
    if (!removed.ok()) LOG(WARNING) << "a segment that was begun in vain stays: " << removed.ToString();
    return status;
  }
  return OpenSegment{
      .number = header.number, .use = header.use, .bytes = sizeof(header), .file = std::move(file)};
}

// A new one, or a spare that still has its own name.
Result<std::unique_ptr<File>> DeltaLog::MakeFile(const std::string& path, std::string* spare) {
  *spare = TakeSpare();
  if (spare->empty()) return files_.Create(path, options_.segment_bytes);
  auto file = files_.Open(*spare);
  if (file.ok()) return file;
  LOG(WARNING) << "a spare file of the log is left alone: " << file.status().ToString();
  spare->clear();
  return files_.Create(path, options_.segment_bytes);
}

// Those of an earlier life of the process, as many as are wanted, and a first one to begin with.
Status DeltaLog::FindSpares() {
  PENSTOCK_ASSIGN_OR_RETURN(const std::vector<std::string> names, files_.List(dir_));
  std::lock_guard lock(mutex_);
  for (const std::string& name : names) {
    const auto number = ParseSpareFileName(name);
    if (!number) continue;
    if (spares_.size() < spares_wanted_) {
      spares_.push_back(*number);
    } else {
      RemoveSpare(*number);
    }
  }
  if (spares_wanted_ == 0 || !spares_.empty()) return Status::Ok();
  const auto made = files_.Create(SparePath(0), options_.segment_bytes);
  if (made.ok()) {
    spares_.push_back(0);
  } else {
    LOG(WARNING) << "no file is in reserve for the log: " << made.status().ToString();
  }
  return Status::Ok();
}

// All but one: that is in reserve.
std::string DeltaLog::TakeSpare() {
  std::lock_guard lock(mutex_);
  if (spares_.size() < 2) return "";
  const std::string path = SparePath(spares_.back());
  spares_.pop_back();
  return path;
}

void DeltaLog::TrimSpares(size_t keep) {
  std::vector<uint64_t> spares;
  {
    std::lock_guard lock(mutex_);
    while (spares_.size() > keep) {
      spares.push_back(spares_.back());
      spares_.pop_back();
    }
  }
  for (const uint64_t number : spares) RemoveSpare(number);
}

void DeltaLog::RemoveSpare(uint64_t number) {
  const Status removed = files_.Remove(SparePath(number));
  if (!removed.ok()) LOG(WARNING) << "a spare file of the log stays: " << removed.ToString();
}

void DeltaLog::KeepSpares(uint32_t count) {
  {
    std::lock_guard lock(mutex_);
    spares_wanted_ = count;
  }
  TrimSpares(count);
}

void DeltaLog::Close() {
  TrimSpares(0);
  std::lock_guard lock(mutex_);
  if (open_.file == nullptr || !failure_.ok()) return;
  const Status truncated = open_.file->Truncate(open_.bytes);
  if (!truncated.ok()) LOG(WARNING) << "log directory " << dir_ << ": " << truncated.ToString();
}

bool DeltaLog::KeepAsSpare(uint64_t number) {
  bool longer = false;  // as one append may make it
  {
    std::lock_guard lock(mutex_);
    if (spares_.size() >= spares_wanted_ || !failure_.ok()) return false;
    longer = FindSealed(number)->bytes > options_.segment_bytes;
  }
  if (!files_.Rename(PathOf(number), SparePath(number)).ok()) return false;
  if (longer) {
    const auto file = files_.Open(SparePath(number));
    if (!file.ok() || !(*file)->Truncate(options_.segment_bytes).ok()) {
      RemoveSpare(number);
      return false;
    }
  }
  std::lock_guard lock(mutex_);
  spares_.push_back(number);
  return true;
}

uint64_t DeltaLog::spares() const {
  std::lock_guard lock(mutex_);
  return spares_.size();
}

Status DeltaLog::Fail(const Status& status, std::unique_lock<std::mutex> lock) {
  Status named = status.Prepend("log directory " + dir_);
  if (failure_.ok()) failure_ = named;
  lock.unlock();
  if (status.code() == Code::kOverloaded) {  // the disk is full
    TrimSpares(0);
    LOG(WARNING) << "log directory " << dir_ << ": the files in reserve are given back";
  }
  return named;
}

bool DeltaLog::failed() const { return !failure().ok(); }

Status DeltaLog::failure() const {
  std::lock_guard lock(mutex_);
  return failure_;
}

Status DeltaLog::Append(std::span<const LogRecord> records) {
  if (records.empty()) return Status::Ok();
  for (const LogRecord& record : records) {
    for (const LogSection& section : record.sections) {
      if (section.delta.size() == 0)
        return InvalidArgument("the delta of shard " + std::to_string(section.shard) + " is empty");
    }
  }
  {
    std::lock_guard lock(mutex_);
    if (!failure_.ok()) return failure_;
  }
#if defined(PENSTOCK_MUTANTS)
  std::vector<LogRecord> before;
  if (!Defended(Defence::kAppendFirst)) {
    before = std::exchange(late_, {records.begin(), records.end()});
    if (before.empty()) return Status::Ok();
    records = before;
  }
#endif
  Status status = AppendUnlessFailed(records);
  return status.ok() ? status : Fail(status, std::unique_lock(mutex_));
}

Status DeltaLog::AppendUnlessFailed(std::span<const LogRecord> records) {
  PENSTOCK_RETURN_IF_ERROR(PENSTOCK_FAULT("log.append.before"));
  bool full = false;
  {
    std::lock_guard lock(mutex_);
    full = open_.bytes > sizeof(SegmentHeader) && open_.bytes + BytesOf(records) > options_.segment_bytes;
  }
  if (full) PENSTOCK_RETURN_IF_ERROR(Roll());
  WriteParts write;
  std::shared_ptr<File> file;
  Position place, synced;
  uint32_t use = 0;
  {
    std::lock_guard lock(mutex_);
    file = open_.file;
    use = open_.use;
    place = {open_.number, open_.bytes};
    synced = synced_;
  }
  const uint64_t begin = place.offset;
  for (const LogRecord& record : records) {
    AddRecord(record, next_window_++, place, synced, use, &write);
    place.offset = begin + write.bytes;
  }
  PENSTOCK_RETURN_IF_ERROR(WriteRecords(*file, write.parts, begin, write.bytes));
  {
    std::lock_guard lock(mutex_);
    open_.bytes = place.offset;
  }
  return PENSTOCK_FAULT("log.append.after");
}

Status DeltaLog::WriteRecords(File& file, std::span<const iovec> parts, uint64_t offset, uint64_t bytes) {
  if (!PENSTOCK_FAULT_ARMED("log.append.partial")) return file.Write(parts, offset);
  // Cut at another place each time: after 1/8 of the bytes, 2/8, ... 7/8, and so on again.
  const uint64_t prefix = bytes * (FaultHits("log.append.partial") % 7 + 1) / 8;
  PENSTOCK_RETURN_IF_ERROR(file.Write(Slice(parts, 0, prefix), offset));
  PENSTOCK_RETURN_IF_ERROR(PENSTOCK_FAULT("log.append.partial"));
  return file.Write(Slice(parts, prefix, bytes), offset + prefix);
}

Status DeltaLog::Seal() {
  {
    std::lock_guard lock(mutex_);
    if (!failure_.ok()) return failure_;
    if (open_.bytes == sizeof(SegmentHeader)) return Status::Ok();
  }
  Status status = Roll();
  return status.ok() ? status : Fail(status, std::unique_lock(mutex_));
}

Status DeltaLog::Roll() {
  PENSTOCK_RETURN_IF_ERROR(PENSTOCK_FAULT("log.seal.before"));
  SegmentHeader header;
  {
    std::lock_guard lock(mutex_);
    header = NextHeader();
  }
  PENSTOCK_ASSIGN_OR_RETURN(OpenSegment made, MakeSegment(header));
  std::shared_ptr<File> old;
  uint64_t old_bytes = 0;
  {
    std::lock_guard lock(mutex_);
    old = open_.file;
    old_bytes = open_.bytes;
    if (Position{open_.number, open_.bytes} > synced_) unsynced_.push_back(open_);
    sealed_.push_back({.number = open_.number, .bytes = open_.bytes, .trusted = open_.bytes});
    open_ = std::move(made);
    dir_changed_ = true;
  }
  const Status trimmed = old->Truncate(old_bytes);  // what was preallocated and not used
  if (!trimmed.ok()) LOG(WARNING) << "a sealed segment keeps its preallocated space: " << trimmed.ToString();
  return PENSTOCK_FAULT("log.seal.after");
}

Status DeltaLog::Sync() {
  std::lock_guard sync_lock(sync_mutex_);
  std::vector<OpenSegment> segments;
  bool dir_changed = false;
  uint64_t generation = 0;
  {
    std::lock_guard lock(mutex_);
    if (!failure_.ok()) return failure_;
    if (synced_ == Position{open_.number, open_.bytes}) return Status::Ok();
    segments = unsynced_;
    segments.push_back(open_);
    dir_changed = dir_changed_;
    dir_changed_ = false;
    generation = generation_;
  }
  Status status = PENSTOCK_FAULT("log.sync.before");
  for (const OpenSegment& segment : segments) {
    if (status.ok()) status = segment.file->Sync();
  }
  if (status.ok() && dir_changed) status = files_.SyncDir(dir_);
  if (status.ok()) status = PENSTOCK_FAULT("log.sync.after");
  std::unique_lock lock(mutex_);
  // A fresh segment was begun meanwhile: its directory entry is synced, and what these files hold no longer
  // matters to it.
  if (generation != generation_) return status;
  if (!failure_.ok()) return failure_;  // an append failed meanwhile; what is logged again will be synced
  if (!status.ok()) return Fail(status, std::move(lock));
  synced_ = {segments.back().number, segments.back().bytes};
  std::erase_if(unsynced_, [&](const OpenSegment& segment) { return segment.number < synced_.segment; });
  return Status::Ok();
}

Status DeltaLog::StartFreshSegment() {
  SegmentHeader header;
  {
    std::lock_guard lock(mutex_);
    if (failure_.ok()) return FailedPrecondition("log directory " + dir_ + " has not failed");
    header = NextHeader();
  }
  header.flags |= SegmentHeader::kAbandoned;
  auto made = MakeSegment(header);
  if (!made.ok()) return made.status().Prepend("log directory " + dir_);
  Status status = made->file->Sync();
  if (status.ok()) status = files_.SyncDir(dir_);
  if (!status.ok()) {
    const Status removed = files_.Remove(PathOf(header.number));
    if (!removed.ok()) LOG(WARNING) << "a segment that was begun in vain stays: " << removed.ToString();
    return status.Prepend("log directory " + dir_);
  }
  std::lock_guard lock(mutex_);
  sealed_.push_back({.number = open_.number, .bytes = open_.bytes, .trusted = open_.bytes});
  for (SegmentInfo& segment : sealed_) LimitTrust(segment, header.synced);
  open_ = std::move(*made);
  unsynced_.clear();
  dir_changed_ = false;
  synced_ = {open_.number, open_.bytes};
  failure_ = Status::Ok();
  ++generation_;
  return Status::Ok();
}

std::vector<SegmentInfo> DeltaLog::Sealed() const {
  std::lock_guard lock(mutex_);
  return sealed_;
}

uint64_t DeltaLog::Bytes() const {
  std::lock_guard lock(mutex_);
  uint64_t bytes = open_.bytes;
  for (const SegmentInfo& segment : sealed_) bytes += segment.aside ? 0 : segment.bytes;
  return bytes;
}

Position DeltaLog::synced() const {
  std::lock_guard lock(mutex_);
  return synced_;
}

std::vector<SegmentInfo>::iterator DeltaLog::FindSealed(uint64_t number) {
  return std::find_if(sealed_.begin(), sealed_.end(),
                      [&](const SegmentInfo& segment) { return segment.number == number; });
}

Status DeltaLog::Remove(uint64_t number) {
  bool aside = false;
  {
    std::lock_guard lock(mutex_);
    const auto found = FindSealed(number);
    if (found == sealed_.end())
      return NotFound("log directory " + dir_ + " has no sealed segment " + std::to_string(number));
    aside = found->aside;
    const bool oldest =
        std::all_of(sealed_.begin(), found, [](const SegmentInfo& segment) { return segment.aside; });
    if (!oldest && !aside) {
      return FailedPrecondition("segment " + std::to_string(number) + " is not the oldest in " + dir_ +
                                ": remove in order");
    }
  }
  PENSTOCK_RETURN_IF_ERROR(PENSTOCK_FAULT("log.remove.before"));
  if (aside || !KeepAsSpare(number)) {
    Status removed = files_.Remove(PathOf(number, aside));
    if (!removed.ok() && removed.code() != Code::kNotFound) return removed;
  }
  PENSTOCK_RETURN_IF_ERROR(PENSTOCK_FAULT("log.remove.unlinked"));
  // Before the next removal: a loss of power must not bring an older segment back and not a newer one.
  PENSTOCK_RETURN_IF_ERROR(files_.SyncDir(dir_));
  {
    std::lock_guard lock(mutex_);
    sealed_.erase(FindSealed(number));
    std::erase_if(unsynced_, [&](const OpenSegment& segment) { return segment.number == number; });
  }
  return PENSTOCK_FAULT("log.remove.after");
}

Status DeltaLog::SetAside(uint64_t number) {
  {
    std::lock_guard lock(mutex_);
    const auto found = FindSealed(number);
    if (found == sealed_.end())
      return NotFound("log directory " + dir_ + " has no sealed segment " + std::to_string(number));
    if (found->aside) return Status::Ok();
  }
  PENSTOCK_RETURN_IF_ERROR(files_.Rename(PathOf(number), PathOf(number, true)));
  {
    std::lock_guard lock(mutex_);
    FindSealed(number)->aside = true;
  }
  return files_.SyncDir(dir_);
}

}  // namespace penstock
