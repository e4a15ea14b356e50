// Marks: which sequences of which producers one table of one shard has applied, so that a push counts exactly
// once.
//
// Per producer: a watermark `low` (every sequence below it is applied or finished everywhere) and the applied
// sequences at or above it, as ranges. Sequences need not be dense, and a producer may begin at any sequence.
// A producer with nothing above its low costs one entry of 24 bytes. Those who have pushed all they will are
// ranges of ids: complete producers, of whom all is applied, and finished ones, who are refused. What changed
// since the last delta is remembered apart: WriteChanges puts it into that delta, ClearChanges forgets it.
// Merge reads it back, from deltas and from the base alike; the order of merging does not matter, and merging
// again changes nothing. Rules 11-14 of docs/protocol.md.
//
// Not thread-safe: owned by the thread that owns the shard (or by the fold).
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <vector>

#include "common/base/ids.h"
#include "common/base/status.h"
#include "proto/delta.capnp.h"

namespace penstock {

class Marks {
 public:
  // A producer may be so many sequences ahead of its low.
  static constexpr Sequence kWindow = 65536;

  Marks();
  Marks(Marks&&) noexcept;
  Marks& operator=(Marks&&) noexcept;
  ~Marks();

  // Applied already. Of a finished producer: unknown (false); ask Finished first.
  bool Contains(ProducerId producer, Sequence sequence) const;
  bool Finished(ProducerId producer) const;
  // kOverloaded when `sequence` is kWindow or more above the higher of the push's `low` and the one known
  // here; never for the sequence at `low`.
  Status CheckWindow(ProducerId producer, Sequence sequence, Sequence low) const;
  // The producer has marks that are not logged yet and reaches half a window above its low: log the table at
  // once.
  bool NearWindowHalf(ProducerId producer) const;
  // Any producer does.
  bool NearWindowHalf() const { return near_half_; }

  // `sequence` was applied. Ignored when it is below the producer's low or the producer is finished.
  void Add(ProducerId producer, Sequence sequence);
  // Comes after Add, with the push's low. A low never falls; ignored for finished producers.
  void AdvanceLow(ProducerId producer, Sequence low);
  // All that producers first..last will ever push is applied here: the range takes the place of what is known
  // of them, and what they push again has been applied. No change when nothing is known of any of them: they
  // have pushed nothing here, then.
  void CompleteProducers(ProducerId first, ProducerId last);
  // Producers first..last are finished: their marks go, and their ids are refused. Repeating it is no change.
  void FinishProducers(ProducerId first, ProducerId last);
  // Drops everything about ids below `floor`, changes included: the shard refuses those, and its deltas carry
  // the floor.
  void Forget(ProducerId floor);

  // Takes over what a delta or the base says. Not a change. With `full` a table's list replaces what was
  // known.
  void Merge(proto::ProducerMarks::Reader marks);
  void Merge(proto::TableDelta::Reader table);

  // Something happened since ClearChanges.
  bool HasChanges() const {
    return !changed_.empty() || !fresh_complete_.empty() || !fresh_finished_.empty();
  }
  // Sets the `marks` of a delta's entry to what changed. A range of producers first..last is one element:
  // producer = first, low = last, finished, and complete if they are.
  void WriteChanges(proto::TableDelta::Builder out) const;
  void ClearChanges();
  // Sets `marks` to the whole set, and `full`.
  void WriteFull(proto::TableDelta::Builder out) const;
  // Words that the two will take, for the estimate of a message's size.
  size_t ChangesWords() const;
  size_t FullWords() const;

  // No producer is known.
  bool Empty() const { return entries_.empty() && complete_.empty() && finished_.empty(); }
  size_t ResidentBytes() const;

 private:
  struct Range {  // of sequences or of ids, both ends included
    uint64_t first, last;
  };
  // What only a producer with marks above its low, or with changes, needs.
  struct Active {
    std::vector<Range> applied;   // at or above low; ascending, disjoint, never adjacent
    std::vector<Sequence> fresh;  // applied since ClearChanges, in any order; some may be below low by now
    bool changed = false;         // in changed_
  };
  struct Entry {
    ProducerId producer;
    Sequence low;
    std::unique_ptr<Active> active;
  };

  static void AddPoint(std::vector<Range>* ranges, uint64_t point);
  static bool AddRange(std::vector<Range>* ranges, uint64_t first, uint64_t last);
  static bool Covers(const std::vector<Range>& ranges, uint64_t point);
  static void DropBelow(std::vector<Range>* ranges, uint64_t floor);
  static void RemoveRange(std::vector<Range>* ranges, uint64_t first, uint64_t last);
  static bool ContainsAbove(const Entry& entry, Sequence sequence);
  static std::vector<Sequence> FreshAbove(const Entry& entry);

  // Complete or finished: nothing is kept of it but its id.
  bool Over(ProducerId producer) const { return Covers(complete_, producer) || Finished(producer); }
  const Entry* Find(ProducerId producer) const;
  Entry& FindOrAdd(ProducerId producer);
  Active& NoteChange(Entry& entry);
  void RaiseLow(Entry& entry, Sequence low);
  static bool ReachesHalf(const Entry& entry);
  bool EraseProducers(ProducerId first, ProducerId last);
  static void WriteRange(const Range& range, bool complete, proto::ProducerMarks::Builder out);
  size_t Ranges() const { return complete_.size() + finished_.size(); }
  size_t FreshRanges() const { return fresh_complete_.size() + fresh_finished_.size(); }

  std::vector<Entry> entries_;         // ascending by producer
  std::vector<Range> complete_;        // ids; ascending, disjoint, never adjacent
  std::vector<Range> finished_;        // likewise
  std::vector<ProducerId> changed_;    // entries with active->changed
  std::vector<Range> fresh_complete_;  // since ClearChanges
  std::vector<Range> fresh_finished_;  // likewise
  bool near_half_ = false;
};

}  // namespace penstock
