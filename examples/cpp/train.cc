// Trains a logistic regression over a Penstock cluster with a training loop of its own.
//
//   train SCHEDULER [TOKEN_FILE]
//
// SCHEDULER is host:port, or the path of the scheduler's address file. Several of these programs may run at
// the same time: they share the table.
#include <algorithm>
#include <cmath>
#include <cstdio>
#include <memory>
#include <random>
#include <string>
#include <unordered_map>
#include <vector>

#include "penstock/client/client.h"

namespace {

using penstock::Client;
using penstock::Code;
using penstock::Key;
using penstock::Status;
using penstock::TableId;

struct Example {
  std::vector<Key> features;  // each with the value 1
  float label = 0;            // 0 or 1
};

// Labels come from hidden weights, so that there is something to learn.
std::vector<Example> MakeExamples(size_t count) {
  constexpr size_t kFeatures = 1000, kOnes = 20;
  std::mt19937_64 random(1);
  std::normal_distribution<float> normal;
  std::vector<float> hidden(kFeatures);
  for (float& weight : hidden) weight = normal(random);
  std::vector<Example> examples(count);
  for (Example& example : examples) {
    float score = 0;
    for (size_t i = 0; i < kOnes; ++i) {
      example.features.push_back(random() % kFeatures);
      score += hidden[example.features.back()];
    }
    example.label = score > 0 ? 1 : 0;
  }
  return examples;
}

// Rows are pulled and pushed by key, each of them once a minibatch.
struct Minibatch {
  std::vector<Key> keys;
  std::vector<std::vector<size_t>> positions;  // of each example's features in `keys`
  std::vector<float> labels;
};

Minibatch Gather(const std::vector<Example>& examples, size_t begin, size_t end) {
  Minibatch batch;
  std::unordered_map<Key, size_t> known;
  for (size_t i = begin; i < end; ++i) {
    std::vector<size_t>& positions = batch.positions.emplace_back();
    for (const Key key : examples[i].features) {
      const auto [entry, fresh] = known.emplace(key, batch.keys.size());
      if (fresh) batch.keys.push_back(key);
      positions.push_back(entry->second);
    }
    batch.labels.push_back(examples[i].label);
  }
  return batch;
}

// The sum of the losses; `gradient` gets that of their mean, a row a key.
double Compute(const Minibatch& batch, const std::vector<float>& weights, std::vector<float>* gradient) {
  gradient->assign(weights.size(), 0);
  double loss = 0;
  for (size_t i = 0; i < batch.labels.size(); ++i) {
    double score = 0;
    for (const size_t at : batch.positions[i]) score += weights[at];
    loss += std::log1p(std::exp(-std::abs(score))) + std::max(score, 0.0) - batch.labels[i] * score;
    const double delta = 1 / (1 + std::exp(-score)) - batch.labels[i];
    for (const size_t at : batch.positions[i])
      (*gradient)[at] += static_cast<float>(delta / static_cast<double>(batch.labels.size()));
  }
  return loss;
}

// Pushes and waits until the push is in the servers' logs. What the client could retry it has retried by the
// time that it reports an error, so what is left to decide is what the training wants.
Status PushGradient(Client& client, TableId table, const Minibatch& batch,
                    const std::vector<float>& gradient) {
  for (;;) {
    const auto pushed = client.Push(table, batch.keys, gradient);
    switch (pushed.status().code()) {
      case Code::kOk:
        return Status::Ok();
      case Code::kDeadlineExceeded:  // a server was away all the time, and nothing was applied
        std::fprintf(stderr, "%s; trying again\n", pushed.status().message().c_str());
        continue;
      case Code::kOutcomeUnknown:  // some rows may have taken the step: one minibatch more or less does not
                                   // matter
        std::fprintf(stderr, "%s; going on without it\n", pushed.status().message().c_str());
        return Status::Ok();
      default:  // a wrong call, damaged data, no right: nothing that waiting would mend
        return pushed.status();
    }
  }
}

Status Train(const std::string& scheduler, const std::string& token_file) {
  PENSTOCK_ASSIGN_OR_RETURN(
      const std::unique_ptr<Client> client,
      Client::Connect({.scheduler = scheduler, .token_file = token_file, .name = "example"}));

  // One float a key. The first program creates the table, the others get the same one.
  penstock::TableSpec spec{.name = "example/weights", .dim = 1};
  spec.optimizer = {.kind = penstock::OptimizerKind::kAdagrad, .learning_rate = 0.3f};
  spec.durability = penstock::Durability::kLogged;
  PENSTOCK_ASSIGN_OR_RETURN(spec, client->CreateTable(spec));

  constexpr size_t kBatch = 100;
  constexpr int kPasses = 5;
  const std::vector<Example> examples = MakeExamples(20000);
  std::vector<float> gradient;
  for (int pass = 1; pass <= kPasses; ++pass) {
    double loss = 0;
    for (size_t begin = 0; begin < examples.size(); begin += kBatch) {
      const Minibatch batch = Gather(examples, begin, std::min(begin + kBatch, examples.size()));
      PENSTOCK_ASSIGN_OR_RETURN(const std::vector<float> weights, client->Pull(spec.id, batch.keys));
      loss += Compute(batch, weights, &gradient);
      PENSTOCK_RETURN_IF_ERROR(PushGradient(*client, spec.id, batch, gradient));
    }
    std::printf("pass %d: loss %.4f\n", pass, loss / static_cast<double>(examples.size()));
  }
  return client->Flush();  // of tables with durability memory: waits until all of it is in the log
}

}  // namespace

int main(int argc, char** argv) {
  if (argc < 2 || argc > 3) {
    std::fprintf(stderr, "usage: train SCHEDULER [TOKEN_FILE]\n");
    return 2;
  }
  const Status status = Train(argv[1], argc == 3 ? argv[2] : "");
  if (!status.ok()) std::fprintf(stderr, "train: %s\n", status.ToString().c_str());
  return status.ok() ? 0 : 1;
}
