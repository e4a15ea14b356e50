// Defences: the checks that keep every push applied exactly once and every answer true, by name, so that the
// simulation (tests/sim) can switch one off and must notice.
//
//   if (Defended(Defence::kMarks) && marks.Contains(producer, sequence)) return duplicate;
//
// In every build but the simulation's own, Defended is constant and leaves nothing behind in the program.
#pragma once

#include <cstdint>

namespace penstock {

enum class Defence : uint8_t {
  kNone,
  kMarks,           // a unit that was applied before is dropped (rule 11)
  kEpoch,           // requests and primaries of another epoch are refused (rules 12, 19)
  kFoldMarks,       // the fold takes over marks with the rows (rule 5)
  kAtomicUnit,      // a unit's rows and its mark are in the same delta (rule 12)
  kDuplicateWait,   // a duplicate waits until the unit is at its level (rule 14)
  kContentChain,    // a delta follows the one whose checksum it names (rule 1)
  kLeaseToken,      // a report of a lease that has ended is refused (rule 16)
  kAppendFirst,     // a delta is written before anybody hears that it is (rule 3)
  kPromoteInSync,   // only a member of the in-sync set leads (rule 19)
  kPromoteSettled,  // and only after its primary has confirmed that it waits for it (rule 19)
  kConfirmHeld,     // a backup whose log failed does not confirm what that has dropped (rule 8)
  kQuarantine,      // less than was reported is not served (rule 22)
  kToldIsLogged,    // a `memory` unit counts as logged only when a delta that holds it is (rule 16)
  kHeldBefore,      // what counts as held across an epoch is there (rule 35)
  kFence,           // between fence and hand-over nothing new is taken (rule 36)
  kLastDelta,       // before it what `memory` tables hold back goes into a delta (rule 36)
  kHandOverEqual,   // a shard is handed over to who holds and has synced all of it (rule 36)
  kUnfence,         // a fence ends only with an epoch above it (rule 24)
  kRewind,          // what was leased before a rewind is refused (rule 35)
  kCount,
};

#if defined(PENSTOCK_MUTANTS)
namespace mutant_internal {
inline Defence off = Defence::kNone;  // one thread sets and reads it
}
inline bool Defended(Defence defence) { return mutant_internal::off != defence; }
#else
constexpr bool Defended(Defence) { return true; }
#endif

}  // namespace penstock
