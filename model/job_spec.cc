#include "model/job_spec.h"

#include <filesystem>
#include <nlohmann/json.hpp>

namespace penstock {
namespace {

constexpr uint64_t kMaxAllRows = 1 << 24;
constexpr double kMaxId = 9007199254740992.0;  // 2^53, exact as a double

void DeclareData(JobSpec::Data* d, OptionSet* o) {
  o->DescribeSection(
      "data", "What to learn from and what to test on. Relative paths are taken from the current directory.");
  o->Add("data", "train", &d->train,
         {.help = "File of the training examples (idx: of the images).", .required = true});
  o->Add("data", "test", &d->test, {.help = "File of the held-out examples; empty: none."});
  o->Add("data", "format", &d->format,
         {.help = "libsvm: one text file, 'label id:value ...' a line. idx: images and labels as MNIST has "
                  "them, plain or gzip.",
          .choices = {"libsvm", "idx"}});
  o->Add("data", "train_labels", &d->train_labels,
         {.help = "idx: file of the training labels; empty: the name of the images with 'labels-idx1' for "
                  "'images-idx3'."});
  o->Add("data", "test_labels", &d->test_labels,
         {.help = "idx: file of the held-out labels; empty: as for train_labels."});
  o->Add("data", "pixel_mean", &d->pixel_mean,
         {.help = "idx: subtracted from the pixels, which are scaled to 0..1. Centred data allow larger and "
                  "staler steps.",
          .min = 0,
          .max = 1});
  o->Add(
      "data", "max_bad_records", &d->max_bad_records,
      {.help = "How many malformed records of a partition are counted and skipped; one more fails the job.",
       .min = 0,
       .max = 1e15});
  o->Add("data", "partitions", &d->partitions,
         {.help = "Into how many pieces a file is cut, each leased to one worker at a time; 0: one for every "
                  "16 MiB, at least 8, none with "
                  "less than a minibatch.",
          .min = 0,
          .max = 65536});
}

void DeclareModel(JobSpec::Model* m, OptionSet* o) {
  o->DescribeSection("model", "What is trained. The objective is sum of losses + l1*|w| + l2/2*||w||^2.");
  o->Add(
      "model", "kind", &m->kind,
      {.help = "linear: weights by feature. deep: a multi-layer perceptron.", .choices = {"linear", "deep"}});
  o->Add("model", "loss", &m->loss,
         {.help = "logistic: labels -1 (or 0) and +1. softmax: labels 0 to classes - 1. squared: any number.",
          .choices = {"logistic", "softmax", "squared"}});
  o->Add("model", "classes", &m->classes,
         {.help = "Number of classes of softmax; 0 for other losses.", .min = 0, .max = 65536});
  o->Add("model", "features", &m->features,
         {.help = "Sparse data: ids are 0 to features - 1; 0: any id. Needed for deep, l1, l2 and l2_all. "
                  "Dense data say it themselves.",
          .min = 0,
          .max = kMaxId});
  o->Add("model", "hidden", &m->hidden,
         {.help = "deep: width of each hidden layer.", .min = 1, .max = 65536});
  o->Add("model", "activation", &m->activation,
         {.help = "deep: of the hidden layers.", .choices = {"relu", "tanh"}});
  o->Add("model", "bias", &m->bias, {.help = "linear: an intercept, never regularised."});
  o->Add("model", "l1", &m->l1,
         {.help = "linear: lambda of |w| in the objective, by subgradient.", .min = 0, .max = 1e12});
  o->Add("model", "l2", &m->l2,
         {.help = "linear: lambda of ||w||^2/2 in the objective.", .min = 0, .max = 1e12});
  o->Add("model", "l2_all", &m->l2_all,
         {.help = "linear: step all rows at every minibatch, which makes the gradient of l1 and l2 exact; "
                  "otherwise only the rows of "
                  "the minibatch's features are regularised."});
}

void DeclareOptimizer(JobSpec::Optimizer* p, OptionSet* o) {
  o->DescribeSection("optimizer",
                     "How the servers apply a gradient, the mean over a minibatch, to the rows it touches.");
  o->Add("optimizer", "kind", &p->kind,
         {.help = "The update formula.", .choices = {"sgd", "adagrad", "adam", "ftrl"}});
  o->Add("optimizer", "learning_rate", &p->learning_rate,
         {.help = "Above 0; alpha of ftrl.", .min = 0, .max = 1e6});
  o->Add("optimizer", "l1", &p->l1, {.help = "ftrl's lambda_1.", .min = 0, .max = 1e6});
  o->Add("optimizer", "l2", &p->l2,
         {.help = "Weight decay: l2*w is added to the gradient of each touched row; ftrl's lambda_2.",
          .min = 0,
          .max = 1e6});
  o->Add("optimizer", "beta1", &p->beta1, {.help = "adam.", .min = 0, .max = 0.9999999});
  o->Add("optimizer", "beta2", &p->beta2, {.help = "adam.", .min = 0, .max = 0.9999999});
  o->Add("optimizer", "epsilon", &p->epsilon, {.help = "adam and adagrad.", .min = 0, .max = 1});
  o->Add("optimizer", "beta", &p->beta, {.help = "ftrl.", .min = 0, .max = 1e6});
  o->Add("optimizer", "initial_accumulator", &p->initial_accumulator,
         {.help = "adagrad.", .min = 0, .max = 1e6});
}

void DeclareTrain(JobSpec::Train* t, OptionSet* o) {
  o->DescribeSection("train", "How the training runs.");
  o->Add("train", "passes", &t->passes, {.help = "Times through the training data.", .min = 1, .max = 1e6});
  o->Add("train", "batch_size", &t->batch_size,
         {.help = "Examples a minibatch, at each worker.", .min = 1, .max = 1 << 20});
  o->Add("train", "consistency", &t->consistency,
         {.help = "async: gradients are applied as they arrive.", .choices = {"async"}});
  o->Add("train", "durability", &t->durability,
         {.help = "When a push is answered: memory at once, logged when it survives a killed process, synced "
                  "when it survives power loss.",
          .choices = {"memory", "logged", "synced"}});
  o->Add("train", "seed", &t->seed, {.help = "Of initial weights and shuffling.", .min = 0, .max = kMaxId});
  o->Add("train", "shuffle", &t->shuffle,
         {.help = "Permute the examples of each partition anew in every pass."});
  o->Add("train", "inflight", &t->inflight,
         {.help = "Minibatches whose pushes a worker may have unanswered; more hides latency and computes on "
                  "older weights.",
          .min = 1,
          .max = 64});
  o->Add("train", "evaluate", &t->evaluate,
         {.help = "Evaluate on the training and the held-out data at the end."});
}

Status CheckName(const std::string& name) {
  const bool allowed =
      !name.empty() && name.size() <= 100 && std::isalnum(static_cast<unsigned char>(name[0])) &&
      name.find_first_not_of("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_.-") ==
          std::string::npos;
  if (allowed) return Status::Ok();
  return InvalidArgument(
      "job.name is '" + name +
      "', allowed are 1 to 100 letters, digits, '_', '.' and '-', a letter or digit first");
}

// A key that has no meaning beside another one must be at its default: nothing that is written is ignored.
Status Only(bool applies, bool is_default, const std::string& key, const std::string& where) {
  if (applies || is_default) return Status::Ok();
  return InvalidArgument(key + " has a meaning only with " + where);
}

Status CheckData(const JobSpec::Data& d) {
  const bool idx = d.format == "idx";
  RETURN_IF_ERROR(Only(idx, d.train_labels.empty(), "data.train_labels", "data.format 'idx'"));
  RETURN_IF_ERROR(Only(idx, d.test_labels.empty(), "data.test_labels", "data.format 'idx'"));
  RETURN_IF_ERROR(Only(idx, d.pixel_mean == 0, "data.pixel_mean", "data.format 'idx'"));
  return Only(!d.test.empty(), d.test_labels.empty(), "data.test_labels", "data.test");
}

Status CheckModel(const JobSpec& job) {
  const JobSpec::Model& m = job.model;
  const bool deep = m.kind == "deep", sparse = job.data.format == "libsvm";
  if (m.loss == "softmax" && m.classes < 2) {
    return InvalidArgument("model.classes is " + std::to_string(m.classes) +
                           ", model.loss 'softmax' needs at least 2");
  }
  RETURN_IF_ERROR(Only(m.loss == "softmax", m.classes == 0, "model.classes", "model.loss 'softmax'"));
  RETURN_IF_ERROR(Only(deep, m.hidden.empty(), "model.hidden", "model.kind 'deep'"));
  RETURN_IF_ERROR(Only(deep, m.activation == "relu", "model.activation", "model.kind 'deep'"));
  RETURN_IF_ERROR(Only(!deep, m.bias, "model.bias", "model.kind 'linear'"));
  RETURN_IF_ERROR(Only(!deep, m.l1 == 0, "model.l1", "model.kind 'linear'"));
  RETURN_IF_ERROR(
      Only(!deep, m.l2 == 0, "model.l2", "model.kind 'linear' (for 'deep' there is optimizer.l2)"));
  RETURN_IF_ERROR(Only(m.l1 > 0 || m.l2 > 0, !m.l2_all, "model.l2_all", "model.l1 or model.l2 above 0"));
  if (deep && m.hidden.empty()) {
    return InvalidArgument(
        "model.hidden is empty, model.kind 'deep' needs the width of at least one hidden layer");
  }
  if (sparse && m.features == 0 && (deep || m.l1 > 0 || m.l2 > 0)) {
    return InvalidArgument(
        "model.features is needed for model.kind 'deep', model.l1 and model.l2 on sparse data: "
        "one more than the largest feature id");
  }
  if (m.l2_all && m.features > kMaxAllRows) {
    return InvalidArgument("model.features is " + std::to_string(m.features) +
                           ", model.l2_all steps all rows and allows at most " + std::to_string(kMaxAllRows));
  }
  return Status::Ok();
}

Status CheckOptimizer(const JobSpec::Optimizer& p) {
  const JobSpec::Optimizer defaults;
  const bool adam = p.kind == "adam", adagrad = p.kind == "adagrad", ftrl = p.kind == "ftrl";
  if (p.learning_rate <= 0) return InvalidArgument("optimizer.learning_rate must be above 0");
  RETURN_IF_ERROR(
      Only(ftrl, p.l1 == 0, "optimizer.l1", "optimizer.kind 'ftrl' (for others there is model.l1)"));
  RETURN_IF_ERROR(Only(ftrl, p.beta == defaults.beta, "optimizer.beta", "optimizer.kind 'ftrl'"));
  RETURN_IF_ERROR(Only(adam, p.beta1 == defaults.beta1, "optimizer.beta1", "optimizer.kind 'adam'"));
  RETURN_IF_ERROR(Only(adam, p.beta2 == defaults.beta2, "optimizer.beta2", "optimizer.kind 'adam'"));
  RETURN_IF_ERROR(Only(adam || adagrad, p.epsilon == defaults.epsilon, "optimizer.epsilon",
                       "optimizer.kind 'adam' or 'adagrad'"));
  return Only(adagrad, p.initial_accumulator == 0, "optimizer.initial_accumulator",
              "optimizer.kind 'adagrad'");
}

void MakeAbsolute(std::string* path) {
  if (!path->empty()) *path = std::filesystem::absolute(*path).lexically_normal().string();
}

}  // namespace

void JobSpec::Declare(OptionSet* options) {
  options->DescribeSection("job", "The job itself.");
  options->Add("job", "name", &name,
               {.help = "Its tables are called <name>/weights, <name>/layer1, ...", .required = true});
  DeclareData(&data, options);
  DeclareModel(&model, options);
  DeclareOptimizer(&optimizer, options);
  DeclareTrain(&train, options);
}

Status JobSpec::Validate() const {
  RETURN_IF_ERROR(CheckName(name));
  RETURN_IF_ERROR(CheckData(data));
  RETURN_IF_ERROR(CheckModel(*this));
  return CheckOptimizer(optimizer);
}

LossKind JobSpec::loss() const {
  const auto kind = ParseLossKind(model.loss);
  return kind.ok() ? *kind : LossKind::kLogistic;
}

Durability JobSpec::durability() const {
  const auto level = ParseDurability(train.durability);
  return level.ok() ? *level : Durability::kLogged;
}

OptimizerSpec JobSpec::OptimizerOf() const {
  const auto kind = ParseOptimizerKind(optimizer.kind);
  return {.kind = kind.ok() ? *kind : OptimizerKind::kSgd,
          .learning_rate = static_cast<float>(optimizer.learning_rate),
          .l1 = static_cast<float>(optimizer.l1),
          .l2 = static_cast<float>(optimizer.l2),
          .beta1 = static_cast<float>(optimizer.beta1),
          .beta2 = static_cast<float>(optimizer.beta2),
          .epsilon = static_cast<float>(optimizer.epsilon),
          .beta = static_cast<float>(optimizer.beta),
          .initial_accumulator = static_cast<float>(optimizer.initial_accumulator)};
}

Result<JobSpec> LoadJob(const std::string& path, const std::vector<std::string>& overrides) {
  JobSpec job;
  OptionSet options;
  job.Declare(&options);
  RETURN_IF_ERROR(options.LoadFile(path));
  for (const std::string& assignment : overrides) RETURN_IF_ERROR(options.Set(assignment, "--set"));
  RETURN_IF_ERROR(options.Validate().Prepend(path));
  RETURN_IF_ERROR(job.Validate().Prepend(path));
  for (std::string* file : {&job.data.train, &job.data.test, &job.data.train_labels, &job.data.test_labels})
    MakeAbsolute(file);
  return job;
}

nlohmann::json JobToJson(const JobSpec& job) {
  JobSpec copy = job;
  OptionSet options;
  copy.Declare(&options);
  return options.ToJson();
}

Result<JobSpec> JobFromJson(const nlohmann::json& json) {
  nlohmann::json sections = json;
  if (sections.is_object()) sections.erase("plan");
  JobSpec job;
  OptionSet options;
  job.Declare(&options);
  RETURN_IF_ERROR(options.FromJson(sections, "job"));
  RETURN_IF_ERROR(options.Validate());
  RETURN_IF_ERROR(job.Validate());
  return job;
}

}  // namespace penstock
