#include "model/job_train.h"

namespace penstock {
namespace {

constexpr double kMaxId = 9007199254740992.0;  // 2^53, exact as a double

}  // namespace

void JobTrain::Declare(OptionSet* o) {
  o->DescribeSection("train", "How the training runs.");
  o->Add("train", "passes", &passes, {.help = "Times through the training data.", .min = 1, .max = 1e6});
  o->Add("train", "batch_size", &batch_size,
         {.help = "Examples a minibatch, at each worker.", .min = 1, .max = 1 << 20});
  o->Add("train", "consistency", &consistency,
         {.help = "async: gradients are applied as they arrive.", .choices = {"async"}});
  o->Add("train", "durability", &durability,
         {.help = "When a push is answered: memory at once, logged when it survives a killed process, synced "
                  "when it survives power loss.",
          .choices = {"memory", "logged", "synced"}});
  o->Add("train", "seed", &seed, {.help = "Of initial weights and shuffling.", .min = 0, .max = kMaxId});
  o->Add("train", "shuffle", &shuffle,
         {.help = "Permute the partitions, and the examples of each, anew in every pass."});
  o->Add("train", "inflight", &inflight,
         {.help = "Minibatches whose pushes a worker may have unanswered; more hides latency and computes on "
                  "older weights.",
          .min = 1,
          .max = 64});
  o->Add("train", "evaluate", &evaluate,
         {.help = "Evaluate on the training and the held-out data at the end."});
  o->Add(
      "train", "ledger", &ledger,
      {.help = "Keep a table <name>.<id>/ledger into which workers push +1 for every example of every pass, "
               "together with its gradients: a proof that each counts exactly once."});
}

Status JobTrain::Validate() const { return Status::Ok(); }

}  // namespace penstock
