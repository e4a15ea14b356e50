// WorkerMetrics: what one worker process counts of its work, as it goes.
#pragma once

#include "common/base/metrics.h"

namespace penstock {

struct WorkerMetrics {
  // As penstock_worker_*, which live as long as the registry.
  explicit WorkerMetrics(MetricsRegistry& registry)
      : partitions(registry.AddCounter("penstock_worker_partitions_total", "Partitions worked off.")),
        examples(registry.AddCounter("penstock_worker_examples_total",
                                     "Examples computed, in training or evaluation; those whose work is done "
                                     "again after a failure count again.")),
        wait_seconds(registry.AddCounter("penstock_worker_wait_seconds_total",
                                         "Training: waiting for rows and for answers of pushes.")) {}

  Counter& partitions;
  Counter& examples;
  Counter& wait_seconds;
};

}  // namespace penstock
