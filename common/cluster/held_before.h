// HeldBefore: what a shard still has of the epochs before its present one (rule 35). Its primary says so in
// every answer, and whoever pushed goes by it when the epoch changes.
#pragma once

#include "common/base/ids.h"

namespace penstock {

// A unit is told its lsn in an epoch, by the primary that leads in it. Lsns of different primaries cannot be
// compared: a successor begins above any that was *reported*, which says nothing of those told since.
struct HeldBefore {
  // From this epoch to the present one the same primary has led without a break: all units that it was given
  // are here. 0: nothing is said.
  Epoch since = 0;
  // Of these epochs, which an earlier primary led without a break, the units that were told an lsn of at most
  // `up_to` are here.
  Epoch from = 0, to = 0;
  Lsn up_to = 0;

  // Of the units that were told their lsn in this epoch, those of at most this one are here.
  Lsn UpTo(Epoch epoch) const {
    if (since != 0 && epoch >= since) return ~Lsn{0};
    return epoch >= from && epoch <= to ? up_to : 0;
  }
  bool Holds(Epoch epoch, Lsn lsn) const { return lsn <= UpTo(epoch); }
  bool operator==(const HeldBefore&) const = default;
};

}  // namespace penstock
