#include "job/job_train.h"

#include "job/job_check.h"

namespace penstock {
void JobTrain::Declare(OptionSet* o) {
  o->DescribeSection("train", "How the training runs.");
  o->Add("train", "passes", &passes,
         {.help = "Times through the training data.", .unit = "passes", .min = 1, .max = 1e6});
  o->Add("train", "batch_size", &batch_size,
         {.help = "Examples a minibatch, at each worker; sync: examples an optimizer step, over all workers.",
          .unit = "examples",
          .min = 1,
          .max = 1 << 20});
  o->Add(
      "train", "consistency", &consistency,
      {.help =
           "async: gradients are applied as they arrive. ssp: as they arrive, but no worker gets more than "
           "train.staleness steps ahead of the slowest. sync: one optimizer step for every batch_size "
           "examples, "
           "on their mean; the examples of every step are the same for any number of workers.",
       .choices = {"async", "ssp", "sync"}});
  o->Add("train", "staleness", &staleness,
         {.help = "ssp: how many steps a worker may be ahead of the slowest.",
          .unit = "steps",
          .min = 1,
          .max = 1e6});
  o->Add(
      "train", "streams", &streams,
      {.help =
           "sync: into how many minibatches a step is cut, which whichever workers there are take; so many "
           "workers at most have work. The data is cut into as many partitions (more where there are more "
           "files, fewer where files cannot be divided).",
       .unit = "minibatches",
       .min = 1,
       .max = 1024});
  o->Add("train", "seed", &seed,
         {.help = "Of initial weights and shuffling.", .min = 0, .max = kMaxWholeNumber});
  o->Add("train", "shuffle", &shuffle,
         {.help = "Permute the partitions, and the examples of each, anew in every pass."});
  o->Add("train", "inflight", &inflight,
         {.help = "Minibatches whose pushes a worker may have unanswered; more hides latency and computes on "
                  "older weights. At most train.staleness in ssp, always 1 in sync.",
          .unit = "minibatches",
          .min = 1,
          .max = 64});
  o->Add("train", "evaluate", &evaluate,
         {.help = "Evaluate on the training and the held-out data at the end."});
  o->Add(
      "train", "evaluate_every", &evaluate_every,
      {.help = "Passes between evaluations on the held-out data (on the training data where there is none); "
               "0: only at the end.",
       .unit = "passes",
       .min = 0,
       .max = 1e6});
  o->Add("train", "early_stop_patience", &early_stop_patience,
         {.help = "Train no further pass after so many evaluations without improvement; 0: all passes.",
          .unit = "evaluations",
          .min = 0,
          .max = 1e6});
  o->Add("train", "early_stop_metric", &early_stop_metric,
         {.help = "On the held-out data: what must improve, and which pass is called the best.",
          .choices = {"loss", "accuracy", "auc", "rmse"}});
  o->Add("train", "early_stop_min_delta", &early_stop_min_delta,
         {.help = "What counts as improvement is more than this.",
          .unit = "of the metric",
          .min = 0,
          .max = 1e9});
  o->Add("train", "keep_best", &keep_best,
         {.help = "Copy the weights to tables <name>.<id>/best/... after each evaluation that is the best so "
                  "far by train.early_stop_metric; the evaluation at the end, and those of the finished job, "
                  "are of these. Needs held-out data."});
  o->Add(
      "train", "ledger", &ledger,
      {.help = "Keep a table <name>.<id>/ledger into which workers push +1 for every example of every pass, "
               "together with its gradients: a proof that each counts exactly once."});
}

Status JobTrain::Validate() const {
  const JobTrain defaults;
  PENSTOCK_RETURN_IF_ERROR(
      OnlyWith(ssp(), staleness == defaults.staleness, "train.staleness", "train.consistency 'ssp'"));
  PENSTOCK_RETURN_IF_ERROR(
      OnlyWith(sync(), streams == defaults.streams, "train.streams", "train.consistency 'sync'"));
  if (sync() && batch_size < streams) {
    return InvalidArgument("train.batch_size is " + std::to_string(batch_size) +
                           ", train.consistency 'sync' needs at least train.streams, " +
                           std::to_string(streams));
  }
  PENSTOCK_RETURN_IF_ERROR(OnlyWith(evaluate_every > 0, early_stop_patience == 0, "train.early_stop_patience",
                                    "train.evaluate_every"));
  PENSTOCK_RETURN_IF_ERROR(
      OnlyWith(evaluate_every > 0, !keep_best, "train.keep_best", "train.evaluate_every"));
  return Status::Ok();
}

}  // namespace penstock
