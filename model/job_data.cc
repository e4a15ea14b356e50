#include "model/job_data.h"

#include "model/job_check.h"

namespace penstock {

void JobData::Declare(OptionSet* o) {
  o->DescribeSection(
      "data", "What to learn from and what to test on. Relative paths are taken from the current directory.");
  o->Add("data", "train", &train,
         {.help = "File of the training examples (idx: of the images).", .required = true});
  o->Add("data", "test", &test, {.help = "File of the held-out examples; empty: none."});
  o->Add("data", "format", &format,
         {.help = "libsvm: one text file, 'label id:value ...' a line. idx: images and labels as MNIST has "
                  "them, plain or gzip.",
          .choices = {"libsvm", "idx"}});
  o->Add("data", "train_labels", &train_labels,
         {.help = "idx: file of the training labels; empty: the name of the images with 'labels-idx1' for "
                  "'images-idx3'."});
  o->Add("data", "test_labels", &test_labels,
         {.help = "idx: file of the held-out labels; empty: as for train_labels."});
  o->Add("data", "pixel_mean", &pixel_mean,
         {.help = "idx: subtracted from the pixels, which are scaled to 0..1. Centred data allow larger and "
                  "staler steps.",
          .min = 0,
          .max = 1});
  o->Add(
      "data", "max_bad_records", &max_bad_records,
      {.help = "How many malformed records of a partition are counted and skipped; one more fails the job.",
       .min = 0,
       .max = 1e15});
  o->Add("data", "partitions", &partitions,
         {.help = "Into how many pieces a file is cut, each leased to one worker at a time; 0: one for every "
                  "16 MiB, at least 8, none with "
                  "less than a minibatch.",
          .min = 0,
          .max = 65536});
}

Status JobData::Validate() const {
  const bool idx = format == "idx";
  RETURN_IF_ERROR(OnlyWith(idx, train_labels.empty(), "data.train_labels", "data.format 'idx'"));
  RETURN_IF_ERROR(OnlyWith(idx, test_labels.empty(), "data.test_labels", "data.format 'idx'"));
  RETURN_IF_ERROR(OnlyWith(idx, pixel_mean == 0, "data.pixel_mean", "data.format 'idx'"));
  return OnlyWith(!test.empty(), test_labels.empty(), "data.test_labels", "data.test");
}

}  // namespace penstock
