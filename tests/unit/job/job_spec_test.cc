// Job files: what loads, what travels, and what each wrong file is told.
#include "job/job_spec.h"

#include <gtest/gtest.h>
#include <stdlib.h>

#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>

#include "model/model.h"

namespace penstock {
namespace {

constexpr char kLinear[] = R"([job]
name = "tiny"
[data]
train = "/data/train"
)";
constexpr char kDeep[] = R"([job]
name = "net"
[data]
train = "/data/train"
format = "idx"
[model]
kind = "deep"
loss = "softmax"
classes = 10
hidden = [20, 5]
)";

constexpr char kRatings[] = R"([job]
name = "films"
[data]
train = "/data/ratings"
format = "ratings"
[model]
kind = "mf"
loss = "squared"
)";
constexpr char kColumns[] = R"([job]
name = "shop"
[data]
train = "/data/log"
format = "csv"
columns = ["y:label", "age:numeric", "city:categorical", "tags:multi"]
)";

class JobSpecTest : public testing::Test {
 protected:
  JobSpecTest() {
    std::string pattern = (std::filesystem::temp_directory_path() / "penstock-test-XXXXXX").string();
    folder_ = mkdtemp(pattern.data());
  }
  ~JobSpecTest() override { std::filesystem::remove_all(folder_); }

  Result<JobSpec> Load(const std::string& text, const std::vector<std::string>& overrides = {}) {
    std::ofstream(folder_ / "job.toml") << text;
    return LoadJob(folder_ / "job.toml", overrides);
  }
  JobSpec MustLoad(const std::string& text, const std::vector<std::string>& overrides = {}) {
    auto job = Load(text, overrides);
    EXPECT_TRUE(job.ok()) << job.status().ToString();
    return job.ok() ? *job : JobSpec();
  }
  void ExpectRefused(const char* text, const std::vector<std::string>& overrides, const std::string& part) {
    SCOPED_TRACE(testing::PrintToString(overrides));
    const auto job = Load(text, overrides);
    ASSERT_FALSE(job.ok());
    EXPECT_EQ(job.status().code(), Code::kInvalidArgument);
    EXPECT_NE(job.status().message().find(part), std::string::npos) << job.status().message();
  }

  std::filesystem::path folder_;
};

TEST_F(JobSpecTest, FilesOfTheHouseLoad) {
  size_t files = 0;
  for (const auto& entry : std::filesystem::directory_iterator(PENSTOCK_SOURCE_DIR "/conf/jobs")) {
    SCOPED_TRACE(entry.path());
    const auto job = LoadJob(entry.path(), {});
    ASSERT_TRUE(job.ok()) << job.status().ToString();
    EXPECT_EQ(job->name, entry.path().stem());
    ++files;
  }
  EXPECT_GE(files, 3u);
}

TEST_F(JobSpecTest, AnOverrideOfWhatIsTestedOnTakesThePlaceOfTheFiles) {
  const std::string rule = R"(
[job]
name = "held-out"
[data]
train = "a"
holdout_every = 10
holdout_offset = 9
)";
  const JobSpec files = MustLoad(rule, {"data.test=/there/test"});
  EXPECT_EQ(files.data.test, "/there/test");
  EXPECT_EQ(files.data.holdout_every, 0u);
  EXPECT_EQ(files.data.holdout_offset, 0u);
  EXPECT_EQ(MustLoad(rule, {"data.test="}).data.holdout_every, 10u) << "nothing takes the place of nothing";
  const std::string named = "[job]\nname = \"named\"\n[data]\ntrain = \"a\"\ntest = \"b\"\n";
  const JobSpec held_out = MustLoad(named, {"data.holdout_every=5"});
  EXPECT_EQ(held_out.data.test, "");
  EXPECT_EQ(held_out.data.holdout_every, 5u);
  for (const std::vector<std::string>& both :
       {std::vector<std::string>{"data.test=x", "data.holdout_every=5"},
        {"data.test=x", "data.holdout_offset=1"}})
    ExpectRefused(rule.c_str(), both, "has a meaning only with");
}

TEST_F(JobSpecTest, ADirectoryIsNoJobFile) {
  const Status status = LoadJob(folder_, {}).status();
  EXPECT_EQ(status.code(), Code::kInvalidArgument);
  EXPECT_EQ(status.message(), "read " + folder_.string() + ": it is a directory, allowed is a file");
}

TEST_F(JobSpecTest, OverridesComeAfterTheFile) {
  const JobSpec job =
      MustLoad(kDeep, {"train.passes=7", "model.hidden=[3]", "train.passes=9", "optimizer.kind=adam"});
  EXPECT_EQ(job.train.passes, 9u);
  EXPECT_EQ(job.model.hidden, (std::vector<int64_t>{3}));
  EXPECT_EQ(job.table.optimizer.spec().kind, OptimizerKind::kAdam);
  EXPECT_EQ(job.DurabilityOf(job.table), Durability::kMemory);
}

TEST_F(JobSpecTest, PathsBecomeAbsolute) {
  const JobSpec job = MustLoad(kLinear, {"data.train=some/../file", "data.test=/there/test"});
  EXPECT_EQ(job.data.train, (std::filesystem::current_path() / "file").string());
  EXPECT_EQ(job.data.test, "/there/test");
}

TEST_F(JobSpecTest, TravelsAsJson) {
  const JobSpec job = MustLoad(kDeep, {"optimizer.learning_rate=0.25", "train.seed=123456789012"});
  auto json = nlohmann::json::parse(JobToJson(job).dump());
  json["plan"] = {{"anything", 1}};
  const auto back = JobFromJson(json);
  ASSERT_TRUE(back.ok()) << back.status().ToString();
  EXPECT_EQ(JobToJson(*back), JobToJson(job));
  EXPECT_EQ(back->train.seed, 123456789012u);
  json["train"]["batch_size"] = 0;
  EXPECT_NE(JobFromJson(json).status().message().find("train.batch_size"), std::string::npos);
}

TEST_F(JobSpecTest, SaysWhatIsWrong) {
  ExpectRefused("[job]\nname = \"x\"\n", {}, "data.train");
  ExpectRefused("[data]\ntrain = \"x\"\n", {}, "job.name");
  ExpectRefused(kLinear, {"job.name=a/b"}, "job.name is 'a/b', allowed are 1 to 100 letters");
  ExpectRefused(kLinear, {"train.passses=5"}, "did you mean 'passes'");
  ExpectRefused(kLinear, {"train.passes=0"}, "train.passes");
  ExpectRefused(kLinear, {"train.passes=two"}, "train.passes");
  ExpectRefused(kLinear, {"train.consistency=soon"}, "'async', 'ssp', 'sync'");
  ExpectRefused(kLinear, {"train.staleness=2"}, "train.consistency 'ssp'");
  ExpectRefused(kLinear, {"train.streams=2"}, "train.consistency 'sync'");
  ExpectRefused(kLinear, {"train.consistency=sync", "data.partitions=3"}, "train.streams");
  ExpectRefused(kLinear, {"train.consistency=sync", "train.batch_size=3"}, "train.streams, 4");
  ExpectRefused(kLinear, {"train.durability=never"}, "memory");
  ExpectRefused(kLinear, {"data.format=xml"}, "libsvm");
  ExpectRefused(kLinear, {"data.format=csv"}, "data.columns: no column is the label");
  ExpectRefused(kLinear, {"optimizer.learning_rate=nan"}, "optimizer.learning_rate");
}

TEST_F(JobSpecTest, RefusesKeysThatWouldBeIgnored) {
  ExpectRefused(kLinear, {"data.train_labels=x"},
                "data.train_labels has a meaning only with data.format 'idx'");
  ExpectRefused(kLinear, {"data.pixel_mean=0.5"},
                "data.pixel_mean has a meaning only with data.format 'idx'");
  ExpectRefused(kLinear, {"model.classes=3"}, "model.classes has a meaning only with model.loss 'softmax'");
  ExpectRefused(kLinear, {"model.hidden=[3]"}, "model.hidden has a meaning only with model.kind 'deep'");
  ExpectRefused(kLinear, {"model.activation=tanh"},
                "model.activation has a meaning only with model.kind 'deep'");
  ExpectRefused(kLinear, {"model.l2_all=true"}, "model.l2_all has a meaning only with");
  ExpectRefused(kLinear, {"optimizer.kind=sgd", "optimizer.l1=1"},
                "optimizer.l1 has no meaning for optimizer kind 'sgd', only for ftrl");
  ExpectRefused(kLinear, {"optimizer.kind=sgd", "optimizer.beta1=0.5"},
                "optimizer.beta1 has no meaning for optimizer kind 'sgd', only for adam, adamw");
  for (const char* key : {"beta2", "epsilon", "beta", "initial_accumulator", "momentum"})
    ExpectRefused(kLinear, {"optimizer.kind=sgd", std::string("optimizer.") + key + "=0.5"},
                  std::string("optimizer.") + key + " has");
  ExpectRefused(kLinear, {"schedule.decay_steps=10"},
                "schedule.decay_steps has no meaning for schedule kind 'constant'");
  ExpectRefused(kLinear, {"schedule.kind=step", "schedule.decay_steps=10", "schedule.minimum=0.5"},
                "schedule.minimum has no meaning for schedule kind 'step', only for cosine");
  ExpectRefused(kLinear, {"initializer.value=1"},
                "initializer.kind is 'model', which reads no other key of the section");
  ExpectRefused(kLinear, {"initializer.kind=zeros", "initializer.value=1"},
                "initializer.value has no meaning for initializer kind 'zeros', only for constant");
  ExpectRefused(kDeep, {"model.bias=false"}, "model.bias has a meaning only with model.kind 'linear'");
  ExpectRefused(kDeep, {"model.l2=1"}, "optimizer.l2");
  ExpectRefused(kDeep, {"data.test_labels=x"}, "data.test_labels has a meaning only with data.test");
}

TEST_F(JobSpecTest, RefusesWhatDoesNotGoTogether) {
  ExpectRefused(kLinear, {"model.loss=softmax"}, "model.classes is 0, model.loss 'softmax' needs at least 2");
  ExpectRefused(kLinear, {"model.l2=1"}, "model.features is needed");
  ExpectRefused(kLinear, {"model.l2=1", "model.l2_all=true", "model.features=100000000"},
                "allows at most 16777216");
  ExpectRefused(kDeep, {"model.hidden=[]"}, "model.hidden is empty");
  ExpectRefused(kDeep, {"data.format=libsvm"}, "model.features is needed");
}

TEST_F(JobSpecTest, ChecksOptimizerScheduleAndInitializer) {
  ExpectRefused(kLinear, {"optimizer.kind=add"}, "'momentum', 'nesterov', 'rmsprop', 'adamw', 'lamb'");
  ExpectRefused(kLinear, {"optimizer.clip_norm=-1"}, "optimizer.clip_norm = -1.0: must be a number from 0");
  ExpectRefused(kLinear, {"optimizer.kind=ftrl", "schedule.warmup_steps=5"},
                "a schedule (schedule.*) has no meaning for optimizer kind 'ftrl'");
  ExpectRefused(kLinear, {"schedule.kind=cosine"},
                "schedule.decay_steps is 0, schedule kind 'cosine' needs at least 1");
  ExpectRefused(kLinear, {"initializer.kind=uniform", "initializer.low=1"}, "initializer.high");
  ExpectRefused(kLinear, {"optimizer.kind=ftrl", "initializer.kind=constant"},
                "initializer.kind must be zeros for optimizer kind 'ftrl'");
}

const TableSpec& TableNamed(const Model& model, const std::string& name) {
  for (const TableSpec& table : model.Tables()) {
    if (table.name.ends_with("/" + name)) return table;
  }
  ADD_FAILURE() << "no table " << name;
  return model.Tables()[0];
}

constexpr DataShape kImages{.dense = true, .features = 784, .training_examples = 10};

TEST_F(JobSpecTest, ModelsTakeOptimizerScheduleAndInitializer) {
  const JobSpec job = MustLoad(
      kDeep, {"optimizer.kind=adamw", "optimizer.l2=0.01", "optimizer.clip_value=5", "optimizer.clip_norm=2",
              "schedule.kind=cosine", "schedule.warmup_steps=10", "schedule.decay_steps=100",
              "schedule.minimum=0.1", "initializer.kind=xavier", "train.durability=synced"});
  const auto model = CreateModel(job, kImages);
  ASSERT_TRUE(model.ok()) << model.status().ToString();
  for (const TableSpec& table : (*model)->Tables()) {
    EXPECT_EQ(table.optimizer, (OptimizerSpec{.kind = OptimizerKind::kAdamw,
                                              .learning_rate = 0.001f,
                                              .l2 = 0.01f,
                                              .clip_value = 5,
                                              .clip_norm = 2}));
    EXPECT_EQ(table.schedule,
              (ScheduleSpec{
                  .kind = ScheduleKind::kCosine, .warmup_steps = 10, .decay_steps = 100, .minimum = 0.1f}));
    EXPECT_EQ(table.durability, Durability::kSynced);
  }
  // The fans are those of the layer where the job names none.
  const InitializerSpec first{.kind = InitializerKind::kXavier, .fan_in = 784, .fan_out = 20};
  EXPECT_EQ(TableNamed(**model, "layer1").initializer, first);
  const JobSpec named = MustLoad(kDeep, {"initializer.kind=xavier", "initializer.fan_in=7"});
  EXPECT_EQ(TableNamed(**CreateModel(named, kImages), "layer2").initializer.fan_in, 7u);
  // A table that is no layer has none.
  const auto linear = CreateModel(MustLoad(kLinear, {"initializer.kind=xavier"}), {.training_examples = 10});
  EXPECT_NE(linear.status().message().find("initializer.fan_in and fan_out must be at least 1"),
            std::string::npos)
      << linear.status().message();
}

TEST_F(JobSpecTest, WhatAJobLeavesToTheModelSuitsIt) {
  const auto optimizer = [this](const char* text, const std::vector<std::string>& overrides) {
    return MustLoad(text, overrides).table.optimizer.spec();
  };
  const OptimizerSpec linear{
      .kind = OptimizerKind::kAdagrad, .learning_rate = 0.05f, .initial_accumulator = 0.1f};
  EXPECT_EQ(optimizer(kLinear, {}), linear);
  EXPECT_EQ(optimizer(kLinear, {"model.kind=fm"}).learning_rate, 0.02f);
  EXPECT_EQ(optimizer(kDeep, {}), (OptimizerSpec{.kind = OptimizerKind::kAdam, .learning_rate = 0.001f}));
  EXPECT_EQ(optimizer(kLinear, {"optimizer.learning_rate=0.5"}).learning_rate, 0.5f);
  EXPECT_EQ(optimizer(kLinear, {"optimizer.kind=sgd"}),
            (OptimizerSpec{.kind = OptimizerKind::kSgd, .learning_rate = 0.1f}));
  for (const auto& [kind, rate] : {std::pair{"adagrad", 0.1f}, {"momentum", 0.01f}, {"adam_row", 0.001f}})
    EXPECT_EQ(optimizer(kLinear, {std::string("optimizer.kind=") + kind}).learning_rate, rate) << kind;
  // What the job was submitted with stays, whatever later versions have for it.
  EXPECT_EQ(JobToJson(MustLoad(kLinear, {}))["optimizer"]["kind"], "adagrad");
}

// What a round has committed counts for all workers at once: it is never done again.
TEST_F(JobSpecTest, TablesAreOfMemoryButForThoseOfASyncJob) {
  const std::vector<std::pair<std::vector<std::string>, Durability>> cases = {
      {{}, Durability::kMemory},
      {{"train.consistency=ssp"}, Durability::kMemory},
      {{"train.consistency=sync"}, Durability::kLogged},
      {{"train.consistency=sync", "train.durability=memory"}, Durability::kLogged},
      {{"train.consistency=sync", "train.durability=synced"}, Durability::kSynced}};
  for (const auto& [overrides, durability] : cases) {
    const JobSpec job = MustLoad(kDeep, overrides);
    const auto model = CreateModel(job, kImages);
    ASSERT_TRUE(model.ok()) << model.status().ToString();
    for (const TableSpec& table : (*model)->Tables())
      EXPECT_EQ(table.durability, durability) << job.train.consistency;
  }
}

TEST_F(JobSpecTest, ATableMayHaveOptionsOfItsOwn) {
  const JobSpec job = MustLoad(std::string(kDeep) + R"(
[optimizer]
kind = "adam"
beta1 = 0.8
learning_rate = 0.02
[schedule]
warmup_steps = 7
[tables.layer1.optimizer]
kind = "sgd"
l2 = 0.5
[tables.layer2]
optimizer.learning_rate = 0.5
train.durability = "logged"
[tables.layer3]
initializer = { kind = "zeros" }
)",
                               {"tables.layer2.optimizer.beta1=0.7"});
  const auto model = CreateModel(job, kImages);
  ASSERT_TRUE(model.ok()) << model.status().ToString();
  const TableSpec &one = TableNamed(**model, "layer1"), &two = TableNamed(**model, "layer2"),
                  &three = TableNamed(**model, "layer3");
  // A kind of its own: nothing is taken over but what the table says nothing of.
  EXPECT_EQ(one.optimizer, (OptimizerSpec{.kind = OptimizerKind::kSgd, .learning_rate = 0.1f, .l2 = 0.5f}));
  EXPECT_EQ(one.schedule.warmup_steps, 7u);
  EXPECT_EQ(two.optimizer,
            (OptimizerSpec{.kind = OptimizerKind::kAdam, .learning_rate = 0.5f, .beta1 = 0.7f}));
  EXPECT_EQ(two.durability, Durability::kLogged);
  EXPECT_EQ(two.initializer.kind, InitializerKind::kUniform);
  EXPECT_EQ(three.optimizer,
            (OptimizerSpec{.kind = OptimizerKind::kAdam, .learning_rate = 0.02f, .beta1 = 0.8f}));
  EXPECT_EQ(three.initializer.kind, InitializerKind::kZeros);
  EXPECT_EQ(three.durability, Durability::kMemory);

  const auto back = JobFromJson(JobToJson(job));
  ASSERT_TRUE(back.ok()) << back.status().ToString();
  EXPECT_EQ(back->tables, job.tables);
  EXPECT_EQ((*CreateModel(*back, kImages))->Tables(), (*model)->Tables());
}

TEST_F(JobSpecTest, RowsComeAndGoInTablesWithARowAFeature) {
  const JobSpec job = MustLoad(kLinear, {"admission.min_count=3", "admission.probability=0.5",
                                         "expiry.unused_passes=2", "expiry.min_norm=0.25"});
  const auto model = CreateModel(job, {.training_examples = 10});
  ASSERT_TRUE(model.ok()) << model.status().ToString();
  const TableSpec& weights = TableNamed(**model, "weights");
  EXPECT_EQ(weights.admission, (AdmissionSpec{.min_count = 3, .probability = 0.5f}));
  EXPECT_EQ(weights.expiry, (ExpirySpec{.unused_passes = 2, .min_norm = 0.25f}));
  const auto back = JobFromJson(JobToJson(job));
  ASSERT_TRUE(back.ok()) << back.status().ToString();
  EXPECT_EQ((*CreateModel(*back, {.training_examples = 10}))->Tables(), (*model)->Tables());

  const JobSpec own = MustLoad(kLinear, {"expiry.unused_passes=2", "tables.weights.expiry.unused_passes=5"});
  EXPECT_EQ(TableNamed(**CreateModel(own, {.training_examples = 10}), "weights").expiry,
            (ExpirySpec{.unused_passes = 5}));
  EXPECT_EQ(TableNamed(**CreateModel(MustLoad(kLinear), {.training_examples = 10}), "weights").admission,
            AdmissionSpec{})
      << "a min_count of 1 is none";

  const auto refused = [](const Result<std::unique_ptr<Model>>& made, const std::string& part) {
    ASSERT_FALSE(made.ok());
    EXPECT_NE(made.status().message().find(part), std::string::npos) << made.status().message();
  };
  refused(CreateModel(MustLoad(kDeep, {"admission.min_count=2"}), kImages),
          "are for tables with a row a feature; model.kind 'deep' has none: layer1, layer2, layer3");
  refused(CreateModel(MustLoad(kDeep, {"tables.layer1.expiry.min_norm=1"}), kImages),
          "are for sparse tables");
  ExpectRefused(kLinear, {"expiry.unused_passes=2", "expiry.ttl_seconds=2"}, "exclude each other");
  ExpectRefused(kLinear, {"admission.probability=0"}, "admission.probability is 0");
  ExpectRefused(kLinear, {"admission.min_count=0"}, "admission.min_count");
  ExpectRefused(kLinear, {"admission.min_count=2", "train.consistency=sync"}, "train.consistency 'async'");
  ExpectRefused(kLinear,
                {"tables.weights.expiry.min_norm=1", "model.l2_all=true", "model.features=10", "model.l2=1"},
                "model.l2_all = false");
}

TEST_F(JobSpecTest, SaysWhatIsWrongWithATable) {
  ExpectRefused(kDeep, {"tables.layer1.optimizer.momentum=0.5"},
                "tables.layer1.optimizer.momentum has no meaning for optimizer kind 'adam'");
  ExpectRefused(kDeep, {"tables.layer1.optimizer.kind=sdg"},
                "--set: tables.layer1.optimizer.kind = \"sdg\": must be one of 'model', 'sgd', 'adagrad'");
  ExpectRefused(kDeep, {"tables.layer1.initializer.value=1"}, "tables.layer1.initializer.kind is 'model'");
  ExpectRefused(kDeep, {"tables.layer1.train.passes=1"},
                "section [tables.layer1.train] has no option 'passes'; it has: durability");
  ExpectRefused(kDeep, {"tables.layer1.data.train=x"}, "there is no section [tables.layer1.data]");
  const auto model = CreateModel(MustLoad(kDeep, {"tables.layr1.optimizer.l2=1"}), kImages);
  EXPECT_EQ(model.status().message(),
            "tables.layr1: model.kind 'deep' has no table 'layr1'; there are: layer1, layer2, layer3");
}

TEST_F(JobSpecTest, MakesLinearModels) {
  const JobSpec job = MustLoad(
      kLinear, {"model.loss=softmax", "model.classes=7", "optimizer.kind=ftrl", "train.durability=synced"});
  const auto model = CreateModel(job, {.features = 0, .training_examples = 10});
  ASSERT_TRUE(model.ok()) << model.status().ToString();
  ASSERT_EQ((*model)->Tables().size(), 1u);
  const TableSpec& table = (*model)->Tables()[0];
  EXPECT_EQ(table.name, "tiny/weights");
  EXPECT_EQ(table.dim, 7u);
  EXPECT_EQ(table.optimizer.kind, OptimizerKind::kFtrl);
  EXPECT_EQ(table.durability, Durability::kSynced);
}

TEST_F(JobSpecTest, MakesDeepModelsForTheirData) {
  const JobSpec job = MustLoad(kDeep);
  const auto model = CreateModel(job, {.dense = true, .features = 784, .training_examples = 10});
  ASSERT_TRUE(model.ok()) << model.status().ToString();
  ASSERT_EQ((*model)->Tables().size(), 3u);
  EXPECT_EQ((*model)->Tables()[0].dense_size, 784u * 20 + 20);
  EXPECT_EQ((*model)->Tables()[2].dense_size, 5u * 10 + 10);
  EXPECT_EQ((*model)->outputs(), 10u);

  JobSpec wrong = job;
  wrong.model.features = 100;
  EXPECT_NE(CreateModel(wrong, {.dense = true, .features = 784}).status().message().find("the data have 784"),
            std::string::npos);
}

TEST_F(JobSpecTest, RefusesKeysOfOtherModels) {
  for (const char* key : {"model.factors=3", "model.factor_l2=1"})
    ExpectRefused(kLinear, {key}, "has a meaning only with model.kind 'fm' or 'mf'");
  for (const char* key : {"model.embedding_dim=3", "model.pooling=sum"}) {
    ExpectRefused(kDeep, {key}, "has a meaning only with model.kind 'deep' on data that have categories");
    ExpectRefused(kColumns, {key}, "has a meaning only with model.kind 'deep' on data that have categories");
  }
  ExpectRefused(kLinear, {"model.wide=true"}, "model.wide has a meaning only with model.kind 'deep'");
  ExpectRefused(kLinear, {"model.center=true"}, "model.center has a meaning only with model.loss 'squared'");
  ExpectRefused(kRatings, {"model.center=true"}, "always holds for model.kind 'mf'");
  ExpectRefused(kLinear, {"model.kind=tree"}, "'linear', 'fm', 'mf', 'deep'");
  ExpectRefused(kRatings, {"model.pooling=max"}, "'mean', 'sum'");
  ExpectRefused(kRatings, {"model.factors=0"}, "model.factors");
  ExpectRefused(kRatings, {"model.l2=1", "model.l2_all=true"}, "model.l2_all has a meaning only with");
}

TEST_F(JobSpecTest, RefusesWeightsAndRulesThatWouldNotAct) {
  ExpectRefused(kLinear, {"model.class_weights=[1,2,3]"},
                "has 3 numbers, model.loss 'logistic' needs one for");
  ExpectRefused(kDeep, {"model.class_weights=[1,2]"}, "each of 10 labels");
  ExpectRefused(kRatings, {"model.class_weights=[1,2]"}, "model.class_weights has a meaning only with");
  ExpectRefused(kLinear, {"model.class_weights=[1,-2]"}, "a list of numbers, each from 0");
  EXPECT_EQ(MustLoad(kLinear, {"model.loss=hinge", "model.class_weights=0.5,2"}).model.class_weights,
            (std::vector<double>{0.5, 2}));
  ExpectRefused(kLinear, {"model.l2_scaled=true"}, "model.l2_scaled has a meaning only with model.l1");
  ExpectRefused(kLinear, {"model.l2_by_example=true"}, "model.l2_by_example has a meaning only with");
  ExpectRefused(kLinear, {"model.l2=1", "model.features=9", "model.l2_all=true", "model.l2_scaled=true"},
                "exclude one another");
  ExpectRefused(kLinear, {"model.loss=hinge", "train.evaluate_every=1", "train.early_stop_metric=rmse"},
                "which model.loss 'hinge' does not have");
}

TEST_F(JobSpecTest, RefusesModelsThatTheDataDoNotFit) {
  ExpectRefused(kRatings, {"model.loss=logistic"}, "model.kind 'mf' allows 'squared'");
  ExpectRefused(kLinear, {"model.kind=mf", "model.loss=squared"}, "data of two categorical columns");
  ExpectRefused(kColumns, {"model.kind=mf", "model.loss=squared"}, "data of two categorical columns");
  ExpectRefused(kColumns, {"model.kind=fm", "model.loss=softmax", "model.classes=3"},
                "model.kind 'fm' allows losses of one score only");
  ExpectRefused(kColumns, {"model.l2=1", "model.l2_all=true"}, "needs data.hash_buckets");
  ExpectRefused(kColumns, {"model.l2=1", "model.l2_all=true", "data.hash_buckets=20000000"},
                "20000001 features (data.hash_buckets)");
}

TEST_F(JobSpecTest, MakesFactorizationsForTheirData) {
  const JobSpec job = MustLoad(kRatings, {"model.factors=20", "tables.factors.optimizer.learning_rate=0.5",
                                          "model.l2=1", "model.l2_scaled=true"});
  const auto model =
      CreateModel(job, {.dense = true, .training_examples = 10, .label_mean = 3.5, .fields = 2});
  ASSERT_TRUE(model.ok()) << model.status().ToString();
  ASSERT_EQ((*model)->Tables().size(), 3u);
  EXPECT_EQ((*model)->Tables()[0].name, "films/weights");
  EXPECT_EQ((*model)->Tables()[1].name, "films/factors");
  EXPECT_EQ((*model)->Tables()[1].dim, 20u);
  EXPECT_FLOAT_EQ((*model)->Tables()[1].optimizer.learning_rate, 0.5f);
  EXPECT_EQ((*model)->Tables()[2].name, "films/counts");
  EXPECT_EQ((*model)->Tables()[2].optimizer.kind, OptimizerKind::kAdd);
  Batch batch;  // of one rating by nobody of nothing
  batch.rows = 1;
  batch.dense = true;
  batch.fields = 2;
  batch.field_offsets = {0, 0, 0};
  PreparedBatch prepared;
  (*model)->Prepare(batch, Purpose::kEvaluate, &prepared);
  const std::vector<float> bias{0.25f};
  EXPECT_FLOAT_EQ((*model)->Score(batch, prepared, {bias, {}, {}})[0], 3.75f);
}

TEST_F(JobSpecTest, MakesWideAndDeepModels) {
  const JobSpec job = MustLoad(kColumns, {"model.kind=deep", "model.hidden=[6]", "model.embedding_dim=5",
                                          "model.wide=true", "model.l2=1"});
  const auto model = CreateModel(job, {.dense = true, .features = 1, .training_examples = 10, .fields = 2});
  ASSERT_TRUE(model.ok()) << model.status().ToString();
  ASSERT_EQ((*model)->Tables().size(), 4u);
  EXPECT_EQ((*model)->Tables()[0].dense_size, (1u + 2 * 5) * 6 + 6);
  EXPECT_EQ((*model)->Tables()[2].name, "shop/embeddings");
  EXPECT_EQ((*model)->Tables()[3].name, "shop/weights");
  EXPECT_FALSE((*model)->objective().known);
}

TEST_F(JobSpecTest, MarkdownHasEveryKey) {
  JobSpec job;
  OptionSet options;
  job.Declare(&options);
  const std::string page = options.Markdown();
  const nlohmann::json sections = options.ToJson();
  for (const auto& [section, keys] : sections.items()) {
    for (const auto& [key, value] : keys.items())
      EXPECT_NE(page.find(key), std::string::npos) << section << "." << key;
  }
}

}  // namespace
}  // namespace penstock
