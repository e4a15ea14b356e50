#include "job/job_rows.h"

namespace penstock {

void JobRows::Declare(OptionSet* o) {
  o->DescribeSection(
      "admission",
      "When a feature gets a row in a table that has one a feature. Until then its gradients are "
      "dropped and it has its initial value. Not with train.consistency 'sync'.");
  o->Add("admission", "min_count", &min_count,
         {.help = "With the push that makes it so many. Counted in the servers' memory: a server that "
                  "restarts counts the features without a row anew.",
          .unit = "pushes",
          .min = 1,
          .max = (1 << 24) - 1});
  o->Add(
      "admission", "probability", &probability,
      {.help = "Each push counts with this probability; above 0. A push that is sent again draws the same.",
       .min = 0,
       .max = 1});
  o->DescribeSection(
      "expiry",
      "When the row of a feature goes; the feature begins anew at its initial value. Looked for "
      "every server.expire_interval_ms. Not with train.consistency 'sync'.");
  o->Add("expiry", "ttl_seconds", &ttl_seconds,
         {.help = "So long after its last push; 0: never. Not together with unused_passes.",
          .unit = "seconds",
          .max = 1 << 25});
  o->Add("expiry", "unused_passes", &unused_passes,
         {.help = "After so many whole passes of the job without a push; 0: never.",
          .unit = "passes",
          .max = 1 << 20});
  o->Add("expiry", "min_norm", &min_norm,
         {.help = "When the L2 norm of its values is below, and it was not pushed in the present pass (where "
                  "unused_passes is set) or for server.expire_interval_ms; 0: never.",
          .min = 0,
          .max = 1e30});
}

Status JobRows::Validate(const std::string& prefix) const {
  if (probability <= 0)
    return InvalidArgument(
        prefix + "admission.probability is 0, which would admit no feature; allowed is above 0 to 1");
  if (ttl_seconds > 0 && unused_passes > 0)
    return InvalidArgument(prefix + "expiry.ttl_seconds and " + prefix +
                           "expiry.unused_passes exclude each other");
  return Status::Ok();
}

AdmissionSpec JobRows::admission() const {
  return {.min_count = min_count > 1 ? min_count : 0, .probability = static_cast<float>(probability)};
}

ExpirySpec JobRows::expiry() const {
  return {
      .ttl_seconds = ttl_seconds, .unused_passes = unused_passes, .min_norm = static_cast<float>(min_norm)};
}

}  // namespace penstock
