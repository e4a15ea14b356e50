#include "job/job_data.h"

#include <algorithm>
#include <cctype>
#include <filesystem>

#include "job/job_check.h"

namespace penstock {

void JobData::Declare(OptionSet* o) {
  o->DescribeSection(
      "data", "What to learn from and what to test on. Relative paths are taken from the current directory.");
  o->Add("data", "train", &train,
         {.help = "Files of the training examples (idx: of the images): names and patterns (* ? [...]), "
                  "separated by commas, read in the order of their names. Text files may be packed with gzip "
                  "or zstd; such a file is one partition.",
          .required = true});
  o->Add("data", "test", &test,
         {.help = "Files of the held-out examples, as for train; empty: none, or those of holdout_every."});
  o->Add("data", "format", &format,
         {.help = "libsvm: text, 'label id:value ...' a line. idx: images and labels as MNIST has "
                  "them, plain, gzip or zstd. csv, tsv: the columns of data.columns. ratings: user, item, "
                  "rating and "
                  "perhaps timestamp. clicklog: label, 13 numbers, 26 categories, as Criteo has them.",
          .choices = {"libsvm", "idx", "csv", "tsv", "ratings", "clicklog"}});
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
      "data", "columns", &columns,
      {.help = "csv and tsv: what each column is, as 'name:kind' or 'name:kind:missing'. Kinds: numeric, "
               "categorical, multi (several categories), label, weight, timestamp, ignore. missing: what an "
               "empty value of a numeric, categorical or weight column stands for; without it an empty "
               "category is none and an empty number malformed."});
  o->Add(
      "data", "header", &header,
      {.help = "csv, tsv, ratings: whether each file begins with a line of names; auto: it does if that line "
               "is the names of data.columns in their order (those of kind ignore do not matter), or "
               "(ratings) has no number. What looks like the other is refused.",
       .choices = {"auto", "yes", "no"}});
  o->Add("data", "delimiter", &delimiter,
         {.help = "csv, ratings: what stands between fields; empty: a comma. \\t is a tab. With several "
                  "characters, such as ::, fields are taken as they are, without quoting."});
  o->Add("data", "multi_separator", &multi_separator,
         {.help = "csv, tsv: the character between the values of a column of kind multi."});
  o->Add("data", "scale", &scale,
         {.help = "csv, tsv: what numeric columns become. none: what is written. standard: (x - mean) / "
                  "standard deviation, both of the training data when the job is submitted and kept with it. "
                  "log1p: sign(x) * log(1 + |x|), which clicklog has already.",
          .choices = {"none", "standard", "log1p"}});
  o->Add("data", "hash_buckets", &hash_buckets,
         {.help = "Data with categories: their ids are hashed to 0 to hash_buckets - 1, all fields together; "
                  "0: to 63 bits, where they practically never meet.",
          .unit = "ids",
          .min = 0,
          .max = 1e15});
  o->Add(
      "data", "max_bad_records", &max_bad_records,
      {.help = "How many malformed records of a partition are counted and skipped; one more fails the job.",
       .unit = "records",
       .min = 0,
       .max = 1e15});
  o->Add("data", "partitions", &partitions,
         {.help = "Into how many pieces a file is cut, each leased to one worker at a time; 0: one for every "
                  "16 MiB, at least 8, none with "
                  "less than a minibatch.",
          .unit = "partitions",
          .min = 0,
          .max = 65536});
  o->Add(
      "data", "holdout_every", &holdout_every,
      {.help = "Without test: the record whose index, from 0 over all files of train (headers not counted, "
               "empty and malformed lines counted), leaves holdout_offset when divided by this is tested "
               "on and not learned from; 0: none.",
       .unit = "records",
       .min = 0,
       .max = 1e15});
  o->Add(
      "data", "holdout_offset", &holdout_offset,
      {.help = "Which record of every holdout_every is held out.", .unit = "records", .min = 0, .max = 1e15});
}

namespace {

// How a tab is written where a shell or TOML passes the escape on.
std::string WithTab(const std::string& text) { return text == "\\t" ? "\t" : text; }

bool MaySeparate(char character) {
  const auto c = static_cast<unsigned char>(character);
  return c > 0x20 && c < 0x7f && std::isalnum(c) == 0 &&
         std::string_view("\"'+-._").find(character) == std::string_view::npos;
}

Status CheckSeparator(const std::string& key, const std::string& text, size_t longest) {
  if (WithTab(text) == "\t") return Status::Ok();
  if (!text.empty() && text.size() <= longest && std::ranges::all_of(text, MaySeparate)) return Status::Ok();
  return InvalidArgument(
      key + " is '" + text + "', allowed is a tab (\\t) or " +
      (longest == 1 ? "one character" : "1 to " + std::to_string(longest) + " characters") +
      " of ASCII that is no letter, digit, blank, quote, '+', '-', '.' or '_'");
}

}  // namespace

Status JobData::Validate() const {
  const bool idx = format == "idx";
  PENSTOCK_RETURN_IF_ERROR(OnlyWith(idx, train_labels.empty(), "data.train_labels", "data.format 'idx'"));
  PENSTOCK_RETURN_IF_ERROR(OnlyWith(idx, test_labels.empty(), "data.test_labels", "data.format 'idx'"));
  PENSTOCK_RETURN_IF_ERROR(OnlyWith(idx, pixel_mean == 0, "data.pixel_mean", "data.format 'idx'"));
  const auto columns_schema = FeatureSchema::Of(format, columns, hash_buckets);
  if (!columns_schema.ok()) return columns_schema.status().Prepend("data.columns");
  PENSTOCK_RETURN_IF_ERROR(OnlyWith(format == "csv" || format == "tsv", columns.empty(), "data.columns",
                                    "data.format 'csv' or 'tsv'"));
  const bool table = format == "csv" || format == "tsv";
  PENSTOCK_RETURN_IF_ERROR(OnlyWith(table || format == "ratings", header == "auto", "data.header",
                                    "data.format 'csv', 'tsv' or 'ratings'"));
  PENSTOCK_RETURN_IF_ERROR(OnlyWith(format == "csv" || format == "ratings", delimiter.empty(),
                                    "data.delimiter", "data.format 'csv' or 'ratings'"));
  const auto is_multi = [](const ColumnSpec& column) { return column.kind == ColumnKind::kMulti; };
  const bool multi = table && std::any_of((*columns_schema)->columns().begin(),
                                          (*columns_schema)->columns().end(), is_multi);
  PENSTOCK_RETURN_IF_ERROR(
      OnlyWith(multi, multi_separator == "|", "data.multi_separator", "a column of kind multi"));
  if (!delimiter.empty())
    PENSTOCK_RETURN_IF_ERROR(CheckSeparator("data.delimiter", delimiter, kMaxDelimiter));
  PENSTOCK_RETURN_IF_ERROR(CheckSeparator("data.multi_separator", multi_separator, 1));
  if (multi && field_delimiter().find(value_separator()) != std::string::npos) {
    return InvalidArgument("data.multi_separator is the character between fields, it must be another");
  }
  const bool numeric = table && (*columns_schema)->dim() > 0;
  PENSTOCK_RETURN_IF_ERROR(
      OnlyWith(numeric, scale == "none", "data.scale",
               "numeric columns of data.format 'csv' or 'tsv'" +
                   std::string(format == "clicklog" ? " (clicklog has its logarithm)" : "")));
  PENSTOCK_RETURN_IF_ERROR(OnlyWith(*columns_schema && (*columns_schema)->fields() > 0, hash_buckets == 0,
                                    "data.hash_buckets", "data that have categories"));
  PENSTOCK_RETURN_IF_ERROR(
      OnlyWith(test.empty(), holdout_every == 0, "data.holdout_every", "an empty data.test"));
  PENSTOCK_RETURN_IF_ERROR(
      OnlyWith(holdout_every != 0, holdout_offset == 0, "data.holdout_offset", "data.holdout_every above 0"));
  if (holdout_every == 1)
    return InvalidArgument("data.holdout_every is 1, which leaves nothing to learn from");
  if (holdout_every != 0 && holdout_offset >= holdout_every) {
    return InvalidArgument("data.holdout_offset is " + std::to_string(holdout_offset) +
                           ", it must be below data.holdout_every, " + std::to_string(holdout_every));
  }
  return OnlyWith(!test.empty(), test_labels.empty(), "data.test_labels", "data.test");
}

std::string JobData::field_delimiter() const {
  if (format == "tsv" || format == "clicklog") return "\t";
  return delimiter.empty() ? "," : WithTab(delimiter);
}

char JobData::value_separator() const { return WithTab(multi_separator)[0]; }

std::optional<FeatureSchema> JobData::schema() const {
  auto schema = FeatureSchema::Of(format, columns, hash_buckets);
  return schema.ok() ? std::move(*schema) : std::nullopt;
}

std::string AbsoluteFiles(const std::string& list) {
  std::string absolute;
  for (size_t begin = 0; begin <= list.size();) {
    const size_t comma = std::min(list.find(',', begin), list.size());
    const std::string name = list.substr(begin, comma - begin);
    if (begin > 0) absolute += ',';
    if (!name.empty()) absolute += std::filesystem::absolute(name).lexically_normal().string();
    begin = comma + 1;
  }
  return absolute;
}

}  // namespace penstock
