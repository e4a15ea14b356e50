#include "job/job_table.h"

namespace penstock {

void JobTable::Declare(OptionSet* options) {
  optimizer.Declare(options);
  schedule.Declare(options);
  initializer.Declare(options);
  rows.Declare(options);
  options->Add("train", "durability", &durability,
               {.help = "When a push is answered: memory at once, logged when it survives a killed process, "
                        "synced when it survives power loss. A partition is done when all of it is logged, "
                        "whatever this says; with memory what a server loses before is worked off again, at "
                        "most server.memory_lag_ms of work. A sync job's tables are logged at least.",
                .choices = {"memory", "logged", "synced"}});
  options->Add(
      "train", "codec", &codec,
      {.help = "How rows and gradients travel: f32 as they are, bf16 in half the bytes, rounded to 8 "
               "bits of precision. Servers compute and keep float32 either way.",
       .choices = {"f32", "bf16"}});
}

Status JobTable::Validate(const std::string& prefix) const {
  const OptimizerSpec o = optimizer.spec();
  if (o.learning_rate <= 0) return InvalidArgument(prefix + "optimizer.learning_rate must be above 0");
  PENSTOCK_RETURN_IF_ERROR(rows.Validate(prefix));
  PENSTOCK_RETURN_IF_ERROR(
      ValidateOptimizer(o, schedule.spec(), prefix + "optimizer.", prefix + "schedule."));
  if (initializer.kind == "model") {
    if (initializer.numbers == InitializerSpec{}) return Status::Ok();
    return InvalidArgument(prefix + "initializer.kind is 'model', which reads no other key of the section");
  }
  // Fans that are missing are the model's affair, as it knows its layers.
  return ValidateInitializer(initializer.spec({}, {1, 1}), o.kind, prefix + "initializer.");
}

void JobTable::Configure(Fans fans, TableSpec* table) const {
  table->optimizer = optimizer.spec();
  table->schedule = schedule.spec();
  table->initializer = initializer.spec(table->initializer, fans);
  if (const auto how = ParseCodec(codec); how.ok()) table->codec = *how;
}

}  // namespace penstock
