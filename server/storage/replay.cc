// The walk over the segments after a restart, and the decision what a bad place in them means.
#include "server/storage/replay.h"

#include <capnp/serialize.h>
#include <glog/logging.h>

#include <algorithm>
#include <optional>
#include <set>
#include <utility>

#include "server/storage/segment_reader.h"

namespace penstock {
namespace {

bool IsBeyond(const ReportedShard& reported, const ShardFolded& last) {
  return reported.synced > 0 &&
         std::pair(last.incarnation, last.lsn) < std::pair(reported.incarnation, reported.synced);
}

struct Segment {
  SegmentName name;
  std::unique_ptr<SegmentReader> reader;
  SegmentInfo info;
  uint64_t expected_end = 0;  // as the next segment says; 0: it says nothing
  uint64_t written = 0;       // up to here stand whole records, as FindEvidence finds; 0: none
  bool has_header() const { return reader->header() != nullptr; }
};

class Replayer {
 public:
  Replayer(FileLayer& files, const std::string& dir, uint64_t cluster,
           const std::map<ShardId, ShardFolded>& folded, const ReplayCallback& apply,
           const std::string& aside, const SyncedReport& report)
      : files_(files),
        dir_(dir),
        cluster_(cluster),
        apply_(apply),
        aside_(aside.empty() ? dir + ".damaged" : aside),
        ask_(report),
        boot_(files.BootId()) {
    for (const auto& [shard, state] : folded) chains_.emplace(shard, DeltaChain(shard, state));
  }

  Result<ReplayReport> Run() {
    PENSTOCK_RETURN_IF_ERROR(OpenSegments());
    PENSTOCK_RETURN_IF_ERROR(DropUnused());
    LinkSegments();
    for (size_t i = 0; i < segments_.size() && !ended_; ++i) PENSTOCK_RETURN_IF_ERROR(ReadSegment(i));
    PENSTOCK_RETURN_IF_ERROR(CutTail());
    PENSTOCK_RETURN_IF_ERROR(SyncAll());
    NameDamaged();
    return std::move(report_);
  }

 private:
  // What a bad place means.
  enum class Meaning {
    kEnd,        // the log ends here: it was never synced
    kUntrusted,  // a failure left it behind: this segment ends here, the log goes on with the next
    kDamage,     // it had been synced, or written in this boot of the machine
  };

  Status OpenSegments();
  Status DropUnused();
  void LinkSegments();
  Status ReadSegment(size_t index);
  Status CheckStart(size_t index);
  Status ReadBad(size_t index, const std::optional<Record>& record, const std::vector<size_t>& bad,
                 uint64_t* offset);
  Status ReadShort(size_t index, uint64_t end);
  Status SkipDamage(Segment& segment, uint64_t* offset);
  Status Deliver(Segment& segment, const Record& record);
  Status DeliverDelta(const SectionHead& head, kj::ArrayPtr<const capnp::word> words, bool may_lack);
  Status DeliverParsed(const SectionHead& head, const proto::Delta::Reader& delta, bool may_lack);
  // `inside`: in the bad record itself something whole stands behind what is bad.
  Result<Meaning> Judge(const Position& place, bool inside = false);
  bool Untrusted(const Position& place) const;
  Status FindEvidence(uint64_t from_segment);
  bool SameBoot(uint64_t segment) const;
  bool ReportedBeyond();
  void EndAt(size_t index, uint64_t offset);
  void Damage(const std::string& where, const std::string& what);
  void SuspectAll(const std::string& reason);
  Status CopyTailAside();
  Status CutTail();
  Status SyncAll();
  void NameDamaged();
  // Of a shard, as far as it was read.
  ShardFolded Last(ShardId shard) const {
    const auto chain = chains_.find(shard);
    return chain == chains_.end() ? ShardFolded{} : chain->second.last();
  }
  DeltaChain& Chain(ShardId shard) { return chains_.try_emplace(shard, shard, ShardFolded{}).first->second; }

  FileLayer& files_;
  const std::string& dir_;
  const uint64_t cluster_;
  const ReplayCallback& apply_;
  const std::string aside_;
  const SyncedReport& ask_;
  const uint32_t boot_;                                       // of the machine, now
  std::optional<std::map<ShardId, ReportedShard>> reported_;  // nullopt: not asked yet
  std::vector<Segment> segments_;
  std::map<ShardId, DeltaChain> chains_;
  std::map<ShardId, std::string>
      suspects_;                      // nothing that shows what they had in a damaged place has come yet
  std::optional<Position> evidence_;  // up to where later parts of the log say it was synced
  Position written_;                  // where the last head stands that is right; known with evidence_
  bool ended_ = false;
  size_t end_segment_ = 0;
  uint64_t end_offset_ = 0;
  ReplayReport report_;
};

Status Replayer::OpenSegments() {
  auto names = files_.List(dir_);
  if (!names.ok()) return names.status().code() == Code::kNotFound ? Status::Ok() : names.status();
  std::vector<SegmentName> found;
  for (const std::string& name : *names) {
    if (const auto parsed = ParseSegmentFileName(name)) found.push_back(*parsed);
  }
  std::sort(found.begin(), found.end(), [](const auto& a, const auto& b) { return a.number < b.number; });
  for (const SegmentName& name : found) {
    PENSTOCK_ASSIGN_OR_RETURN(auto reader, SegmentReader::Open(files_, dir_, name));
    if (const SegmentHeader* header = reader->header()) {
      if (header->format < kOldestSegmentFormat || header->format > kSegmentFormat) {
        return FailedPrecondition(reader->path() + " has format " + std::to_string(header->format) +
                                  ", this program reads " + std::to_string(kOldestSegmentFormat) + " to " +
                                  std::to_string(kSegmentFormat));
      }
      if (header->cluster != cluster_) {
        return FailedPrecondition(reader->path() + " belongs to cluster " + std::to_string(header->cluster) +
                                  ", this server to cluster " + std::to_string(cluster_));
      }
      report_.tail.next_window = std::max(report_.tail.next_window, header->first_window);
    }
    report_.tail.next_segment = name.number + 1;
    segments_.push_back({.name = name, .reader = std::move(reader), .info = {}});
    segments_.back().info = {.number = name.number, .aside = name.aside};
  }
  return Status::Ok();
}

// A segment that was begun in vain after a failure stands between one and the predecessor it names. It never
// held a record.
Status Replayer::DropUnused() {
  for (size_t i = segments_.size(); i-- > 0;) {
    if (!segments_[i].has_header()) continue;
    const uint64_t previous = segments_[i].reader->header()->previous;
    while (i > 0 && segments_[i - 1].name.number > previous) {
      LOG(INFO) << "replay: removing " << segments_[i - 1].reader->path() << ", it was never used";
      PENSTOCK_RETURN_IF_ERROR(files_.Remove(segments_[i - 1].reader->path()));
      segments_.erase(segments_.begin() + static_cast<ptrdiff_t>(--i));
    }
  }
  return Status::Ok();
}

void Replayer::LinkSegments() {
  for (size_t i = 0; i < segments_.size(); ++i) {
    Segment& segment = segments_[i];
    const SegmentHeader* next = i + 1 < segments_.size() ? segments_[i + 1].reader->header() : nullptr;
    if (next != nullptr && next->previous == segment.name.number) segment.expected_end = next->previous_end;
    segment.info.bytes = segment.reader->end();
    if (segment.expected_end != 0) segment.info.bytes = std::min(segment.info.bytes, segment.expected_end);
    segment.info.trusted = segment.info.bytes;
    if (!segment.has_header() || !segment.reader->header()->abandoned()) continue;
    for (size_t j = 0; j < i; ++j) LimitTrust(segments_[j].info, segment.reader->header()->synced);
  }
}

bool Replayer::Untrusted(const Position& place) const {
  return std::any_of(segments_.begin(), segments_.end(), [&](const Segment& segment) {
    const SegmentHeader* header = segment.reader->header();
    return header != nullptr && header->abandoned() && header->number > place.segment &&
           header->synced <= place;
  });
}

// Everything in or behind that segment that says up to where the log was synced, and written. Looked up once:
// later parts say most.
Status Replayer::FindEvidence(uint64_t from_segment) {
  if (evidence_) return Status::Ok();
  evidence_ = Position{};
  for (Segment& segment : segments_) {
    if (segment.name.number < from_segment) continue;
    if (const SegmentHeader* header = segment.reader->header()) {
      evidence_ = std::max(*evidence_, header->synced);
      written_ = std::max(written_, {segment.name.number, 0});
    }
    uint64_t offset = sizeof(SegmentHeader);
    while (offset < segment.info.bytes) {
      PENSTOCK_ASSIGN_OR_RETURN(const std::optional<Record> record, segment.reader->FindHead(offset));
      if (!record) break;
      evidence_ = std::max(*evidence_, record->head.synced);
      written_ = std::max(written_, record->head.place);
      segment.written = offset = record->end();
    }
  }
  return Status::Ok();
}

// Whether that segment was begun in this boot of the machine: no later than it was the first that says so.
bool Replayer::SameBoot(uint64_t segment) const {
  return boot_ != 0 && std::any_of(segments_.begin(), segments_.end(), [&](const Segment& other) {
           return other.name.number <= segment && other.has_header() && other.reader->header()->boot == boot_;
         });
}

// Whether a shard was reported synced further than what was read so far.
bool Replayer::ReportedBeyond() {
  if (!reported_) reported_ = ask_ ? ask_() : std::map<ShardId, ReportedShard>();
  return std::any_of(reported_->begin(), reported_->end(),
                     [&](const auto& entry) { return IsBeyond(entry.second, Last(entry.first)); });
}

// A write that a kill cut short leaves its beginning and nothing behind: a record whose own head is right and
// whose last deltas are bad may be one.
Result<Replayer::Meaning> Replayer::Judge(const Position& place, bool inside) {
  if (Untrusted(place)) return Meaning::kUntrusted;
  PENSTOCK_RETURN_IF_ERROR(FindEvidence(place.segment));
  const bool behind = inside || place < written_;
  if (place < *evidence_ || (behind && SameBoot(place.segment))) return Meaning::kDamage;
  return ReportedBeyond() ? Meaning::kDamage : Meaning::kEnd;
}

void Replayer::EndAt(size_t index, uint64_t offset) {
  ended_ = true;
  end_segment_ = index;
  end_offset_ = offset;
}

void Replayer::Damage(const std::string& where, const std::string& what) {
  LOG(ERROR) << "replay: " << where << " had been written for good: " << what;
  report_.damaged_places.push_back(where + ": " + what);
}

void Replayer::SuspectAll(const std::string& reason) {
  for (const auto& [shard, chain] : chains_) suspects_.emplace(shard, reason);
  if (!reported_) return;
  for (const auto& [shard, reported] : *reported_) suspects_.emplace(shard, reason);
}

// The header, and whether segments are missing before it.
Status Replayer::CheckStart(size_t index) {
  Segment& segment = segments_[index];
  if (!segment.has_header()) {
    PENSTOCK_ASSIGN_OR_RETURN(const Meaning meaning, Judge({segment.name.number, 0}));
    if (meaning == Meaning::kEnd) EndAt(index, 0);
    if (meaning == Meaning::kUntrusted) segment.info.bytes = 0;
    if (meaning != Meaning::kDamage) return Status::Ok();
    segment.info.damaged = true;
    Damage(segment.reader->path(), "its header is damaged");
    return Status::Ok();
  }
  // Segments are set aside before later ones are removed.
  if (index == 0 || segments_[index - 1].name.aside) return Status::Ok();
  const uint64_t before = segments_[index - 1].name.number;
  if (segment.reader->header()->previous <= before) return Status::Ok();
  PENSTOCK_ASSIGN_OR_RETURN(const Meaning meaning, Judge({before + 1, 0}));
  if (meaning == Meaning::kEnd) EndAt(index, 0);
  if (meaning != Meaning::kDamage) return Status::Ok();
  const std::string missing = dir_ + "/" + SegmentFileName(segment.reader->header()->previous);
  Damage(missing, "the file is missing");
  SuspectAll(missing + " is missing");
  return Status::Ok();
}

Status Replayer::ReadSegment(size_t index) {
  PENSTOCK_RETURN_IF_ERROR(CheckStart(index));
  Segment& segment = segments_[index];
  uint64_t offset = sizeof(SegmentHeader);
  while (!ended_ && offset < segment.info.bytes) {
    PENSTOCK_ASSIGN_OR_RETURN(const std::optional<Record> record, segment.reader->ReadHead(offset));
    std::vector<size_t> bad;
    if (record) {
      PENSTOCK_ASSIGN_OR_RETURN(bad, segment.reader->BadSections(*record));
    }
    if (record && bad.empty()) {
      PENSTOCK_RETURN_IF_ERROR(Deliver(segment, *record));
      offset = record->end();
    } else {
      PENSTOCK_RETURN_IF_ERROR(ReadBad(index, record, bad, &offset));
    }
  }
  if (!ended_ && offset == segment.info.bytes && offset < segment.expected_end)
    return ReadShort(index, offset);
  return Status::Ok();
}

// A record at *offset that is not whole; *offset moves to where reading goes on.
Status Replayer::ReadBad(size_t index, const std::optional<Record>& record, const std::vector<size_t>& bad,
                         uint64_t* offset) {
  Segment& segment = segments_[index];
  const bool inside = record && bad.front() + bad.size() < record->sections.size();
  PENSTOCK_ASSIGN_OR_RETURN(const Meaning meaning, Judge({segment.name.number, *offset}, inside));
  if (meaning == Meaning::kEnd) EndAt(index, *offset);
  // The fold stops here too: a record behind this one could only confuse those that are logged again later.
  if (meaning == Meaning::kUntrusted) *offset = UINT64_MAX;
  if (meaning != Meaning::kDamage) return Status::Ok();
  segment.info.damaged = true;
  const std::string where = segment.reader->path() + " at " + std::to_string(*offset);
  if (!record) return SkipDamage(segment, offset);
  Damage(where, std::to_string(bad.size()) + " of " + std::to_string(record->sections.size()) +
                    " deltas are damaged");
  PENSTOCK_RETURN_IF_ERROR(Deliver(segment, *record));
  for (size_t section : bad)
    suspects_.emplace(record->sections[section].shard, "a delta of it is damaged in " + where);
  *offset = record->end();
  return Status::Ok();
}

// No record's head stands at *offset: saves what can be recognised before the next one that does.
Status Replayer::SkipDamage(Segment& segment, uint64_t* offset) {
  const std::string where = segment.reader->path() + " at " + std::to_string(*offset);
  PENSTOCK_ASSIGN_OR_RETURN(const std::optional<Record> next, segment.reader->FindHead(*offset + 8));
  const uint64_t end = next ? std::min(next->head.place.offset, segment.info.bytes) : segment.info.bytes;
  PENSTOCK_ASSIGN_OR_RETURN(const SegmentReader::Salvage saved,
                            segment.reader->SalvageSections(*offset, end));
  Damage(where, std::to_string(end - *offset) + " bytes are damaged" +
                    (saved.complete ? ", but all deltas in them could be saved" : ""));
  PENSTOCK_RETURN_IF_ERROR(Deliver(segment, saved.record));
  if (!saved.complete) SuspectAll("deltas are damaged in " + where);
  *offset = end;
  return Status::Ok();
}

// The next segment says that this one was longer.
Status Replayer::ReadShort(size_t index, uint64_t end) {
  Segment& segment = segments_[index];
  PENSTOCK_ASSIGN_OR_RETURN(const Meaning meaning, Judge({segment.name.number, end}));
  if (meaning == Meaning::kEnd) EndAt(index, end);
  if (meaning != Meaning::kDamage) return Status::Ok();
  const std::string what = "it ends here, " + std::to_string(segment.expected_end - end) + " bytes early";
  Damage(segment.reader->path() + " at " + std::to_string(end), what);
  SuspectAll("the end of " + segment.reader->path() + " is missing");
  return Status::Ok();
}

Status Replayer::Deliver(Segment& segment, const Record& record) {
  report_.tail.next_window = std::max(report_.tail.next_window, record.head.window + 1);
  const bool may_lack = Untrusted(record.head.place);
  for (size_t i = 0; i < record.sections.size(); ++i) {
    PENSTOCK_ASSIGN_OR_RETURN(const auto delta, segment.reader->ReadDelta(record, i));
    if (!delta) continue;
    PENSTOCK_RETURN_IF_ERROR(DeliverDelta(record.sections[i], *delta, may_lack));
  }
  return Status::Ok();
}

Status Replayer::DeliverDelta(const SectionHead& head, kj::ArrayPtr<const capnp::word> words, bool may_lack) {
  Status status;
  try {
    capnp::FlatArrayMessageReader message(words, DeltaReaderOptions());
    status = DeliverParsed(head, message.getRoot<proto::Delta>(), may_lack);
  } catch (const kj::Exception& e) {
    suspects_.emplace(head.shard, std::string("a delta of it is malformed: ") + e.getDescription().cStr());
  }
  return status;
}

Status Replayer::DeliverParsed(const SectionHead& head, const proto::Delta::Reader& delta, bool may_lack) {
  const ShardId shard = head.shard;
  DeltaChain& chain = Chain(shard);
  switch (chain.Offer(delta, head.incarnation, head.checksum, cluster_, may_lack)) {
    case DeltaChain::Verdict::kGap:
      return Status::Ok();
    case DeltaChain::Verdict::kSkip:
      ++report_.skipped;
      // What the base holds was not lost.
      if (head.incarnation == chain.last().incarnation) suspects_.erase(shard);
      return Status::Ok();
    case DeltaChain::Verdict::kTake:
      break;
  }
  suspects_.erase(shard);
  const Status applied = apply_(shard, head.incarnation, delta, head.checksum);
  if (applied.code() == Code::kDataLoss) {
    chain.Refuse(applied.message());
    return Status::Ok();
  }
  PENSTOCK_RETURN_IF_ERROR(applied);
  ++report_.deltas;
  return Status::Ok();
}

// The rest of the last segment that stays, where there are whole records in it.
Status Replayer::CopyTailAside() {
  constexpr uint64_t kBytes = uint64_t{1} << 20;
  const Segment& last = segments_[end_segment_];
  if (end_offset_ == 0 || last.written <= end_offset_) return Status::Ok();
  PENSTOCK_RETURN_IF_ERROR(files_.MakeDir(aside_));
  const std::string path =
      aside_ + "/" + SegmentFileName(last.name.number) + ".from-" + std::to_string(end_offset_);
  const Status before = files_.Remove(path);  // of a start that did not come to its end
  if (!before.ok() && before.code() != Code::kNotFound) return before;
  PENSTOCK_ASSIGN_OR_RETURN(auto copy, files_.Create(path, last.written - end_offset_));
  std::vector<char> buffer(kBytes);
  for (uint64_t at = end_offset_; at < last.written;) {
    PENSTOCK_ASSIGN_OR_RETURN(
        const size_t n, last.reader->file().Read(buffer.data(), std::min(kBytes, last.written - at), at));
    if (n == 0) return Internal(last.reader->path() + " has become shorter");
    const iovec part{buffer.data(), n};
    PENSTOCK_RETURN_IF_ERROR(copy->Write({&part, 1}, at - end_offset_));
    at += n;
  }
  PENSTOCK_RETURN_IF_ERROR(copy->Sync());
  report_.put_aside.push_back(path);
  return files_.SyncDir(aside_);
}

// Newest first, so that being stopped in between leaves a log that ends at the same place.
Status Replayer::CutTail() {
  if (ended_) {
    PENSTOCK_RETURN_IF_ERROR(CopyTailAside().Prepend("put the end of the log aside"));
    const size_t keep = end_offset_ == 0 ? end_segment_ : end_segment_ + 1;
    while (segments_.size() > keep) {
      const Segment& last = segments_.back();
      report_.discarded_bytes += last.reader->end();
      if (last.written == 0) {
        PENSTOCK_RETURN_IF_ERROR(files_.Remove(last.reader->path()));
      } else {
        PENSTOCK_RETURN_IF_ERROR(files_.MakeDir(aside_));
        report_.put_aside.push_back(aside_ + "/" + SegmentFileName(last.name.number));
        PENSTOCK_RETURN_IF_ERROR(files_.Rename(last.reader->path(), report_.put_aside.back()));
        PENSTOCK_RETURN_IF_ERROR(files_.SyncDir(aside_));
      }
      segments_.pop_back();
    }
    if (end_offset_ != 0) {
      Segment& last = segments_.back();
      report_.discarded_bytes += last.reader->end() - end_offset_;
      PENSTOCK_RETURN_IF_ERROR(last.reader->file().Truncate(end_offset_));
      last.info.bytes = last.info.trusted = end_offset_;
    }
  }
  if (!ended_ && !segments_.empty()) {
    // Gives back what was preallocated for records that never came.
    PENSTOCK_RETURN_IF_ERROR(segments_.back().reader->file().Truncate(segments_.back().reader->end()));
  }
  // Segments without a record pile up with restarts that bring nothing; one that says what is abandoned is
  // needed.
  while (!segments_.empty() && segments_.back().info.bytes == sizeof(SegmentHeader) &&
         segments_.back().has_header() && !segments_.back().reader->header()->abandoned()) {
    PENSTOCK_RETURN_IF_ERROR(files_.Remove(segments_.back().reader->path()));
    segments_.pop_back();
  }
  return Status::Ok();
}

Status Replayer::SyncAll() {
  for (Segment& segment : segments_) {
    PENSTOCK_RETURN_IF_ERROR(segment.reader->file().Sync());
    report_.tail.segments.push_back(segment.info);
  }
  const Status synced = files_.SyncDir(dir_);
  return synced.code() == Code::kNotFound ? Status::Ok() : synced;
}

void Replayer::NameDamaged() {
  for (const auto& [shard, chain] : chains_) {
    report_.shards.emplace(shard, chain.last());
    if (!chain.broken().empty()) report_.damaged.emplace(shard, chain.broken());
  }
  for (const auto& [shard, reason] : suspects_) report_.damaged.emplace(shard, reason);
  if (!reported_) return;
  for (const auto& [shard, reported] : *reported_) {
    if (!IsBeyond(reported, Last(shard))) continue;
    report_.damaged.emplace(shard, "it ends at delta " + std::to_string(Last(shard).lsn) + ", " +
                                       std::to_string(reported.synced) + " was reported as synced");
  }
}

}  // namespace

Result<ReplayReport> Replay(FileLayer& files, const std::string& dir, uint64_t cluster,
                            const std::map<ShardId, ShardFolded>& folded, const ReplayCallback& apply,
                            const std::string& aside, const SyncedReport& reported) {
  return Replayer(files, dir, cluster, folded, apply, aside, reported).Run();
}

}  // namespace penstock
