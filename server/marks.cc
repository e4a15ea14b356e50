// The sets of Marks and their encoding.
#include "server/marks.h"

#include <algorithm>
#include <string>

namespace penstock {
namespace {

constexpr size_t kMarksWords = 4;  // a ProducerMarks in a list: two words of data, flags, one pointer

// Memory of a vector that has shrunk to a quarter of its capacity is given back.
template <typename T>
void Trim(std::vector<T>* v) {
  if (v->capacity() > 16 && v->size() < v->capacity() / 4) v->shrink_to_fit();
}

}  // namespace

Marks::Marks() = default;
Marks::Marks(Marks&&) noexcept = default;
Marks& Marks::operator=(Marks&&) noexcept = default;
Marks::~Marks() = default;

// --- Sets of ranges.

bool Marks::Covers(const std::vector<Range>& ranges, uint64_t point) {
  const auto after = std::upper_bound(ranges.begin(), ranges.end(), point,
                                      [](uint64_t p, const Range& r) { return p < r.first; });
  return after != ranges.begin() && point <= std::prev(after)->last;
}

// Returns whether anything was added.
bool Marks::AddRange(std::vector<Range>* ranges, uint64_t first, uint64_t last) {
  // The ranges that [first, last] overlaps or touches become one with it.
  const auto apart_below = [&](const Range& r) { return r.last < first && first - r.last > 1; };
  auto begin = std::partition_point(ranges->begin(), ranges->end(), apart_below);
  auto end = begin;
  while (end != ranges->end() && (end->first <= last || end->first - 1 == last)) ++end;
  if (begin == end) {
    ranges->insert(begin, Range{first, last});
    return true;
  }
  if (begin->first <= first && last <= begin->last) return false;
  begin->first = std::min(begin->first, first);
  begin->last = std::max(std::prev(end)->last, last);
  ranges->erase(begin + 1, end);
  return true;
}

void Marks::AddPoint(std::vector<Range>* ranges, uint64_t point) {
  // Sequences mostly rise.
  if (ranges->empty() || (point > ranges->back().last && point - ranges->back().last > 1)) {
    ranges->push_back({point, point});
  } else if (point > ranges->back().last) {
    ranges->back().last = point;
  } else {
    AddRange(ranges, point, point);
  }
}

void Marks::DropBelow(std::vector<Range>* ranges, uint64_t floor) {
  const auto keep =
      std::partition_point(ranges->begin(), ranges->end(), [&](const Range& r) { return r.last < floor; });
  ranges->erase(ranges->begin(), keep);
  if (!ranges->empty()) ranges->front().first = std::max(ranges->front().first, floor);
  Trim(ranges);
}

void Marks::RemoveRange(std::vector<Range>* ranges, uint64_t first, uint64_t last) {
  std::vector<Range> kept;
  for (const Range& range : *ranges) {
    if (range.last < first || range.first > last) {
      kept.push_back(range);
      continue;
    }
    if (range.first < first) kept.push_back({range.first, first - 1});
    if (range.last > last) kept.push_back({last + 1, range.last});
  }
  *ranges = std::move(kept);
}

// --- Producers.

const Marks::Entry* Marks::Find(ProducerId producer) const {
  const auto found = std::lower_bound(entries_.begin(), entries_.end(), producer,
                                      [](const Entry& e, ProducerId p) { return e.producer < p; });
  return found == entries_.end() || found->producer != producer ? nullptr : &*found;
}

Marks::Entry& Marks::FindOrAdd(ProducerId producer) {
  const auto found = std::lower_bound(entries_.begin(), entries_.end(), producer,
                                      [](const Entry& e, ProducerId p) { return e.producer < p; });
  if (found != entries_.end() && found->producer == producer) return *found;
  return *entries_.insert(found, Entry{producer, 0, nullptr});
}

Marks::Active& Marks::NoteChange(Entry& entry) {
  if (entry.active == nullptr) entry.active = std::make_unique<Active>();
  if (!entry.active->changed) {
    entry.active->changed = true;
    changed_.push_back(entry.producer);
  }
  return *entry.active;
}

void Marks::RaiseLow(Entry& entry, Sequence low) {
  entry.low = low;
  if (entry.active == nullptr) return;
  DropBelow(&entry.active->applied, low);
  if (entry.active->applied.empty() && !entry.active->changed) entry.active.reset();
}

bool Marks::ContainsAbove(const Entry& entry, Sequence sequence) {
  return entry.active != nullptr && Covers(entry.active->applied, sequence);
}

bool Marks::Contains(ProducerId producer, Sequence sequence) const {
  if (Covers(complete_, producer)) return !Finished(producer);
  const Entry* entry = Find(producer);
  return entry != nullptr && (sequence < entry->low || ContainsAbove(*entry, sequence));
}

bool Marks::Finished(ProducerId producer) const { return Covers(finished_, producer); }

Status Marks::CheckWindow(ProducerId producer, Sequence sequence, Sequence low) const {
  if (sequence <= low) return Status::Ok();
  const Entry* entry = Find(producer);
  const Sequence base = entry != nullptr ? std::max(low, entry->low) : low;
  if (sequence < base || sequence - base < kWindow) return Status::Ok();
  return Overloaded("producer " + std::to_string(producer) + ": sequence " + std::to_string(sequence) +
                    " is " + std::to_string(sequence - base) + " above its low " + std::to_string(base) +
                    ", allowed are less than " + std::to_string(kWindow));
}

bool Marks::ReachesHalf(const Entry& entry) {
  const Active* active = entry.active.get();
  return active != nullptr && !active->fresh.empty() && !active->applied.empty() &&
         active->applied.back().last - entry.low >= kWindow / 2;
}

bool Marks::NearWindowHalf(ProducerId producer) const {
  const Entry* entry = Find(producer);
  return entry != nullptr && ReachesHalf(*entry);
}

void Marks::Add(ProducerId producer, Sequence sequence) {
  if (Over(producer)) return;
  Entry& entry = FindOrAdd(producer);
  if (sequence < entry.low || ContainsAbove(entry, sequence)) return;
  Active& active = NoteChange(entry);
  AddPoint(&active.applied, sequence);
  active.fresh.push_back(sequence);
}

void Marks::AdvanceLow(ProducerId producer, Sequence low) {
  if (Over(producer) || (low == 0 && Find(producer) == nullptr)) return;
  Entry& entry = FindOrAdd(producer);
  if (low > entry.low) {
    NoteChange(entry);
    RaiseLow(entry, low);
  }
  // After low has risen: a producer that begins at a high sequence names its low with its first push.
  near_half_ = near_half_ || ReachesHalf(entry);
}

void Marks::CompleteProducers(ProducerId first, ProducerId last) {
  if (first > last || !EraseProducers(first, last)) return;
  AddRange(&complete_, first, last);
  AddRange(&fresh_complete_, first, last);
}

void Marks::FinishProducers(ProducerId first, ProducerId last) {
  if (first > last || !AddRange(&finished_, first, last)) return;
  EraseProducers(first, last);
  RemoveRange(&complete_, first, last);
  AddRange(&fresh_finished_, first, last);
}

// Returns whether there were any.
bool Marks::EraseProducers(ProducerId first, ProducerId last) {
  const auto in_range = [&](ProducerId p) { return first <= p && p <= last; };
  const auto begin = std::partition_point(entries_.begin(), entries_.end(),
                                          [&](const Entry& e) { return e.producer < first; });
  const auto end =
      std::partition_point(begin, entries_.end(), [&](const Entry& e) { return e.producer <= last; });
  if (begin == end) return false;
  entries_.erase(begin, end);
  Trim(&entries_);
  std::erase_if(changed_, in_range);
  return true;
}

void Marks::Forget(ProducerId floor) {
  if (floor == 0) return;
  EraseProducers(0, floor - 1);
  DropBelow(&complete_, floor);
  DropBelow(&fresh_complete_, floor);
  DropBelow(&finished_, floor);
  DropBelow(&fresh_finished_, floor);
}

// --- Encoding.

void Marks::Merge(proto::ProducerMarks::Reader marks) {
  const ProducerId producer = marks.getProducer();
  if (marks.getFinished()) {
    const ProducerId last = std::max(producer, marks.getLow());
    AddRange(marks.getComplete() ? &complete_ : &finished_, producer, last);
    if (!marks.getComplete()) RemoveRange(&complete_, producer, last);
    EraseProducers(producer, last);
    return;
  }
  if (Over(producer)) return;
  Entry& entry = FindOrAdd(producer);
  if (marks.getLow() > entry.low) RaiseLow(entry, marks.getLow());
  for (const Sequence sequence : marks.getApplied()) {
    if (sequence < entry.low || ContainsAbove(entry, sequence)) continue;
    if (entry.active == nullptr) entry.active = std::make_unique<Active>();
    AddPoint(&entry.active->applied, sequence);
  }
}

void Marks::Merge(proto::TableDelta::Reader table) {
  if (table.getFull()) *this = Marks();
  for (const auto marks : table.getMarks()) Merge(marks);
}

// The newly applied sequences that low does not cover, ascending and once each.
std::vector<Sequence> Marks::FreshAbove(const Entry& entry) {
  std::vector<Sequence> fresh;
  for (const Sequence sequence : entry.active->fresh) {
    if (sequence >= entry.low) fresh.push_back(sequence);
  }
  std::sort(fresh.begin(), fresh.end());
  return fresh;
}

void Marks::WriteRange(const Range& range, bool complete, proto::ProducerMarks::Builder out) {
  out.setProducer(range.first);
  out.setLow(range.last);
  out.setFinished(true);
  out.setComplete(complete);
}

void Marks::WriteChanges(proto::TableDelta::Builder out) const {
  auto list = out.initMarks(changed_.size() + FreshRanges());
  unsigned at = 0;
  for (const ProducerId producer : changed_) {
    const Entry& entry = *Find(producer);
    auto marks = list[at++];
    marks.setProducer(producer);
    marks.setLow(entry.low);
    const std::vector<Sequence> fresh = FreshAbove(entry);
    if (!fresh.empty()) marks.setApplied(kj::arrayPtr(fresh.data(), fresh.size()));
  }
  for (const Range& range : fresh_complete_) WriteRange(range, true, list[at++]);
  for (const Range& range : fresh_finished_) WriteRange(range, false, list[at++]);
}

void Marks::ClearChanges() {
  for (const ProducerId producer : changed_) {
    Entry& entry = FindOrAdd(producer);
    entry.active->changed = false;
    entry.active->fresh = {};
    if (entry.active->applied.empty()) entry.active.reset();
  }
  changed_ = {};
  fresh_complete_ = {};
  fresh_finished_ = {};
  near_half_ = false;
}

void Marks::WriteFull(proto::TableDelta::Builder out) const {
  out.setFull(true);
  auto list = out.initMarks(entries_.size() + Ranges());
  unsigned at = 0;
  for (const Entry& entry : entries_) {
    auto marks = list[at++];
    marks.setProducer(entry.producer);
    marks.setLow(entry.low);
    if (entry.active == nullptr || entry.active->applied.empty()) continue;
    size_t count = 0;
    for (const Range& range : entry.active->applied) count += range.last - range.first + 1;
    auto applied = marks.initApplied(count);
    unsigned index = 0;
    for (const Range& range : entry.active->applied) {
      for (Sequence i = 0; i <= range.last - range.first; ++i) applied.set(index++, range.first + i);
    }
  }
  for (const Range& range : complete_) WriteRange(range, true, list[at++]);
  for (const Range& range : finished_) WriteRange(range, false, list[at++]);
}

size_t Marks::ChangesWords() const {
  size_t words = 2 + (changed_.size() + FreshRanges()) * kMarksWords;
  for (const ProducerId producer : changed_) words += Find(producer)->active->fresh.size();
  return words;
}

size_t Marks::FullWords() const {
  size_t words = 2 + (entries_.size() + Ranges()) * kMarksWords;
  for (const Entry& entry : entries_) {
    if (entry.active == nullptr) continue;
    for (const Range& range : entry.active->applied) words += range.last - range.first + 1;
  }
  return words;
}

size_t Marks::ResidentBytes() const {
  const size_t ranges =
      complete_.capacity() + finished_.capacity() + fresh_complete_.capacity() + fresh_finished_.capacity();
  size_t bytes = sizeof(Marks) + entries_.capacity() * sizeof(Entry) + ranges * sizeof(Range) +
                 changed_.capacity() * sizeof(ProducerId);
  for (const Entry& entry : entries_) {
    if (entry.active == nullptr) continue;
    bytes += sizeof(Active) + entry.active->applied.capacity() * sizeof(Range) +
             entry.active->fresh.capacity() * sizeof(Sequence);
  }
  return bytes;
}

}  // namespace penstock
