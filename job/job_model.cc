#include "job/job_model.h"

#include <algorithm>

#include "job/job_check.h"

namespace penstock {
namespace {

constexpr uint64_t kMaxAllRows = 1 << 24;

}  // namespace

void JobModel::Declare(OptionSet* o) {
  o->DescribeSection("model",
                     "What is trained. The objective is sum of losses + l1*|w| + l2/2*||w||^2 + "
                     "factor_l2/2*||v||^2; an example's loss counts by its weight where the data have one.");
  o->Add("model", "kind", &kind,
         {.help = "linear: weights by feature. fm: a factorization machine, weights and factors by feature, "
                  "whose products are the interactions of pairs. mf: the same on a user and an item, biased "
                  "matrix factorization. deep: a multi-layer perceptron on the numeric features and the "
                  "embeddings of the categories.",
          .choices = {"linear", "fm", "mf", "deep"}});
  o->Add("model", "loss", &loss,
         {.help = "logistic: labels -1 (or 0) and +1. hinge: the same labels, scores are margins. softmax: "
                  "labels 0 to classes - 1. squared: any number. fm has no softmax, mf only squared.",
          .choices = {"logistic", "softmax", "squared", "hinge"}});
  o->Add("model", "classes", &classes,
         {.help = "Number of classes of softmax; 0 for other losses.",
          .unit = "classes",
          .min = 0,
          .max = 65536});
  o->Add(
      "model", "class_weights", &class_weights,
      {.help =
           "logistic, hinge and softmax: by what the examples of each label count in training, beside "
           "their own weights: two numbers, for labels -1 (or 0) and +1, or one for each class; empty: all "
           "1. Metrics do not go by them.",
       .min = 0,
       .max = 1e9});
  o->Add("model", "features", &features,
         {.help = "Sparse data: ids are 0 to features - 1; 0: any id. Needed for deep, and for l1 and l2 of "
                  "linear. Dense data say it themselves.",
          .unit = "features",
          .min = 0,
          .max = kMaxWholeNumber});
  o->Add("model", "center", &center,
         {.help = "Squared loss: add the mean label of the training data to every score, so that the weights "
                  "only have to learn what differs from it. mf always does."});
  o->Add("model", "bias", &bias,
         {.help = "linear, fm, mf, and deep with wide: an intercept, never regularised."});
  o->Add("model", "l1", &l1,
         {.help = "linear, fm, mf, and deep with wide: lambda of |w| in the objective, by subgradient; w are "
                  "the weights by feature.",
          .min = 0,
          .max = 1e12});
  o->Add("model", "l2", &l2,
         {.help = "linear, fm, mf, and deep with wide: lambda of ||w||^2/2 in the objective; w are the "
                  "weights by feature. Only the rows of a minibatch's features are regularised, each once a "
                  "minibatch, unless l2_all, l2_scaled or l2_by_example says otherwise.",
          .min = 0,
          .max = 1e12});
  o->Add("model", "l2_all", &l2_all,
         {.help = "linear: step all rows at every minibatch, which makes the gradient of l1 and l2 exact; "
                  "otherwise only the rows of the minibatch's features are regularised. Needs data whose "
                  "features are bounded: model.features, dense data, or data.hash_buckets."});
  o->Add("model", "l2_scaled", &l2_scaled,
         {.help = "Step only the rows of a minibatch's features, but regularise (l1, l2, factor_l2) each "
                  "n/n_f times "
                  "as much, n being the minibatches so far and n_f those with its feature, which a table "
                  "<name>/counts counts: in the mean as much as l2_all does."});
  o->Add(
      "model", "l2_by_example", &l2_by_example,
      {.help = "The objective has the regularisers (l1, l2, factor_l2) of a feature once for every example "
               "that has it, as matrix factorization is usually written: lambdas are then of one example, "
               "usually 0.01 to 1."});
  o->Add("model", "factors", &factors,
         {.help = "fm, mf: floats of the vector that each feature has; more can say more and overfit sooner.",
          .unit = "floats",
          .min = 1,
          .max = 65536});
  o->Add("model", "factor_l2", &factor_l2,
         {.help = "fm, mf: lambda of ||v||^2/2 in the objective, v being the factors; of which rows, and "
                  "how often, as for l2.",
          .min = 0,
          .max = 1e12});
  o->Add("model", "hidden", &hidden,
         {.help = "deep: width of each hidden layer.", .unit = "units", .min = 1, .max = 65536});
  o->Add("model", "activation", &activation,
         {.help = "deep: of the hidden layers.", .choices = {"relu", "tanh"}});
  o->Add("model", "embedding_dim", &embedding_dim,
         {.help = "deep on data with categories: floats of the vector that each category has. The inputs of "
                  "the network are the numeric features, then so many floats a field.",
          .unit = "floats",
          .min = 1,
          .max = 65536});
  o->Add("model", "pooling", &pooling,
         {.help = "deep on data with categories: what a field with several categories gives, the mean or the "
                  "sum of their embeddings. A field with none gives zeros.",
          .choices = {"mean", "sum"}});
  o->Add("model", "wide", &wide,
         {.help = "deep: add a linear model on the same features and categories to the scores (wide & deep, "
                  "Cheng et al. 2016)."});
}

Status JobModel::Validate() const {
  const bool linear_term = !deep() || wide;
  const std::string by_feature = "model.kind 'linear', 'fm' or 'mf' or with model.wide";
  if (loss == "softmax" && classes < 2) {
    return InvalidArgument("model.classes is " + std::to_string(classes) +
                           ", model.loss 'softmax' needs at least 2");
  }
  if (kind == "mf" && loss != "squared") {
    return InvalidArgument("model.loss is '" + loss + "', model.kind 'mf' allows 'squared'");
  }
  if (kind == "fm" && loss == "softmax") {
    return InvalidArgument("model.loss is 'softmax', model.kind 'fm' allows losses of one score only");
  }
  PENSTOCK_RETURN_IF_ERROR(
      OnlyWith(loss == "softmax", classes == 0, "model.classes", "model.loss 'softmax'"));
  PENSTOCK_RETURN_IF_ERROR(OnlyWith(loss == "squared" && kind != "mf", !center, "model.center",
                                    "model.loss 'squared' (and always holds for model.kind 'mf')"));
  PENSTOCK_RETURN_IF_ERROR(OnlyWith(deep(), hidden.empty(), "model.hidden", "model.kind 'deep'"));
  PENSTOCK_RETURN_IF_ERROR(OnlyWith(deep(), activation == "relu", "model.activation", "model.kind 'deep'"));
  PENSTOCK_RETURN_IF_ERROR(OnlyWith(deep(), !wide, "model.wide", "model.kind 'deep'"));
  PENSTOCK_RETURN_IF_ERROR(OnlyWith(linear_term, bias, "model.bias", by_feature));
  PENSTOCK_RETURN_IF_ERROR(OnlyWith(linear_term, l1 == 0, "model.l1", by_feature));
  PENSTOCK_RETURN_IF_ERROR(
      OnlyWith(linear_term, l2 == 0, "model.l2",
               by_feature + " (for the layers and embeddings of 'deep' there is optimizer.l2)"));
  PENSTOCK_RETURN_IF_ERROR(OnlyWith(kind == "linear" && (l1 > 0 || l2 > 0), !l2_all, "model.l2_all",
                                    "model.kind 'linear' and model.l1 or model.l2 above 0"));
  const int rules = l2_all + l2_scaled + l2_by_example;
  if (rules > 1) {
    return InvalidArgument("model.l2_all, model.l2_scaled and model.l2_by_example exclude one another");
  }
  const bool regularized = l1 > 0 || l2 > 0 || factor_l2 > 0;
  const std::string needs = "model.l1, model.l2 or model.factor_l2 above 0";
  PENSTOCK_RETURN_IF_ERROR(OnlyWith(regularized, !l2_scaled, "model.l2_scaled", needs));
  PENSTOCK_RETURN_IF_ERROR(OnlyWith(regularized, !l2_by_example, "model.l2_by_example", needs));
  PENSTOCK_RETURN_IF_ERROR(OnlyWith(loss != "squared", class_weights.empty(), "model.class_weights",
                                    "model.loss 'logistic', 'hinge' or 'softmax'"));
  const size_t labels = loss == "softmax" ? classes : 2;
  if (!class_weights.empty() && class_weights.size() != labels) {
    return InvalidArgument("model.class_weights has " + std::to_string(class_weights.size()) +
                           " numbers, model.loss '" + loss + "' needs one for each of " +
                           std::to_string(labels) + " labels");
  }
  const JobModel defaults;
  const std::string factorized = "model.kind 'fm' or 'mf'";
  PENSTOCK_RETURN_IF_ERROR(OnlyWith(factorizes(), factors == defaults.factors, "model.factors", factorized));
  PENSTOCK_RETURN_IF_ERROR(OnlyWith(factorizes(), factor_l2 == 0, "model.factor_l2", factorized));
  if (deep() && hidden.empty()) {
    return InvalidArgument(
        "model.hidden is empty, model.kind 'deep' needs the width of at least one hidden layer");
  }
  return Status::Ok();
}

Status JobModel::ValidateFor(const JobData& data) const {
  const auto schema = data.schema();
  const uint64_t fields = schema ? schema->fields() : 0;
  const bool sparse = data.format == "libsvm";
  if (sparse && features == 0 && (deep() || (kind == "linear" && (l1 > 0 || l2 > 0)))) {
    return InvalidArgument(
        "model.features is needed for model.kind 'deep', and for model.l1 and model.l2 of 'linear', on "
        "sparse "
        "data: one more than the largest feature id");
  }
  const auto is_categorical = [](const ColumnSpec& c) { return c.kind == ColumnKind::kCategorical; };
  if (kind == "mf" && (!schema || schema->dim() > 0 || fields != 2 ||
                       std::ranges::count_if(schema->columns(), is_categorical) != 2)) {
    return InvalidArgument(
        "model.kind 'mf' needs data of two categorical columns, user and item, and no numeric one: "
        "data.format 'ratings', or such data.columns ('fm' takes any)");
  }
  if (l2_all) {
    if (fields > 0 && data.hash_buckets == 0) {
      return InvalidArgument(
          "model.l2_all on data with categories needs data.hash_buckets, which bounds the features");
    }
    const uint64_t rows = fields > 0 ? schema->dim() + data.hash_buckets : features;
    if (rows > kMaxAllRows) {
      return InvalidArgument("the data have " + std::to_string(rows) + " features (" +
                             (fields > 0 ? "data.hash_buckets" : "model.features") +
                             "), model.l2_all steps all rows and allows at most " +
                             std::to_string(kMaxAllRows));
    }
  }
  const JobModel defaults;
  const bool embeds = deep() && fields > 0;
  const std::string where = "model.kind 'deep' on data that have categories";
  PENSTOCK_RETURN_IF_ERROR(
      OnlyWith(embeds, embedding_dim == defaults.embedding_dim, "model.embedding_dim", where));
  return OnlyWith(embeds, pooling == defaults.pooling, "model.pooling", where);
}

}  // namespace penstock
