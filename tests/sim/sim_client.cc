#include "tests/sim/sim_client.h"

#include "tests/sim/sim_cluster.h"

namespace penstock::sim {
namespace {

constexpr size_t kInFlight = 6;
constexpr Key kSharedRows = 12;  // of a shard and table, pushed to by all
constexpr Key kProofs = 1'000'000;

}  // namespace

SimClient::SimClient(SimCluster& cluster, uint32_t number)
    : cluster_(cluster),
      world_(cluster.world),
      self_(cluster.world.Add(StrCat("client-", number))),
      pusher_(cluster, self_, [](ShardId, Epoch) {}) {}

void SimClient::Start() {
  world_.Start(self_);
  AskProducer();
}

void SimClient::AskProducer() {
  using Answer = std::optional<ProducerId>;
  world_.Call<Answer>(
      world_.Connect(self_, cluster_.scheduler.self()), Step::kNone, Step::kNone, 500,
      [this](auto reply) {
        const auto given = cluster_.scheduler.NewProducer();
        reply(given.ok() ? Answer(*given) : std::nullopt);
      },
      [this](std::optional<Answer> answer) {
        if (answer && *answer) {
          producer_ = **answer;
          return Next();
        }
        world_.After(self_, 200'000, Step::kNone, [this] { AskProducer(); });
      });
}

void SimClient::Next() {
  if (stopped_) return;
  if (window_.in_flight() < kInFlight) Push();
  const uint64_t every = cluster_.options().push_every_ms;
  world_.After(self_, world_.Between(every * 200, every * 1800), Step::kNone, [this] { Next(); });
}

PushRequest SimClient::MakeUnit(Sequence sequence) {
  const auto& tables = cluster_.options().tables;
  const TableSpec& spec = tables[world_.Pick(tables.size())];
  UnitRecord unit{.shard = static_cast<ShardId>(world_.Pick(cluster_.options().shards)),
                  .table = spec.id,
                  .level = spec.durability,
                  .keys = {kProofs + sequence * 100 + producer_},
                  .values = {1}};
  for (uint64_t n = world_.Pick(4); n > 0; --n) {
    unit.keys.push_back(world_.Pick(kSharedRows));
    unit.values.push_back(static_cast<float>(world_.Between(1, 9)));
  }
  PushRequest request{.unit = {.producer = producer_, .sequence = sequence},
                      .table = unit.table,
                      .shard = unit.shard,
                      .keys = unit.keys,
                      .values = unit.values};
  request.number = cluster_.truth.NewUnit(std::move(unit));
  return request;
}

void SimClient::Push() {
  const auto sequence = window_.BeginNext();
  if (!sequence.ok()) return;
  std::vector<PushRequest> units;
  for (uint64_t n = world_.Between(1, 3); n > 0; --n) {
    PushRequest unit = MakeUnit(*sequence);
    // One unit of a shard and table in a push.
    const bool there = std::any_of(units.begin(), units.end(), [&](const PushRequest& other) {
      return other.shard == unit.shard && other.table == unit.table;
    });
    if (there) cluster_.truth.OnOutcome(unit.number, UnitOutcome::kRefused, 0, 0);
    if (!there) units.push_back(std::move(unit));
  }
  const auto left = std::make_shared<size_t>(units.size());
  for (PushRequest& unit : units) {
    pusher_.Push(
        std::move(unit), [this] { return window_.low(); },
        [this, left, sequence = *sequence](const SimPusher::Result&) {
          if (--*left == 0) window_.Finish(sequence, {});
        });
  }
}

}  // namespace penstock::sim
