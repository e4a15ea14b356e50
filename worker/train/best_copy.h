// BestCopy: works off a lease of the phase keepBest: copies the rows that the examples of one partition need
// from the job's tables to those that keep its best weights (job/job_table_names.h).
//
// Nothing trains meanwhile, so the copy is of one moment. The rows are cut into pieces, a pure function of
// the partition, which are pushed as the sequences 0, 1, ... of its producer: a worker that takes over goes
// on behind what is logged, and one that was thought dead cannot overwrite a later copy. Belongs to the
// training thread, for one lease.
#pragma once

#include <vector>

#include "worker/train/job_context.h"
#include "worker/train/patience.h"

namespace penstock {

class BestCopy {
 public:
  BestCopy(Client& client, JobContext& context, LeaseTask& task, Patience& patience)
      : client_(client), context_(context), task_(task), patience_(patience) {}

  // Returns when all is logged (progress().done) or the lease is dropped; an error is the lease's.
  Status Run(const Examples& examples);

 private:
  struct Piece {
    size_t table = 0;
    std::vector<Key> keys;
  };
  void Cut(const Examples& examples);
  Status Copy(Producer& producer, Sequence k);
  void Report(const Producer& producer);

  Client& client_;
  JobContext& context_;
  LeaseTask& task_;
  Patience& patience_;
  std::vector<Piece> pieces_;
};

}  // namespace penstock
