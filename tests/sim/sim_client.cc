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
      pusher_(cluster, self_, [](const UnitPosition&) {}) {}

void SimClient::Start() {
  world_.Start(self_);
  AskProducer();
}

void SimClient::AskProducer() {
  using Answer = std::optional<ProducerId>;
  world_.Call<Answer>(
      world_.Connect(self_, cluster_.scheduler.self()), Step::kNone, Step::kNone, 500,
      [&cluster = cluster_](auto reply) {
        const auto given = cluster.scheduler.NewProducer();
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

PushRequest SimClient::MakeUnit(Sequence sequence, const TableSpec& spec, ShardId shard) {
  UnitRecord unit{.shard = shard,
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
  const auto& tables = cluster_.options().tables;
  std::set<std::pair<size_t, ShardId>> places;  // one unit of a table and shard in a push
  for (uint64_t n = world_.Between(1, 3); n > 0; --n)
    places.emplace(world_.Pick(tables.size()), static_cast<ShardId>(world_.Pick(cluster_.options().shards)));
  std::vector<PushRequest> units;
  for (const auto& [table, shard] : places) units.push_back(MakeUnit(*sequence, tables[table], shard));
  pusher_.Push(
      std::move(units), [this] { return window_.low(); },
      [this, sequence = *sequence](const SimPusher::Result& result) {
        result.status.ok() ? window_.Finish(sequence, result.units) : window_.Fail(sequence);
      });
}

}  // namespace penstock::sim
