// FakeCluster: a scheduler and servers of a few lines each, on one loop in this process, that misbehave as a
// test tells them to.
//
// The servers keep rows (pushes are added), remember units, and log every call; a row that was never pushed
// is FakeValue(key, column) in each column.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "client/client.h"
#include "common/cluster/shard_map.h"
#include "common/cluster/wire.h"
#include "common/net/rpc_server.h"
#include "proto/control.capnp.h"
#include "proto/data.capnp.h"

namespace penstock {

inline float FakeValue(Key key, uint32_t column) {
  return static_cast<float>(key % 4096) + 0.25f * static_cast<float>(column);
}

struct SeenGroup {
  TableId table = 0;
  ShardId shard = 0;
  Epoch epoch = 0;
  uint32_t count = 0;
  bool operator==(const SeenGroup&) const = default;
};

struct SeenCall {
  bool push = false;
  size_t server = 0;
  ProducerId producer = 0;
  Sequence sequence = 0;
  Sequence low = 0;
  PushOptions options;  // of a push; without the deadline
  std::vector<SeenGroup> groups;
};

// What a server shall do with a call or a group instead of the right thing.
struct FakeFault {
  Code code = Code::kOk;
  uint32_t retry_after_ms = 0;
  Epoch epoch = 0;
  std::string message;
};

enum class CallFault { kNone, kSwallow, kApplyAndSwallow, kApplyAndDisconnect, kDisconnect };

class FakeCluster {
 public:
  struct Options {
    uint32_t shards = 8;
    size_t servers = 2;
    std::string token;
  };

  explicit FakeCluster(Options options = {8, 2, ""}) : options_(options), loop_("fake") {
    identity_ = std::make_shared<ClusterIdentity>();
    identity_->cluster = 77;
    identity_->name = "fake";
    identity_->token = options.token;
    loop_.Run([this] {
      map_.version = 1;
      map_.term = 1;
      map_.shards.resize(options_.shards);
      servers_.resize(options_.servers);
      for (size_t s = 0; s < servers_.size(); ++s) Listen(s);
      for (uint32_t i = 0; i < options_.shards; ++i) {
        map_.shards[i] = {.epoch = 1, .node = 0, .endpoint = "", .state = ShardState::kServing, .detail = ""};
        PlaceShard(i, i % servers_.size());
        epochs_[i] = 1;
      }
      ListenScheduler();
    });
    address_ = loop_.Run([this] { return scheduler_->endpoint(); });
  }
  ~FakeCluster() {
    loop_.Run([this] {
      servers_.clear();
      scheduler_.reset();
    });
    loop_.Stop();
  }

  const std::string& address() const { return address_; }
  // Runs on the cluster's thread: everything below is to be used in there.
  template <typename Fn>
  auto Run(Fn fn) {
    return loop_.Run(std::move(fn));
  }

  // --- In Run only ---
  ShardMap& map() { return map_; }
  void PlaceShard(ShardId shard, size_t server) {
    map_.shards[shard].node = static_cast<NodeId>(server + 1);
    map_.shards[shard].endpoint = endpoint(server);
    owner_[shard] = server;
  }
  std::string endpoint(size_t server) { return "127.0.0.1:" + std::to_string(servers_[server].port); }
  void StopServer(size_t server) { servers_[server].rpc.reset(); }
  void StartServer(size_t server) { Listen(server); }
  void StopScheduler() { scheduler_.reset(); }
  void StartScheduler() { ListenScheduler(); }
  std::vector<SeenCall> pushes() const { return Filter(true); }
  std::vector<SeenCall> pulls() const { return Filter(false); }
  size_t units() const { return units_.size(); }
  size_t duplicates() const { return duplicates_; }
  size_t most_at_once() const { return most_at_once_; }
  size_t map_calls() const { return map_calls_; }
  const std::map<std::pair<TableId, Key>, std::vector<float>>& rows() const { return rows_; }
  std::map<ShardId, Epoch>& epochs() { return epochs_; }  // what the servers know
  std::map<ShardId, Lsn>& lsns() { return lsns_; }
  std::map<ShardId, Lsn>& logged() { return logged_; }
  std::map<ShardId, HeldBefore>& held() { return held_; }  // by default all is held since epoch 1
  // Asked for every group, before anything else.
  std::function<std::optional<FakeFault>(const SeenCall&, const SeenGroup&)> on_group;
  // Asked for every call.
  std::function<CallFault(const SeenCall&)> on_call;
  bool log_at_once = true;
  uint64_t answer_after_ms = 0;

 private:
  struct FakeServer {
    uint16_t port = 0;
    std::unique_ptr<RpcServer> rpc;
  };

  class Data final : public proto::DataPlane::Server {
   public:
    Data(FakeCluster& cluster, size_t server) : cluster_(cluster), server_(server) {}
    kj::Promise<void> pull(PullContext context) override { return cluster_.Pull(server_, context); }
    kj::Promise<void> push(PushContext context) override { return cluster_.Push(server_, context); }
    kj::Promise<void> flush(FlushContext context) override {
      const auto shards = context.getParams().getShards();
      auto out = context.getResults().initShards(shards.size());
      for (uint32_t i = 0; i < shards.size(); ++i) {
        const ShardId shard = shards[i].getShard();
        cluster_.logged_[shard] = cluster_.lsns_[shard];
        cluster_.Answer({}, {0, shard, shards[i].getEpoch(), 1}, out[i]);
      }
      return kj::READY_NOW;
    }
    kj::Promise<void> stats(StatsContext context) override {
      return cluster_.loop_.Sleep(cluster_.answer_after_ms).then([this, context]() mutable {
        Stats(context);
      });
    }
    void Stats(StatsContext context) {
      const auto params = context.getParams();
      auto results = context.getResults();
      auto shards = results.initShards(params.getShards().size());
      for (uint32_t i = 0; i < shards.size(); ++i) {
        cluster_.Answer({}, {0, params.getShards()[i].getShard(), params.getShards()[i].getEpoch(), 1},
                        shards[i]);
      }
      auto stats = results.initStats(params.getTables().size());
      for (uint32_t t = 0; t < stats.size(); ++t) {
        stats[t].setTable(params.getTables()[t]);
        stats[t].setRows(params.getShards().size() * 10);
        stats[t].setSumSquares(0.5 * params.getShards().size());
      }
    }

   private:
    FakeCluster& cluster_;
    const size_t server_;
  };

  class Control final : public proto::Scheduler::Server {
   public:
    explicit Control(FakeCluster& cluster) : cluster_(cluster) {}
    kj::Promise<void> shardMap(ShardMapContext context) override {
      ++cluster_.map_calls_;
      if (context.getParams().getKnownVersion() != cluster_.map_.version)
        WriteShardMap(cluster_.map_, context.getResults().initMap());
      return kj::READY_NOW;
    }
    kj::Promise<void> createTable(CreateTableContext context) override {
      auto spec = ReadTableSpec(context.getParams().getSpec());
      if (!spec.ok()) {
        WriteStatus(spec.status(), context.getResults().initStatus());
        return kj::READY_NOW;
      }
      for (const auto& [id, table] : cluster_.tables_) {
        if (table.name == spec->name) spec->id = id;
      }
      if (spec->id == 0) spec->id = static_cast<TableId>(cluster_.tables_.size() + 1);
      cluster_.tables_[spec->id] = *spec;
      WriteTableSpec(*spec, context.getResults().initSpec());
      return kj::READY_NOW;
    }
    kj::Promise<void> openTable(OpenTableContext context) override {
      for (const auto& [id, table] : cluster_.tables_) {
        if (table.name == context.getParams().getName().cStr()) {
          WriteTableSpec(table, context.getResults().initSpec());
          return kj::READY_NOW;
        }
      }
      WriteStatus(NotFound("table '" + std::string(context.getParams().getName().cStr()) + "'"),
                  context.getResults().initStatus());
      return kj::READY_NOW;
    }
    kj::Promise<void> dropTable(DropTableContext context) override {
      std::erase_if(cluster_.tables_,
                    [&](auto& t) { return t.second.name == context.getParams().getName().cStr(); });
      return kj::READY_NOW;
    }
    kj::Promise<void> newProducers(NewProducersContext context) override {
      context.getResults().setFirst(cluster_.next_producer_);
      cluster_.next_producer_ += context.getParams().getCount();
      return kj::READY_NOW;
    }
    kj::Promise<void> inspect(InspectContext context) override {
      const std::string what = context.getParams().getWhat().cStr();
      context.getResults().setJson(what == "nonsense" ? "{" : "{\"what\": \"" + what + "\"}");
      return kj::READY_NOW;
    }
    kj::Promise<void> submitJob(SubmitJobContext context) override {
      context.getResults().setJob(4);
      if (context.getParams().getSpec() == "\"swallow\"") return kj::NEVER_DONE;
      return kj::READY_NOW;
    }

   private:
    FakeCluster& cluster_;
  };

  void Listen(size_t s) {
    RpcServerOptions options;
    options.port = servers_[s].port;
    auto rpc = RpcServer::Listen(loop_, identity_, options, kj::heap<Data>(*this, s));
    if (!rpc.ok()) throw std::runtime_error(rpc.status().ToString());
    servers_[s].rpc = std::move(*rpc);
    servers_[s].port = servers_[s].rpc->port();
  }
  void ListenScheduler() {
    RpcServerOptions options;
    options.port = scheduler_port_;
    auto rpc = RpcServer::Listen(loop_, identity_, options, kj::heap<Control>(*this));
    if (!rpc.ok()) throw std::runtime_error(rpc.status().ToString());
    scheduler_ = std::move(*rpc);
    scheduler_port_ = scheduler_->port();
  }

  std::vector<SeenCall> Filter(bool push) const {
    std::vector<SeenCall> calls;
    for (const SeenCall& call : seen_) {
      if (call.push == push) calls.push_back(call);
    }
    return calls;
  }

  template <typename Request>
  SeenCall See(size_t server, bool push, Request request) {
    SeenCall call;
    call.push = push;
    call.server = server;
    for (auto table : request.getTables()) {
      for (auto group : table.getGroups()) {
        call.groups.push_back({table.getTable(), group.getShard(), group.getEpoch(), group.getCount()});
      }
    }
    return call;
  }

  // True when the group is to be served.
  bool Answer(const SeenCall& call, const SeenGroup& group, proto::GroupResult::Builder out) {
    std::optional<FakeFault> fault = on_group ? on_group(call, group) : std::nullopt;
    const Epoch known = epochs_[group.shard];
    if (!fault && group.epoch != known) fault = FakeFault{Code::kWrongEpoch, 0, known, "wrong epoch"};
    if (!fault && !call.groups.empty() && owner_[group.shard] != call.server)
      fault = FakeFault{Code::kWrongEpoch, 0, 0, "not here"};
    out.setEpoch(fault ? fault->epoch : group.epoch);
    if (fault) {
      out.setCode(static_cast<proto::Code>(fault->code));
      out.setRetryAfterMs(fault->retry_after_ms);
      out.setMessage(fault->message);
      return false;
    }
    out.setLsn(lsns_[group.shard]);
    out.setLogged(logged_[group.shard]);
    const HeldBefore held = held_.contains(group.shard) ? held_[group.shard] : HeldBefore{.since = 1};
    out.setLedSince(held.since);
    out.setHeldFrom(held.from);
    out.setHeldTo(held.to);
    out.setHeldUpTo(held.up_to);
    return true;
  }

  kj::Promise<void> Finish(CallFault fault, size_t server) {
    if (fault == CallFault::kNone) {
      most_at_once_ = std::max(most_at_once_, ++at_once_);
      auto wait = answer_after_ms == 0 ? kj::Promise<void>(kj::READY_NOW) : loop_.Sleep(answer_after_ms);
      return wait.then([this] { --at_once_; });
    }
    if (fault == CallFault::kDisconnect || fault == CallFault::kApplyAndDisconnect) {
      loop_.Post([this, server] {
        StopServer(server);
        StartServer(server);
      });
    }
    return kj::NEVER_DONE;
  }

  kj::Promise<void> Pull(
      size_t server,
      capnp::CallContext<proto::DataPlane::PullParams, proto::DataPlane::PullResults> context) {
    const auto request = context.getParams().getRequest();
    const SeenCall call = See(server, false, request);
    seen_.push_back(call);
    const CallFault fault = on_call ? on_call(call) : CallFault::kNone;
    auto tables = context.getResults().initResponse().initTables(request.getTables().size());
    for (uint32_t t = 0; t < tables.size(); ++t) {
      const auto in = request.getTables()[t];
      const uint32_t dim = tables_.at(in.getTable()).dim;
      auto groups = tables[t].initGroups(in.getGroups().size());
      const Key* key = reinterpret_cast<const Key*>(in.getKeys().begin());
      std::vector<float> values;
      std::vector<bool> stored;
      for (uint32_t g = 0; g < groups.size(); ++g) {
        const auto group = in.getGroups()[g];
        const bool ok =
            Answer(call, {in.getTable(), group.getShard(), group.getEpoch(), group.getCount()}, groups[g]);
        for (uint32_t i = 0; i < group.getCount(); ++i, ++key) {
          if (!ok) continue;
          auto row = rows_.find({in.getTable(), *key});
          stored.push_back(row != rows_.end());
          for (uint32_t c = 0; c < dim; ++c)
            values.push_back(FakeValue(*key, c) + (row == rows_.end() ? 0 : row->second[c]));
        }
      }
      tables[t].setValues(
          kj::arrayPtr(reinterpret_cast<const kj::byte*>(values.data()), values.size() * sizeof(float)));
      if (!request.getStored()) continue;
      auto bits = tables[t].initStored(static_cast<uint32_t>((stored.size() + 7) / 8));
      for (size_t i = 0; i < stored.size(); ++i) bits[i / 8] |= static_cast<kj::byte>(stored[i] << i % 8);
    }
    return Finish(fault, server);
  }

  kj::Promise<void> Push(
      size_t server,
      capnp::CallContext<proto::DataPlane::PushParams, proto::DataPlane::PushResults> context) {
    const auto request = context.getParams().getRequest();
    SeenCall call = See(server, true, request);
    call.producer = request.getProducer();
    call.sequence = request.getSequence();
    call.low = request.getLow();
    call.options = {.clock = request.getClock(),
                    .round = request.getRound(),
                    .step = request.getStep(),
                    .worker = request.getWorker(),
                    .pass = request.getPass(),
                    .rewind = request.getRewind()};
    seen_.push_back(call);
    const CallFault fault = on_call ? on_call(call) : CallFault::kNone;
    if (fault == CallFault::kSwallow || fault == CallFault::kDisconnect) return Finish(fault, server);
    auto tables = context.getResults().initResponse().initTables(request.getTables().size());
    for (uint32_t t = 0; t < tables.size(); ++t) {
      const auto in = request.getTables()[t];
      const uint32_t dim = tables_.at(in.getTable()).dim;
      auto groups = tables[t].initGroups(in.getGroups().size());
      const Key* key = reinterpret_cast<const Key*>(in.getKeys().begin());
      const float* value = reinterpret_cast<const float*>(in.getValues().begin());
      std::vector<float> pulled;
      for (uint32_t g = 0; g < groups.size(); ++g) {
        const auto group = in.getGroups()[g];
        const bool ok =
            Answer(call, {in.getTable(), group.getShard(), group.getEpoch(), group.getCount()}, groups[g]);
        const bool fresh =
            ok && units_.insert({call.producer, call.sequence, in.getTable(), group.getShard()}).second;
        if (ok && !fresh) ++duplicates_;
        for (uint32_t i = 0; i < group.getCount(); ++i, ++key, value += dim) {
          if (!fresh) continue;
          auto& row = rows_[{in.getTable(), *key}];
          row.resize(dim);
          for (uint32_t c = 0; c < dim; ++c) row[c] += value[c];
        }
        for (const Key* k = key - group.getCount(); k != key; ++k) {
          for (uint32_t c = 0; c < dim; ++c) pulled.push_back(ok ? rows_[{in.getTable(), *k}][c] : 0);
        }
        if (!ok) continue;
        groups[g].setLsn(++lsns_[group.getShard()]);
        if (log_at_once) logged_[group.getShard()] = lsns_[group.getShard()];
        groups[g].setLogged(logged_[group.getShard()]);
      }
      if (request.getPull()) {
        tables[t].setValues(
            kj::arrayPtr(reinterpret_cast<const kj::byte*>(pulled.data()), pulled.size() * sizeof(float)));
      }
    }
    return Finish(fault, server);
  }

  const Options options_;
  std::shared_ptr<ClusterIdentity> identity_;
  std::string address_;
  ShardMap map_;
  std::map<ShardId, size_t> owner_;
  std::map<ShardId, Epoch> epochs_;
  std::map<ShardId, Lsn> lsns_;
  std::map<ShardId, Lsn> logged_;
  std::map<ShardId, HeldBefore> held_;
  std::map<TableId, TableSpec> tables_;
  std::map<std::pair<TableId, Key>, std::vector<float>> rows_;
  std::set<std::tuple<ProducerId, Sequence, TableId, ShardId>> units_;
  std::vector<SeenCall> seen_;
  size_t duplicates_ = 0;
  size_t at_once_ = 0;
  size_t most_at_once_ = 0;
  size_t map_calls_ = 0;
  ProducerId next_producer_ = 100;
  uint16_t scheduler_port_ = 0;
  std::vector<FakeServer> servers_;
  std::unique_ptr<RpcServer> scheduler_;
  KjLoop loop_;
};

}  // namespace penstock
